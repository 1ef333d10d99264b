"""Takes a model off the disk with a way back: what would go, what that frees, a holding folder beside it, undo.

Nothing outside the model's own folder is touched, in a hub's cache nothing outside its repository's. Links are moved,
never followed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.one_line import one_line
from desktop.domain.shelf import ShelfEntry
from desktop.storage.checkpoint_walk import REMOVED_ASIDE
from desktop.storage.errors import storage_errors
from desktop.storage.folder_listing import list_folder
from desktop.storage.hub_layouts import is_hub_repo, ref_files, snapshots
from desktop.storage.small_files import read_small

_MANIFEST = "turbodesk-removed.json"
_MANIFEST_LIMIT = 16 << 20  # bytes
_HOME_FOLDERS = frozenset(
    ("Desktop", "Documents", "Downloads", "Music", "Pictures", "Public", "Templates", "Videos", ".cache", ".local")
)


class RemovalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What removing a model does. moved: what goes, all of it below the folder `beside`.

    That is the model's folder; in a hub's cache the repository's folder, or of several snapshots one, with the refs
    and blobs that only it has. frees: bytes, once the trash is emptied. shared: bytes of the model that stay, because
    something else has them too.
    """

    path: str
    beside: str
    moved: tuple[str, ...]
    frees: int = 0
    shared: int = 0


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is gone, with the way back.

    aside: the folder that holds what was moved, "" where it went to the trash as it was. trashed: where the trash has
    it, "" where it is not in the trash.
    """

    plan: RemovalPlan
    aside: str = ""
    trashed: str = ""


def plan_removal(
    entry: ShelfEntry, kept: Iterable[str] = (), in_use: Iterable[str] = (), models: Iterable[str] = ()
) -> RemovalPlan:
    """What removing this model would do. Blocks for the disk.

    kept: folders that must stay, such as those that are searched. in_use: loaded models' folders. models: all models'.
    Raises TurbodeskError (removal_refused) where it may not be done.
    """
    path = os.path.abspath(entry.path)
    kept, in_use, models = list(kept), list(in_use), [model for model in models if model != entry.path]
    repo = os.path.dirname(os.path.dirname(path))
    _check(path, kept, in_use, models)
    if is_hub_repo(repo, [os.path.basename(os.path.dirname(path))]):
        if os.path.islink(repo) or os.path.islink(os.path.dirname(path)):
            raise _refused(path, "it is reached through a link")
        if [name for name in snapshots(repo) if name != os.path.basename(path)]:
            moved, beside = _only_of_snapshot(repo, path), repo
        else:
            _check(repo, kept, in_use, [model for model in models if not _within(model, path)])
            moved, beside = [repo], os.path.dirname(repo)
    else:
        moved, beside = [path], os.path.dirname(path)
    with storage_errors(Path(path)):
        listing = list_folder(path)
        if listing.cut:
            raise _refused(path, "it holds so many files that it cannot be a model's own folder")
        freed = _freed(moved)
    files = {(fact.device, fact.inode): fact.size for fact in listing.files.values()}
    return RemovalPlan(
        path=path,
        beside=beside,
        moved=tuple(moved),
        frees=sum(freed.values()),
        shared=sum(size for key, size in files.items() if key not in freed),
    )


def set_aside(plan: RemovalPlan) -> Removed:
    """Move it into a new hidden folder beside, by renaming alone. Raises TurbodeskError; then nothing has changed."""
    removed = Removed(plan=plan, aside=os.path.join(plan.beside, f"{REMOVED_ASIDE}{secrets.token_hex(6)}"))
    done: list[tuple[str, str]] = []
    with storage_errors(Path(plan.path)):
        os.mkdir(removed.aside, 0o700)
        try:
            content = {"path": _relative(plan, plan.path), "moved": [_relative(plan, path) for path in plan.moved]}
            Path(removed.aside, _MANIFEST).write_text(json.dumps(content), encoding="ascii")
            for place, waiting in _places(removed):
                os.makedirs(os.path.dirname(waiting), exist_ok=True)
                os.rename(place, waiting)
                done.append((place, waiting))
        except OSError:
            for place, waiting in reversed(done):
                os.rename(waiting, place)
            shutil.rmtree(removed.aside, ignore_errors=True)
            raise
    return removed


def put_back(removed: Removed) -> None:
    """Undo. Raises TurbodeskError (removal_refused where something else lies there now, or the trash was emptied)."""
    if removed.trashed:
        _out_of_trash(removed.trashed, removed.aside or removed.plan.moved[0])
        removed = msgspec.structs.replace(removed, trashed="")
    if not removed.aside:
        return
    # What is in its place already was never moved, or came back before: whoever moved it was stopped half-way.
    left = [(place, waiting) for place, waiting in _places(removed) if os.path.lexists(waiting)]
    for place, waiting in _places(removed):
        if os.path.lexists(place) and os.path.lexists(waiting):
            raise _refused(place, "something else lies there now, so the model was not put back")
        if not os.path.lexists(place) and not os.path.lexists(waiting):
            raise _refused(
                place, f"a part of it is missing in {one_line(removed.aside)}, so the model was not put back"
            )
    with storage_errors(Path(removed.plan.path)):
        for place, waiting in left:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.rename(waiting, place)
        shutil.rmtree(removed.aside, ignore_errors=True)


def delete_for_good(removed: Removed) -> None:
    """Delete what was set aside and is not in the trash. Raises TurbodeskError."""
    if removed.trashed or not os.path.basename(removed.aside).startswith(REMOVED_ASIDE):
        raise _refused(removed.aside or removed.plan.path, "it is not a folder of removed models")
    with storage_errors(Path(removed.aside)):
        shutil.rmtree(removed.aside)  # follows no links


def read_removed(aside: str) -> Removed | None:
    """What an earlier run set aside in this folder; None where the folder does not say so, or names places outside."""
    content = read_small(os.path.join(aside, _MANIFEST), _MANIFEST_LIMIT)
    try:
        found = json.loads(content or b"")
        path, moved = found["path"], found["moved"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(moved, list) or not moved or not all(_is_below(name) for name in [path, *moved]):
        return None
    beside = os.path.dirname(os.path.abspath(aside))
    plan = RemovalPlan(
        path=os.path.join(beside, path),
        beside=beside,
        moved=tuple(os.path.join(beside, name) for name in moved),
        frees=sum(_freed([aside]).values()),
    )
    return Removed(plan=plan, aside=os.path.abspath(aside))


def _check(path: str, kept: Iterable[str], in_use: Iterable[str], models: Iterable[str]) -> None:
    home = os.path.realpath(os.path.expanduser("~"))
    real = os.path.realpath(path)
    if os.path.islink(path):
        raise _refused(path, "it is a link to another folder")
    if not os.path.isdir(path):
        raise _refused(path, "there is no such folder")
    if _within(home, real) or (os.path.dirname(real) == home and os.path.basename(real) in _HOME_FOLDERS):
        raise _refused(path, "it is not a model's own folder")
    if os.path.ismount(real):
        raise _refused(path, "it is a whole disk")
    if any(_within(os.path.realpath(folder), real) for folder in kept):
        raise _refused(path, "it is a folder that is searched for models, or comes with the program")
    if any(_within(os.path.realpath(folder), real) for folder in in_use):
        raise _refused(path, "the model is loaded")
    below = sorted(
        model for model in models if os.path.realpath(model) != real and _within(os.path.realpath(model), real)
    )
    if below:
        raise _refused(path, f"it holds another model, {os.path.basename(below[0])}, which must be removed first")


def _only_of_snapshot(repo: str, path: str) -> list[str]:
    """The snapshot, the refs that point to it, and the blobs that no other snapshot of the repository links to."""
    mine = set(_blobs(repo, path))
    for name in snapshots(repo):
        other = os.path.join(repo, "snapshots", name)
        if other != path:
            mine.difference_update(_blobs(repo, other))
    commit = os.path.basename(path)
    refs = [os.path.join(repo, "refs", name) for name, held in ref_files(repo) if held == commit]
    return [path, *sorted(refs), *sorted(mine)]


def _blobs(repo: str, snapshot: str) -> Iterator[str]:
    """The files of blobs/ that a snapshot's links point to. At the first hop: a blob may link to a shared store."""
    top = os.path.join(repo, "blobs")
    if os.path.islink(top):
        return
    for folder, _, files in os.walk(snapshot):
        for name in files:
            try:
                target = os.path.normpath(os.path.join(folder, os.readlink(os.path.join(folder, name))))
            except OSError:  # no link
                continue
            if os.path.dirname(target) == top:
                yield target


