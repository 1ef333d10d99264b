"""Says of one model folder everything that the list shows, or what is wrong with it. Never raises."""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

import msgspec

from desktop.domain.checkpoint import CheckpointConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.one_line import one_line
from desktop.domain.shelf import ShelfEntry, Source, SourceKind
from desktop.storage.checkpoint_reader import read_checkpoint, read_config
from desktop.storage.folder_listing import FolderListing
from desktop.storage.model_card import read_summary
from desktop.storage.small_files import read_small

_COMMIT = re.compile(rb"[0-9a-f]{40}")
_NAMES_LIMIT = 200
_ORIGIN = ".turbodesk-origin.json"
_ORIGIN_LIMIT = 16 << 20  # bytes


def describe_folder(path: str, source: Source, listing: FolderListing) -> ShelfEntry:
    """Read the configs and the weights' headers; takes milliseconds for most."""
    folder = Path(path)
    names = listing.names
    entry = ShelfEntry(
        path=path,
        name=one_line(folder.name, 200),
        source=_with_origin(source, folder, names),
        signature=listing.signature,
        disk_bytes=listing.disk_bytes,
        modified=listing.modified,
        code_files=_some(name for name in listing.files if name.endswith(".py")),
        hidden_files=listing.cut,
    )
    try:
        checkpoint = read_checkpoint(path)
        return msgspec.structs.replace(entry, checkpoint=checkpoint, card=read_summary(folder, names))
    except TurbodeskError as problem:
        return msgspec.structs.replace(
            entry, failure=shown(problem.failure), readable_config=_config(path, problem.failure)
        )
    except Exception as problem:
        reason = one_line(f"{type(problem).__name__}: {problem}", 200)
        return msgspec.structs.replace(
            entry, failure=failure(FailureCode.INTERNAL, reason=reason, detail=traceback.format_exc())
        )


def shown(problem: Failure) -> Failure:
    """The failure in one line each, whatever names from the disk it holds."""
    return msgspec.structs.replace(
        problem,
        message=one_line(problem.message),
        next_step=one_line(problem.next_step),
        detail=one_line(problem.detail, 2000),
    )


def _config(path: str, problem: Failure) -> CheckpointConfig | None:
    if problem.code not in (FailureCode.WEIGHTS_MISSING, FailureCode.WEIGHTS_BROKEN):
        return None
    try:
        return read_config(path)
    except TurbodeskError:
        return None


def _with_origin(source: Source, folder: Path, names: set[str]) -> Source:
    """What a folder itself remembers of the hub it was downloaded from."""
    if source.revision:
        return source
    if _ORIGIN in names and (origin := _origin(folder)):
        return msgspec.structs.replace(source, repo_id=source.repo_id or origin[0], revision=origin[1])
    if ".mv" in names:  # modelscope: "Revision:master,CreatedAt:1700000000"
        found = re.match(rb"Revision:([\w./-]{1,100}),", read_small(folder / ".mv", 200) or b"")
        if found:
            return msgspec.structs.replace(source, revision=found[1].decode())
    if source.kind is SourceKind.FOLDER:  # huggingface_hub with local_dir: the first line is the commit
        kept = os.path.join(folder, ".cache", "huggingface", "download", "config.json.metadata")
        found = _COMMIT.match(read_small(kept, 200) or b"")
        if found:
            return msgspec.structs.replace(source, revision=found[0].decode())
    return source


def _origin(folder: Path) -> tuple[str, str] | None:
    """The model's name on its hub and the revision, as our own download writes them."""
    try:
        found = json.loads(read_small(folder / _ORIGIN, _ORIGIN_LIMIT) or b"")
        model_id, revision = found["model_id"], found["revision"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(model_id, str) or not isinstance(revision, str):
        return None
    return one_line(model_id, 200), one_line(revision, 100)


def _some(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names)[:_NAMES_LIMIT])
