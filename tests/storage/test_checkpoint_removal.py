"""Removing models: what it frees, undo to the last byte, and everything that may not be touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from desktop.domain.errors import Failure, FailureCode, TurbodeskError
from desktop.domain.shelf import ShelfEntry, Source, SourceKind
from desktop.storage.checkpoint_removal import (
    RemovalPlan,
    Removed,
    delete_for_good,
    plan_removal,
    put_back,
    read_removed,
    set_aside,
)
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_scan import open_cache, scan
from tests.storage.model_folders import WEIGHTS, files_of_a_model, write_hub_snapshot, write_model


def entry_at(path: Path, kind: SourceKind = SourceKind.FOLDER) -> ShelfEntry:
    return ShelfEntry(path=str(path), name=path.name, source=Source(kind=kind), signature="", disk_bytes=0, modified=0)


def picture(top: Path) -> dict[str, object]:
    """Everything below, by name: bytes of files, targets of links."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(top))
        if stat.S_ISLNK(mode):
            found[name] = ("link", os.readlink(path))
        else:
            found[name] = path.read_bytes() if stat.S_ISREG(mode) else "folder"
    return found


def refusal(path: Path, **folders: list[str]) -> Failure:
    with pytest.raises(TurbodeskError) as caught:
        plan_removal(entry_at(path), **folders)
    assert caught.value.failure.code is FailureCode.REMOVAL_REFUSED
    return caught.value.failure


def test_a_plain_folder_goes_and_comes_back(tmp_path: Path) -> None:
    model = write_model(tmp_path / "models" / "one")
    write_model(tmp_path / "models" / "two")
    before = picture(tmp_path / "models")
    plan = plan_removal(entry_at(model))
    assert (plan.moved, plan.shared) == ((str(model),), 0)
    assert plan.frees == sum(file.stat().st_size for file in model.iterdir())
    removed = set_aside(plan)
    assert sorted(name for name in os.listdir(tmp_path / "models") if not name.startswith(".")) == ["two"]
    report = scan([ScanRoot(str(tmp_path), SourceKind.FOLDER)], open_cache(tmp_path / "cache"))
    assert [entry.name for entry in report.entries] == ["two"]
    assert report.removed_aside == (removed.aside,)
    put_back(removed)
    assert picture(tmp_path / "models") == before


def test_what_an_earlier_run_set_aside_can_be_put_back_or_deleted(tmp_path: Path) -> None:
    model = write_model(tmp_path / "models" / "one")
    before = picture(tmp_path)
    aside = set_aside(plan_removal(entry_at(model))).aside
    found = read_removed(aside)
    assert found is not None
    assert found.plan.path == str(model)
    put_back(found)
    assert picture(tmp_path) == before
    removed = set_aside(plan_removal(entry_at(model)))
    delete_for_good(removed)
    assert picture(tmp_path) == {"models": "folder"}


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b'{"path": "../x", "moved": ["x"]}',
        b'{"path": "x", "moved": ["../../.bashrc"]}',
        b'{"path": "x", "moved": ["/etc/passwd"]}',
        b'{"path": "x", "moved": []}',
        b'{"path": "x", "moved": [""]}',
        b'{"path": 5, "moved": [5]}',
    ],
)
def test_a_forged_manifest_is_not_followed(tmp_path: Path, manifest: bytes) -> None:
    aside = write_model(tmp_path / ".turbodesk-removed-00", {"turbodesk-removed.json": manifest})
    assert read_removed(str(aside)) is None


