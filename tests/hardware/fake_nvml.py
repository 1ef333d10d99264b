"""Builds the fake NVIDIA driver library, tells it what to say, and runs children that load it.

Children only: a library loaded into the tests' own process would hide a real driver from every later test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

GIB = 2**30
# Codes of NVML that tests provoke.
UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 1, 2, 3, 4, 6
GPU_IS_LOST, VERSION_MISMATCH, UNKNOWN = 15, 18, 999

SOURCE = Path(__file__).with_name("fake_nvml.c")
ROOT = SOURCE.parents[2]


def compiler() -> str | None:
    """The C compiler's path, None when there is none."""
    return shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile the library into folder. Returns folder."""
    library = folder / "libnvidia-ml.so.1"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
    return folder


def card(
    total: int = 24 * GIB,
    used: int = 0,
    *,
    temperature: int = 61,
    milliwatts: int = 212_400,
    utilisation: int = 37,
    name: str = "NVIDIA GeForce RTX 4090",
) -> str:
    """A line of the state file: one more card."""
    return f"card {total} {used} {temperature} {milliwatts} {utilisation} {name}"


def process(card_index: int, pid: int, used: int | None, kind: str = "compute", slot: int = -1) -> str:
    """A line of the state file: a process on a card, or in a slot of it. used None: the driver does not tell."""
    return f"process {card_index} {kind} {pid} {-1 if used is None else used} {slot}"


def mig(card_index: int) -> str:
    """A line of the state file: a card is in MIG mode."""
    return f"mig {card_index}"


def instance(card_index: int, slot: int, total: int, used: int, name: str) -> str:
    """A line of the state file: an instance of a card in MIG mode."""
    return f"instance {card_index} {slot} {total} {used} {name}"


def error(function: str, code: int, card_index: int = -1) -> str:
    """A line of the state file: this function fails with code, on one card or (-1) on all."""
    return f"error {function} {card_index} {code}"


def drift(step: int) -> str:
    """A line of the state file: with each reading step bytes more are used, a hundred times, then it starts again."""
    return f"drift {step}"


class FakeNvml:
    """The library in a folder, and the state file beside it."""

    def __init__(self, library_folder: Path, state_file: Path) -> None:
        self._library_folder = library_folder
        self._state_file = state_file
        self._calls_file = state_file.with_suffix(".calls")
        self._lines: tuple[str, ...] = ()
        self.set("driver gone")

    def set(self, *lines: str) -> None:
        """What the driver says from its next call on."""
        self._lines = lines
        if self._calls_file.exists():
            lines = (*lines, f"calls {self._calls_file}")
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self._state_file)

    def note_calls(self) -> None:
        """From now on calls() knows which functions were called."""
        self._calls_file.write_text("")
        self.set(*self._lines)

    def calls(self) -> list[str]:
        """Names of the functions called since note_calls()."""
        return self._calls_file.read_text().split()

    def environment(self) -> dict[str, str]:
        """The environment of a child that loads the fake library."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self._library_folder),
            "FAKE_NVML_STATE": str(self._state_file),
            "PYTHONPATH": str(ROOT),
            "QT_QPA_PLATFORM": "offscreen",
        }


class ReaderChild:
    """A child process with the real NvmlReader (nvml_child.py), asked by lines on its stdin."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(SOURCE.with_name("nvml_child.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ReaderChild:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self, seconds_later: float = 0.0) -> tuple[list[dict[str, Any]], str]:
        """The reader's answer with its clock put forward: the cards as dictionaries, and the note."""
        cards, note = self._ask(f"read {seconds_later}")
        return cards, note

    def close(self) -> None:
        self._ask("close")

    def modules(self) -> list[str]:
        """Names of the modules that the child has imported."""
        return list(self._ask("modules"))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
