"""The shelf with real folders, a real thread and a real child: models are found, watched and judged."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.engine_config import Backend
from desktop.domain.errors import Failure, FailureCode
from desktop.domain.shelf import ScanReport, SourceKind
from desktop.engine.support_asker import SupportAsker
from desktop.services.checkpoint_shelf import CheckpointShelf
from desktop.storage.paths import app_paths, demo_checkpoint, resources_dir
from tests.storage.model_folders import files_of_a_model, write_hub_snapshot, write_model

# Says of each model that the CPU runs it, and writes down that it was asked.
PROGRAM = """
import json, sys
def say(**answer):
    print(json.dumps({"lmdeploy": "1", **answer}), flush=True)
say()
for line in sys.stdin:
    open(sys.argv[1], "a").write("asked\\n")
    say(verdicts=[{"backend": "cpu", "runs": True, "reason": "Yes."}])
"""


class Shelf:
    """A shelf below one folder, and what it said."""

    def __init__(self, folder: Path, qtbot: QtBot, asker: SupportAsker | None = None, poll: float = 0.1) -> None:
        self.qtbot = qtbot
        self.models = folder / "models"
        self.models.mkdir(exist_ok=True)
        self.log = folder / "asked"
        program = [sys.executable, "-c", PROGRAM, str(self.log)]
        self.shelf = CheckpointShelf(app_paths(folder / "data"), asker or SupportAsker("1", program), poll)
        self.changed: list[str] = []
        self.gone: list[str] = []
        self.judged: list[str] = []
        self.failures: list[Failure] = []
        self.reports: list[ScanReport] = []
        self.shelf.entries_changed.connect(self._on_changed)
        self.shelf.support_changed.connect(self.judged.extend)
        self.shelf.support_failed.connect(self.failures.append)
        self.shelf.scan_failed.connect(self.failures.append)
        self.shelf.scan_finished.connect(self.reports.append)
        self.shelf.set_folders([str(self.models)])

    def _on_changed(self, changed: list[object], gone: list[str]) -> None:
        self.changed += [entry.path for entry in changed]  # type: ignore[attr-defined]
        self.gone += gone

    def scan(self) -> ScanReport:
        with self.qtbot.waitSignal(self.shelf.scan_finished, timeout=20_000):
            self.shelf.scan()
        return self.reports[-1]

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=20_000)


@pytest.fixture
def make_shelf(tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shelf]]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    made: list[Shelf] = []

    def make(**options: object) -> Shelf:
        made.append(Shelf(tmp_path, qtbot, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for shelf in made:
        shelf.shelf.close()


def test_models_of_every_root_are_found_and_judged(make_shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    desk = make_shelf()
    plain = write_model(desk.models / "plain")
    hub = write_hub_snapshot(tmp_path / "hub", "a/b", files_of_a_model(), refs=("main",))
    scope = write_model(tmp_path / "modelscope" / "hub" / "c" / "d")
    own = write_model(tmp_path / "data" / "quantized" / "mine")
    broken = write_model(desk.models / "broken", {"config.json": b"{", "model.safetensors": b""})
    report = desk.scan()
    kinds = {path: entry.source.kind for path, entry in desk.shelf.entries.items()}
    assert kinds == {
        str(plain): SourceKind.FOLDER,
        str(broken): SourceKind.FOLDER,
        str(hub): SourceKind.HUGGING_FACE,
        str(scope): SourceKind.MODELSCOPE,
        str(own): SourceKind.OWN,
    }
    assert sorted(desk.changed) == sorted(kinds)
    assert desk.shelf.report == report
    desk.until(lambda: len(desk.judged) == 4)
    assert desk.shelf.support(str(broken)) is None
    support = desk.shelf.support(str(hub))
    assert support is not None
    assert support.verdicts[0].backend is Backend.CPU
    assert not desk.failures


def test_the_demo_model_and_the_installed_lmdeploy(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf(asker=SupportAsker("0"))
    desk.shelf.set_folders([str(resources_dir())])
    desk.scan()
    desk.until(lambda: bool(desk.judged))
    support = desk.shelf.support(str(demo_checkpoint()))
    assert support is not None
    assert [verdict.runs for verdict in support.verdicts] == [True, True, True]


def test_what_is_known_is_not_asked_again(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf()
    write_model(desk.models / "one")
    write_model(desk.models / "two")
    desk.scan()
    desk.until(lambda: len(desk.judged) == 2)
    desk.scan()
    desk.shelf.close()
    again = make_shelf()
    again.scan()
    again.until(lambda: len(again.judged) == 2)
    assert again.log.read_text() == "asked\n" * 2
    known: list[object] = []
    again.shelf.entries_changed.connect(
        lambda changed, gone: known.extend(again.shelf.support(entry.path) for entry in changed)
    )
    write_model(again.models / "two", rope_theta=5)
    again.scan()
    assert known == [None], "the old answer is not the new folder's"
    again.until(lambda: len(again.judged) == 3)
    assert again.log.read_text() == "asked\n" * 3


def test_changes_are_seen_while_watching(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf()
    first = write_model(desk.models / "first")
    desk.scan()
    desk.shelf.watch(True)
    second = write_model(desk.models / "second")
    desk.until(lambda: str(second) in desk.changed)
    desk.changed.clear()
    write_model(first, rope_theta=5)
    desk.until(lambda: desk.changed == [str(first)])
    shutil.rmtree(desk.models)
    desk.until(lambda: sorted(desk.gone) == sorted([str(first), str(second)]))
    assert not desk.shelf.entries
    write_model(second)
    desk.until(lambda: str(second) in desk.shelf.entries)
    assert len(desk.reports) == 1, "watching is silent"
    assert not desk.failures


def test_a_scan_that_is_asked_for_again_still_finishes(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf()
    for number in range(20):
        write_model(desk.models / str(number))
    for on in (True, False) * 10:
        desk.shelf.scan()
        desk.shelf.watch(on)
    desk.until(lambda: bool(desk.reports) and len(desk.shelf.entries) == 20)
    assert sorted(desk.changed) == sorted(str(desk.models / str(number)) for number in range(20))


def test_an_lmdeploy_that_does_not_start_is_said_once(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf(asker=SupportAsker("1", [sys.executable, "-c", "import sys; sys.exit(3)"]))
    model = write_model(desk.models / "one")
    desk.scan()
    desk.until(lambda: bool(desk.failures))
    desk.scan()
    desk.scan()
    assert [failure.code for failure in desk.failures] == [FailureCode.ENGINE_DIED]
    assert desk.shelf.support(str(model)) is None


def test_what_no_removal_may_take(make_shelf: Callable[..., Shelf], tmp_path: Path) -> None:
    kept = make_shelf().shelf.kept_folders
    assert {str(tmp_path / "models"), str(tmp_path / "hub"), str(tmp_path / "data"), str(demo_checkpoint())} < set(kept)


def test_the_windows_process_loads_no_engine_for_it() -> None:
    names = "checkpoint_shelf", "checkpoint_remover", "checkpoint_inspector"
    program = "import sys, " + ", ".join(f"desktop.services.{name}" for name in names)
    program += "; print([name for name in ('torch', 'transformers', 'lmdeploy', 'yaml') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_closing_ends_a_child_that_hangs(make_shelf: Callable[..., Shelf]) -> None:
    desk = make_shelf(asker=SupportAsker("1", [sys.executable, "-c", "import time; time.sleep(1000)"]))
    write_model(desk.models / "one")
    desk.scan()
    desk.shelf.close()  # and the fixture of all tests looks for threads left behind
    desk.shelf.scan()
    assert len(desk.reports) == 1
