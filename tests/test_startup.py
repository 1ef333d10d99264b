"""The checks before Qt: what is missing is named, with the way on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from desktop import startup
from desktop.__main__ import parse_arguments

ROOT = Path(__file__).parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    return subprocess.run(
        [sys.executable, "-m", "desktop", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**kept, **environment},
        timeout=150,
    )


def test_missing_libraries_come_with_the_one_line_that_brings_them() -> None:
    words = startup.missing_library_message(["libEGL.so.1", "libxcb-cursor.so.0", "libunheard.so.3"])
    assert "libEGL.so.1, libxcb-cursor.so.0, libunheard.so.3" in words
    assert "sudo apt install libegl1 libxcb-cursor0" in words


def test_the_dynamic_loader_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ldd that finds one library missing, that one is named."""
    ldd = tmp_path / "ldd"
    ldd.write_text("#!/bin/sh\necho '\tlibEGL.so.1 => not found'\necho '\tlibc.so.6 => /lib/libc.so.6 (0x1)'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert startup.missing_libraries("offscreen") == ["libEGL.so.1"]


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({}, "neither DISPLAY nor WAYLAND_DISPLAY is set"),
        ({"DISPLAY": ":4711"}, "display :4711 does not answer"),
        ({"WAYLAND_DISPLAY": "wayland-none"}, "display wayland-none does not answer"),
        ({"QT_QPA_PLATFORM": "offscreen"}, ""),
    ],
)
def test_why_there_is_no_screen(environment: dict[str, str], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reason = startup.why_no_screen()
    assert word in reason
    assert bool(reason) == bool(word)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--screenshot", "a.png"],
        ["--ask", " "],
        ["--ask", "x", "--timeout", "0"],
        ["--timeout", "inf"],
        ["--unheard"],
        ["--checkpoint", "http://a b"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2


def test_without_a_screen_the_main_job_is_done_anyway(tmp_path: Path) -> None:
    done = run("--data-dir", str(tmp_path), "--timeout", "120")
    assert done.returncode == 0, done.stderr
    assert "There is no screen here" in done.stdout
    assert "xvfb-run" in done.stdout
    assert "KV cache" in done.stdout.split("is asked:")[1].split("\n", 1)[1]
    assert (tmp_path / "cache" / "turbodesk.png").read_bytes().startswith(b"\x89PNG")


def test_ask_says_in_a_sentence_what_is_wrong_and_leaves_with_1(tmp_path: Path) -> None:
    done = run("--ask", "hello", "--checkpoint", str(tmp_path / "none"), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "There is no model folder at" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_source_is_read_for_an_import() -> None:
    program = """
import linecache, sys
from desktop import __main__ as command_line

def open_window(options):
    from desktop.ui.main_window import MainWindow
    print([name for name in linecache.cache if "desktop" in name])
    return 0

command_line.open_window = open_window
sys.argv[1:] = ["--ask", "x"]
command_line.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_relative_checkpoint_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_arguments(["--checkpoint", "models/one"]).checkpoint == str(tmp_path / "models/one")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("http://localhost:23333", "http://localhost:23333/v1#"),
        ("https://host/v1/#org/model", "https://host/v1#org/model"),
    ],
)
def test_a_model_on_a_server_is_a_checkpoint_too(given: str, path: str) -> None:
    assert parse_arguments(["--checkpoint", given]).checkpoint == path


def test_a_reader_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    command = f"{sys.executable} -m desktop --ask 'What is the KV cache?' --data-dir {tmp_path} | head -c 3"
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
