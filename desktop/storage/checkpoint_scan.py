"""Scans the roots for models: names, configs and headers only, and only of folders that changed since the last scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from desktop.domain.errors import FailureCode, failure
from desktop.domain.one_line import one_line
from desktop.domain.shelf import ScanReport, ShelfEntry, Source
from desktop.storage.cancelling import IsCancelled, never
from desktop.storage.checkpoint_describe import describe_folder, shown
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_walk import Walk
from desktop.storage.folder_listing import list_folder
from desktop.storage.signature_cache import SignatureCache

CACHE_VERSION = "2"  # of what ShelfEntry holds and how it is read

EntryCache = SignatureCache[ShelfEntry]


def scan(
    roots: Iterable[ScanRoot],
    cache: EntryCache,
    on_found: Callable[[ShelfEntry], None] = lambda entry: None,
    is_cancelled: IsCancelled = never,
) -> ScanReport:
    """Find every model folder below the roots. on_found: called with each entry at once. Raises Cancelled.

    Takes as long as the disk needs for the names of all files, and milliseconds for each folder that changed: call it
    off the GUI thread.
    """
    begun = time.monotonic()
    walk = Walk(is_cancelled)
    entries = []
    for root in roots:
        for path, source in walk.find(root):
            entry = _entry(path, source, cache)
            entries.append(entry)
            on_found(entry)
    cache.save()
    return ScanReport(
        entries=tuple(entries),
        problems=tuple(shown(problem) for problem in walk.problems),
        removed_aside=tuple(walk.removed_aside),
        seconds=time.monotonic() - begun,
    )


def _entry(path: str, source: Source, cache: EntryCache) -> ShelfEntry:
    try:
        listing = list_folder(path)
    except OSError as problem:
        gone = isinstance(problem, FileNotFoundError | NotADirectoryError)
        code = FailureCode.CHECKPOINT_NOT_FOUND if gone else FailureCode.CHECKPOINT_NOT_READABLE
        return ShelfEntry(
            path=path,
            name=one_line(Path(path).name, 200),
            source=source,
            signature="",
            disk_bytes=0,
            modified=0.0,
            failure=shown(failure(code, path=path, detail=str(problem))),
        )
    # A branch can move to a folder in which nothing changes.
    key = f"{listing.signature} {msgspec.json.encode(source).decode()}"
    entry = cache.get(path, key)
    if entry is None:
        entry = describe_folder(path, source, listing)
        if entry.failure is None or entry.failure.code is not FailureCode.INTERNAL:
            cache.put(path, key, entry)
    return entry


def open_cache(folder: Path) -> EntryCache:
    """What earlier scans found, from a file in this folder."""
    return SignatureCache(folder / "models.msgpack", ShelfEntry, CACHE_VERSION)