def test_one_of_several_snapshots_leaves_the_others_whole(tmp_path: Path) -> None:
    """What goes and what it frees is what huggingface_hub itself would delete."""
    cache = tmp_path / "hub"
    old = write_hub_snapshot(cache, "a/b", files_of_a_model(), refs=("v1", "refs/pr/1"))
    new = write_hub_snapshot(cache, "a/b", {**files_of_a_model(rope_theta=5), "more": b"x" * 1000}, refs=("main",))
    repo = old.parent.parent
    from huggingface_hub import scan_cache_dir

    theirs = scan_cache_dir(cache).delete_revisions(old.name)
    before, whole = picture(tmp_path), picture(new)
    plan = plan_removal(entry_at(old, SourceKind.HUGGING_FACE))
    refs = 2 * len(old.name)
    assert plan.frees == theirs.expected_freed_size + refs
    assert plan.frees - refs + plan.shared == sum(file.stat().st_size for file in old.iterdir())
    assert plan.shared > len(WEIGHTS)
    assert set(plan.moved) == {str(old), *map(str, theirs.blobs), *map(str, theirs.refs)}
    removed = set_aside(plan)
    assert picture(new) == whole
    assert all(file.resolve().is_file() for file in new.iterdir())
    assert not (repo / "refs" / "v1").exists()
    assert scan_cache_dir(cache).warnings == []
    put_back(removed)
    assert picture(tmp_path) == before