def _freed(paths: Iterable[str]) -> dict[tuple[int, int], int]:
    """Device and inode -> bytes, of the files below that have no other name elsewhere. A link is as good as nothing."""
    names: Counter[tuple[int, int]] = Counter()
    facts: dict[tuple[int, int], os.stat_result] = {}
    for path in _everything(paths):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        names[found.st_dev, found.st_ino] += 1
        facts[found.st_dev, found.st_ino] = found
    return {
        key: found.st_size
        for key, found in facts.items()
        if stat.S_ISREG(found.st_mode) and names[key] >= found.st_nlink
    }


def _everything(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, _, files in os.walk(path):
                yield from (os.path.join(folder, name) for name in files)
        else:
            yield path


def _places(removed: Removed) -> Iterator[tuple[str, str]]:
    """Where each thing was, and where it waits."""
    for path in removed.plan.moved:
        yield path, os.path.join(removed.aside, _relative(removed.plan, path))


def _out_of_trash(trashed: str, place: str) -> None:
    if os.path.lexists(place):
        raise _refused(place, "something else lies there now, so the model was not put back")
    if not os.path.lexists(trashed):
        raise _refused(place, "the trash was emptied, so the model cannot be put back")
    with storage_errors(Path(place)):
        os.rename(trashed, place)
    # What the trash knew of it, after the rules of freedesktop.org.
    info = Path(trashed).parent.parent / "info" / f"{os.path.basename(trashed)}.trashinfo"
    try:
        info.unlink()
    except OSError:
        return


def _relative(plan: RemovalPlan, path: str) -> str:
    return os.path.relpath(path, plan.beside)


def _is_below(name: object) -> bool:
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in Path(name).parts and bool(Path(name).parts)


def _within(path: str, folder: str) -> bool:
    """Whether path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _refused(path: str, reason: str) -> TurbodeskError:
    return error(FailureCode.REMOVAL_REFUSED, path=one_line(path), reason=reason)
