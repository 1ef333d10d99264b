"""Finds model folders below a root by the names of files alone, within limits on depth and number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.shelf import Source, SourceKind
from desktop.storage.cancelling import Cancelled, IsCancelled, never
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.hub_layouts import hugging_face_repo, is_hub_repo, modelscope_source
from desktop.storage.small_files import read_small

REMOVED_ASIDE = ".turbodesk-removed-"

_DEPTH_LIMIT = 10
_FOLDERS_LIMIT = 50_000  # a root
_NAMES_LIMIT = 20_000  # a folder
_CONFIG_LIMIT = 1 << 20  # bytes
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages", "proc", "sys"))
_WEIGHTS = (".safetensors", ".gguf")
_OLD_WEIGHTS = ("pytorch_model", "consolidated")


class _Names(NamedTuple):
    files: set[str]
    folders: list[str]
    linked_folders: list[str]


class Walk:
    """One scan's walk over its roots. problems and removed_aside grow as it goes on."""

    def __init__(self, is_cancelled: IsCancelled = never) -> None:
        self.problems: list[Failure] = []
        self.removed_aside: list[str] = []
        self._is_cancelled = is_cancelled
        self._seen: set[tuple[int, int]] = set()  # device and inode: no folder twice, and no way around a cycle

    def find(self, root: ScanRoot) -> Iterator[tuple[str, Source]]:
        """Each model folder below the root, or the root itself. Raises Cancelled."""
        if not os.path.isdir(root.path):
            if root.named:
                self.problems.append(failure(FailureCode.CHECKPOINT_NOT_FOUND, path=root.path))
            return
        waiting, linked = [(root.path, 0, False)], deque[tuple[str, int, bool]]()
        visited = 0
        while waiting or linked:
            if self._is_cancelled():
                raise Cancelled
            # Links last, so that a folder is found by its own path.
            path, depth, in_model = waiting.pop() if waiting else linked.popleft()
            if not self._is_new(path):
                continue
            visited += 1
            if visited > _FOLDERS_LIMIT:
                self._incomplete(root, f"it holds more than {_FOLDERS_LIMIT} folders")
                return
            names = self._names(path, root, depth)
            if names is None:
                continue
            if is_hub_repo(path, names.folders):
                yield from (found for found in hugging_face_repo(path, root.kind) if self._is_new(found[0]))
                continue
            is_model = _is_model(path, names.files, in_model)
            if is_model:
                yield path, _source(root, path)
            if "model_index.json" in names.files:
                continue
            below = [name for name in names.folders if name not in _SKIPPED and not name.startswith(".")]
            if (below or names.linked_folders) and depth >= _DEPTH_LIMIT:
                self._incomplete(root, f"it is more than {_DEPTH_LIMIT} folders deep")
                continue
            inside = in_model or is_model
            waiting += [(os.path.join(path, name), depth + 1, inside) for name in reversed(below)]
            linked += [(os.path.join(path, name), depth + 1, inside) for name in names.linked_folders]

    def _is_new(self, path: str) -> bool:
        try:
            facts = os.stat(path)
        except (OSError, ValueError):
            return False
        known = (facts.st_dev, facts.st_ino) in self._seen
        self._seen.add((facts.st_dev, facts.st_ino))
        return not known

    def _names(self, path: str, root: ScanRoot, depth: int) -> _Names | None:
        found = _Names(set(), [], [])
        try:
            with os.scandir(path) as entries:
                for count, entry in enumerate(entries):
                    if count >= _NAMES_LIMIT:
                        self._incomplete(root, f"a folder in it has more than {_NAMES_LIMIT} files")
                        break
                    if not _is_folder(entry):
                        found.files.add(entry.name)
                    elif entry.name.startswith(REMOVED_ASIDE):
                        self.removed_aside.append(entry.path)
                    elif entry.is_symlink():
                        found.linked_folders.append(entry.name)
                    else:
                        found.folders.append(entry.name)
        except OSError as problem:
            if depth == 0:
                self.problems.append(failure(FailureCode.CHECKPOINT_NOT_READABLE, path=root.path, detail=str(problem)))
            return None
        found.folders.sort()
        found.linked_folders.sort()
        return found

    def _incomplete(self, root: ScanRoot, reason: str) -> None:
        problem = failure(FailureCode.SCAN_INCOMPLETE, path=root.path, reason=reason)
        if problem not in self.problems:
            self.problems.append(problem)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_model(path: str, files: set[str], in_model: bool) -> bool:
    """in_model: below a model's folder only a whole model is another one; its other folders are parts of it."""
    has_config = "config.json" in files
    has_weights = any(name.endswith(_WEIGHTS) or name.startswith(_OLD_WEIGHTS) for name in files)
    if in_model:
        return has_config and has_weights
    if has_weights or "model_index.json" in files:
        return True
    if not has_config:
        return False
    # Programs of every kind have a config.json.
    content = read_small(os.path.join(path, "config.json"), _CONFIG_LIMIT) or b""
    return b'"model_type"' in content or b'"architectures"' in content


def _source(root: ScanRoot, path: str) -> Source:
    if root.kind is SourceKind.MODELSCOPE:
        return modelscope_source(root.path, path)
    return Source(kind=root.kind)
