"""Two hundred broken folders: each gives a sentence, none a traceback, and none holds up the scan."""

from __future__ import annotations

import os
from pathlib import Path

from desktop.domain.errors import FailureCode
from desktop.domain.shelf import ScanReport, ShelfEntry, SourceKind
from desktop.storage.checkpoint_code import read_code
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.model_card import read_card
from tests.storage import broken_folders
from tests.storage.model_folders import files_of_a_model, write_hub_snapshot, write_model

# Broken in a place that does not matter for them: a model all the same.
_SURVIVE = ("a-folder", "a-pipe", "a-socket", "a-device", "a-tape", "a-link-to-itself", "a-link-to-nothing", "null")


def look(top: Path, kind: SourceKind = SourceKind.FOLDER) -> ScanReport:
    return scan([ScanRoot(str(top), kind, True)], open_cache(top.parent / "scan-cache"))


def check_sentence(entry: ShelfEntry) -> None:
    failure = entry.failure
    assert failure is not None
    assert failure.code is not FailureCode.INTERNAL, (entry.path, failure.detail)
    for text in (failure.message, failure.next_step):
        assert text.endswith("."), text
        assert "\n" not in text
        assert "Traceback" not in text
        assert len(text) <= 600
        text.encode()
    assert "Traceback" not in failure.detail


def test_each_broken_folder_gives_a_sentence(tmp_path: Path) -> None:
    top = tmp_path / "models"
    count = broken_folders.write_all(top)
    assert count >= 200
    report = look(top)
    assert not report.problems
    found = {os.path.basename(entry.path): entry for entry in report.entries}
    assert set(found) == {folder.name for folder in top.iterdir()}
    survivors = []
    for name, entry in found.items():
        if entry.failure is None:
            survivors.append(name)
        else:
            check_sentence(entry)
    unexpected = [name for name in survivors if not name[4:].startswith(_SURVIVE)]
    assert not unexpected
    assert len(survivors) < 15
    assert look(top).entries == report.entries, "the second scan says the same"
    for entry in report.entries:
        read_card(entry.path)
        read_code(entry)


def test_hostile_names(tmp_path: Path) -> None:
    top = tmp_path / "models"
    for name in broken_folders.HOSTILE_NAMES:
        write_model(Path(os.fsdecode(os.fsencode(top) + b"/" + name)))
        write_model(Path(os.fsdecode(os.fsencode(top) + b"/broken/" + name)), {"model.safetensors": b"x"})
    report = look(top)
    assert len(report.entries) == 2 * len(broken_folders.HOSTILE_NAMES)
    for entry in report.entries:
        assert "\n" not in entry.title
        entry.title.encode()
        if "/broken/" in entry.path:
            check_sentence(entry)
        else:
            assert entry.failure is None, entry.failure


def test_a_hostile_hub_cache(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    good = write_hub_snapshot(cache, "owner/model", files_of_a_model(), refs=("main",))
    repo = good.parent.parent
    os.mkfifo(repo / "refs" / "pipe")
    (repo / "refs" / "zero").symlink_to("/dev/zero")
    (repo / "refs" / "passwd").symlink_to("/etc/passwd")
    (repo / "refs" / "huge").write_text("x" * 1_000_000)
    (repo / "refs" / "up").symlink_to("..")
    (repo / "snapshots" / "linked").symlink_to(good)
    (repo / "snapshots" / "file").write_text("")
    (repo / "snapshots" / "empty").mkdir()
    out = repo / "snapshots" / "out"
    out.mkdir()
    (out / "config.json").symlink_to("/etc/passwd")
    (out / "model.safetensors").symlink_to("../../../../../../../../../../../../../dev/zero")
    (cache / "models--no--snapshots").mkdir()
    (cache / "models--loop--loop").mkdir()
    (cache / "models--loop--loop" / "snapshots").symlink_to("snapshots")
    (cache / "models--up--up").mkdir()
    (cache / "models--up--up" / "snapshots").symlink_to("..")
    entries = {entry.path: entry for entry in look(cache, SourceKind.HUGGING_FACE).entries}
    assert entries.pop(str(good)).source.refs == ("main",)
    check_sentence(entries.pop(str(out)))
    assert not entries


def test_a_folder_with_more_files_than_are_looked_at(tmp_path: Path) -> None:
    model = write_model(tmp_path / "models" / "wide")
    (model / "many").mkdir()
    for number in range(6000):
        (model / "many" / str(number)).touch()
    (entry,) = look(tmp_path / "models").entries
    assert entry.hidden_files
    assert entry.failure is None
