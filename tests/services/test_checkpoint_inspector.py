"""One model's card, code and consent, read beside the window."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.shelf import ShelfEntry, SourceKind
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.storage.checkpoint_code import CodeReport
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.model_card import ModelCard
from tests.storage.model_folders import files_of_a_model, write_model


def custom(tmp_path: Path) -> ShelfEntry:
    files = {**files_of_a_model(auto_map={"AutoModel": "modeling_x.X"}), "modeling_x.py": b"raise SystemExit\n"}
    folder = write_model(tmp_path / "models" / "x", files)
    (entry,) = scan([ScanRoot(str(folder), SourceKind.FOLDER)], open_cache(tmp_path)).entries
    return entry


def test_a_card(tmp_path: Path, qtbot: QtBot) -> None:
    details = CheckpointInspector(tmp_path / "trusted.json")
    entry = custom(tmp_path)
    with qtbot.waitSignal(details.card_read, timeout=10_000) as read:
        details.read_card(entry.path)
    path, card = read.args
    assert path == entry.path
    assert isinstance(card, ModelCard)
    assert (card.text, card.summary.license) == ("# A card\n", "apache-2.0")


def test_code_is_asked_for_once_a_revision(tmp_path: Path, qtbot: QtBot) -> None:
    details = CheckpointInspector(tmp_path / "trusted.json")
    entry = custom(tmp_path)

    def read() -> tuple[CodeReport, object]:
        with qtbot.waitSignal(details.code_read, timeout=10_000) as signal:
            details.read_code(entry)
        report, said = signal.args
        assert isinstance(report, CodeReport)
        return report, said

    report, said = read()
    assert ([file.name for file in report.files], said) == (["modeling_x.py"], None)
    with qtbot.waitSignal(details.code_read, timeout=10_000) as answered:
        details.answer(report, True)
    assert answered.args == [report, True]
    assert read()[1] is True
    (Path(entry.path) / "modeling_x.py").write_text("import os\n")
    assert read()[1] is None
    with qtbot.waitSignal(details.code_read, timeout=10_000):
        details.answer(report, True)
    with qtbot.waitSignal(details.forgotten, timeout=10_000) as forgotten:
        details.forget(entry.path)
    assert forgotten.args == [entry.path]
    assert read()[1] is None


def test_a_folder_that_is_gone(tmp_path: Path, qtbot: QtBot) -> None:
    details = CheckpointInspector(tmp_path / "trusted.json")
    entry = custom(tmp_path)
    Path(entry.path).rename(tmp_path / "elsewhere")
    with qtbot.waitSignal(details.failed, timeout=10_000) as failed:
        details.read_code(entry)
    path, failure = failed.args
    assert path == entry.path
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.CHECKPOINT_NOT_READABLE