def test_the_last_snapshot_takes_the_repository_with_it(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    only = write_hub_snapshot(cache, "a/b", files_of_a_model(), refs=("main",))
    (only.parent.parent / "blobs" / "x.incomplete").write_bytes(b"half")
    write_hub_snapshot(cache, "c/d", files_of_a_model())
    before = picture(tmp_path)
    plan = plan_removal(entry_at(only, SourceKind.HUGGING_FACE))
    assert plan.moved == (str(cache / "models--a--b"),)
    assert plan.frees == sum(file.stat().st_size for file in only.iterdir()) + 4 + 40
    put_back(set_aside(plan))
    assert picture(tmp_path) == before


def test_a_folder_that_only_looks_like_a_hubs_goes_alone(tmp_path: Path) -> None:
    model = write_model(tmp_path / "my--own" / "snapshots" / "one")
    assert plan_removal(entry_at(model)).moved == (str(model),)


def test_a_store_that_repositories_share_is_not_counted(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    snapshot = write_hub_snapshot(cache, "a/b", files_of_a_model())
    blob = (snapshot / "model.safetensors").resolve()
    store = cache / "blobs" / "ab" / "abcd"
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(os.path.relpath(store, blob.parent))
    plan = plan_removal(entry_at(snapshot, SourceKind.HUGGING_FACE))
    assert plan.shared >= len(WEIGHTS)
    set_aside(plan)
    assert store.read_bytes() == WEIGHTS


def test_hard_links_elsewhere_free_nothing(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one")
    other = write_model(tmp_path / "two")
    (model / "model.safetensors").unlink()
    os.link(other / "model.safetensors", model / "model.safetensors")
    os.link(model / "README.md", model / "README2.md")
    plan = plan_removal(entry_at(model))
    assert plan.shared == len(WEIGHTS)
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "README.md")
    assert plan.frees == sum((model / name).stat().st_size for name in names)


def test_links_out_of_the_folder_are_moved_and_not_followed(tmp_path: Path) -> None:
    outside = write_model(tmp_path / "outside")
    whole = picture(outside)
    model = write_model(tmp_path / "models" / "one")
    (model / "all").symlink_to(outside)
    (model / "weights").symlink_to(outside / "model.safetensors")
    plan = plan_removal(entry_at(model))
    assert plan.frees == sum(file.lstat().st_size for file in model.iterdir() if not file.is_symlink())
    removed = set_aside(plan)
    delete_for_good(removed)
    assert picture(outside) == whole


def test_hostile_links_in_a_hub_cache_lead_nowhere(tmp_path: Path) -> None:
    outside = write_model(tmp_path / "outside")
    cache = tmp_path / "hub"
    old = write_hub_snapshot(cache, "a/b", files_of_a_model())
    write_hub_snapshot(cache, "a/b", files_of_a_model(rope_theta=5))
    (old / "evil").symlink_to(os.path.relpath(outside / "model.safetensors", old))
    (old / "evil2").symlink_to("../../blobs/../../../outside/config.json")
    (outside / "refs").mkdir()
    (outside / "refs" / "main").write_text(old.name)
    (old.parent.parent / "refs").symlink_to(outside / "refs")
    plan = plan_removal(entry_at(old, SourceKind.HUGGING_FACE))
    repo = str(old.parent.parent) + os.sep
    assert all(path.startswith(repo) and os.path.realpath(path).startswith(repo) for path in plan.moved)
    assert not any("refs" in path for path in plan.moved)


def test_what_may_not_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    model = write_model(home / "models" / "one")
    write_model(home / "Downloads")
    monkeypatch.setenv("HOME", str(home))
    (home / "link").symlink_to(model)
    for path in (Path("/"), Path("/proc"), tmp_path, home, home / "Downloads", home / "gone", model / "config.json"):
        refusal(path)
    assert "link" in refusal(home / "link").message
    assert "searched" in refusal(model, kept=[str(model)]).message
    assert "searched" in refusal(home / "models", kept=[str(model)]).message
    assert "loaded" in refusal(model, in_use=[str(model)]).message
    assert "loaded" in refusal(model, in_use=[str(home / "link")]).message
    inner = write_model(model / "checkpoint-5")
    assert "checkpoint-5" in refusal(model, models=[str(model), str(inner)]).message
    plan_removal(entry_at(model), kept=[str(home / "models")], in_use=[str(home / "models" / "one-more")])


def test_a_folder_of_thousands_of_files_is_no_models_own(tmp_path: Path) -> None:
    model = write_model(tmp_path / "photos")
    for number in range(5001):
        (model / str(number)).touch()
    assert "so many files" in refusal(model).message


def test_a_loaded_snapshot_keeps_its_repository(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    old = write_hub_snapshot(cache, "a/b", files_of_a_model())
    new = write_hub_snapshot(cache, "a/b", files_of_a_model(rope_theta=5))
    assert "loaded" in refusal(old, in_use=[str(old)]).message
    assert str(new) not in plan_removal(entry_at(old), in_use=[str(new)]).moved


def test_undo_never_overwrites(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one")
    removed = set_aside(plan_removal(entry_at(model)))
    again = write_model(model, {"new": b"new"})
    with pytest.raises(TurbodeskError) as caught:
        put_back(removed)
    assert "something else" in caught.value.failure.message
    assert picture(again) == {"new": b"new"}
    (again / "new").unlink()
    again.rmdir()
    put_back(removed)
    assert (model / "config.json").is_file()


def test_a_part_that_cannot_be_moved_brings_everything_back(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one")
    before = picture(tmp_path)
    plan = RemovalPlan(path=str(model), beside=str(tmp_path), moved=(str(model), str(tmp_path / "not there")))
    with pytest.raises(TurbodeskError):
        set_aside(plan)
    assert picture(tmp_path) == before


@pytest.mark.parametrize("moved", range(6))
def test_a_removal_that_was_cut_off_can_be_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    """Cut off after so many renames; the undo then as well, and begun again."""
    old = write_hub_snapshot(tmp_path / "hub", "a/b", files_of_a_model(), refs=("v1", "v2"))
    write_hub_snapshot(tmp_path / "hub", "a/b", {"config.json": b"{}"}, refs=("main",))
    before = picture(tmp_path)
    rename, left = os.rename, [moved]

    def cut_off(source: str, target: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", cut_off)
    with pytest.raises(KeyboardInterrupt):
        set_aside(plan_removal(entry_at(old)))
    (aside,) = old.parent.parent.glob(".turbodesk-removed-*")
    removed = read_removed(str(aside))
    assert removed is not None
    left[0] = moved // 2
    if left[0] < moved:
        with pytest.raises(KeyboardInterrupt):
            put_back(removed)
    left[0] = 100
    put_back(removed)
    assert picture(tmp_path) == before


def test_only_what_was_set_aside_is_ever_deleted(tmp_path: Path) -> None:
    model = write_model(tmp_path / "one")
    plan = plan_removal(entry_at(model))
    for removed in (Removed(plan=plan, aside=str(model)), Removed(plan=plan, trashed=str(model)), Removed(plan=plan)):
        with pytest.raises(TurbodeskError):
            delete_for_good(removed)
    assert model.is_dir()
