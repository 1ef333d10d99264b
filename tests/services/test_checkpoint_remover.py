"""Removing to the desktop's real trash, and beside where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.shelf import ShelfEntry, Source
from desktop.services.checkpoint_remover import CheckpointRemover
from desktop.storage.checkpoint_removal import RemovalPlan, Removed
from tests.storage.model_folders import files_of_a_model, write_hub_snapshot, write_model


class Bin:
    """The desktop's trash as the rules of freedesktop.org have it, in a folder of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, path: str) -> str:
        place = self.folder / "files" / os.path.basename(path)
        info = self.folder / "info" / f"{place.name}.trashinfo"
        for each in (place, info):
            each.parent.mkdir(parents=True, exist_ok=True)
        info.write_text(f"[Trash Info]\nPath={path}\n")
        os.rename(path, place)
        return str(place)


def entry_at(path: Path) -> ShelfEntry:
    return ShelfEntry(path=str(path), name=path.name, source=Source(), signature="", disk_bytes=0, modified=0)


def remove(qtbot: QtBot, remover: CheckpointRemover, model: Path) -> Removed:
    with qtbot.waitSignal(remover.planned, timeout=10_000) as planned:
        remover.plan(entry_at(model))
    plan = planned.args[0]
    assert isinstance(plan, RemovalPlan)
    with qtbot.waitSignal(remover.removed, timeout=10_000) as removed:
        remover.remove(plan)
    found = removed.args[0]
    assert isinstance(found, Removed)
    return found


def no_trash(path: str) -> str:
    return ""


@pytest.mark.parametrize("has_trash", [True, False])
@pytest.mark.parametrize("revisions", [0, 1, 2])
def test_away_and_back(tmp_path: Path, qtbot: QtBot, has_trash: bool, revisions: int) -> None:
    trash = Bin(tmp_path / "Trash")
    remover = CheckpointRemover(trash.take if has_trash else no_trash)
    model = write_model(tmp_path / "models" / "one")
    for number in range(revisions):
        model = write_hub_snapshot(
            tmp_path / "hub", "a/b", files_of_a_model(rope_theta=number + 1), refs=(f"v{number}",)
        )
    removed = remove(qtbot, remover, model)
    assert not model.exists()
    assert bool(removed.trashed) == has_trash
    with qtbot.waitSignal(remover.restored, timeout=10_000) as restored:
        remover.put_back(removed)
    assert restored.args == [str(model)]
    assert (model / "config.json").is_file()
    if has_trash:
        assert not any((trash.folder / "files").iterdir())
        assert not any((trash.folder / "info").iterdir())


def test_the_systems_own_trash(tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "share"
    share.mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(share))
    remover = CheckpointRemover()
    model = write_model(tmp_path / "models" / "one")
    removed = remove(qtbot, remover, model)
    assert not model.exists()
    assert Path(removed.trashed).is_relative_to(share / "Trash" / "files")
    assert os.listdir(share / "Trash" / "info") == ["one.trashinfo"]
    with qtbot.waitSignal(remover.restored, timeout=10_000):
        remover.put_back(removed)
    assert (model / "config.json").is_file()
    assert os.listdir(share / "Trash" / "info") == []


def test_without_a_trash_the_space_can_be_freed(tmp_path: Path, qtbot: QtBot) -> None:
    remover = CheckpointRemover(no_trash)
    removed = remove(qtbot, remover, write_model(tmp_path / "models" / "one"))
    assert os.path.isdir(removed.aside)
    with qtbot.waitSignal(remover.deleted, timeout=10_000):
        remover.delete_for_good(removed)
    assert not any((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda remover, removed: remover.put_back(removed), "emptied"),
        (lambda remover, removed: remover.plan(entry_at(Path("/"))), "/ was not removed"),
    ],
)
def test_refusals(tmp_path: Path, qtbot: QtBot, act: Callable[[CheckpointRemover, Removed], None], word: str) -> None:
    remover = CheckpointRemover(Bin(tmp_path / "Trash").take)
    removed = remove(qtbot, remover, write_model(tmp_path / "one"))
    os.rename(removed.trashed, tmp_path / "emptied")
    with qtbot.waitSignal(remover.refused, timeout=10_000) as refused:
        act(remover, removed)
    failure = refused.args[1]
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.REMOVAL_REFUSED
    assert word in failure.message
