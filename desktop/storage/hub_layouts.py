"""How the hubs' caches are laid out: which repository and revision a folder in them is.

Hugging Face (https://huggingface.co/docs/hub/local-cache): models--OWNER--NAME/{blobs,refs,snapshots/COMMIT}, with
links into blobs in a snapshot. ModelScope: [hub/][models/]OWNER/NAME, with "___" for the dots of NAME, and since
modelscope_hub 0.1 models/OWNER--NAME/snapshots/REVISION.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from desktop.domain.one_line import one_line
from desktop.domain.shelf import Source, SourceKind
from desktop.storage.small_files import read_small

_MODELS = "models--"
_NO_MODELS = ("datasets--", "spaces--")
_REFS_LIMIT = 200
_REFS_DEPTH = 4
_SNAPSHOTS_LIMIT = 200


def is_hub_repo(path: str, folders: Collection[str]) -> bool:
    """Whether a folder with these folders in it is a repository of a hub's cache."""
    name = os.path.basename(path)
    by_modelscope = "--" in name and os.path.basename(os.path.dirname(path)) == "models"
    return "snapshots" in folders and (name.startswith((_MODELS, *_NO_MODELS)) or by_modelscope)


def hugging_face_repo(path: str, kind: SourceKind) -> Iterator[tuple[str, Source]]:
    """The snapshots of a repository's folder, with their sources; nothing for data sets and spaces.

    kind: of the root it was found in.
    """
    name = os.path.basename(path)
    if name.startswith(_NO_MODELS):
        return
    if name.startswith(_MODELS) and kind is not SourceKind.MODELSCOPE:
        kind = SourceKind.HUGGING_FACE
    else:
        kind = SourceKind.MODELSCOPE
    name = name.removeprefix(_MODELS)
    repo_id = one_line(name.replace("--", "/"), 200)
    refs = read_refs(path)
    for revision in snapshots(path):
        source = Source(kind=kind, repo_id=repo_id, revision=one_line(revision, 100), refs=refs.get(revision, ()))
        yield os.path.join(path, "snapshots", revision), source


def snapshots(repo: str) -> list[str]:
    """The names of a repository's snapshots that hold anything; a link is none."""
    found = []
    try:
        with os.scandir(os.path.join(repo, "snapshots")) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and _holds_something(entry.path):
                    found.append(entry.name)
                if len(found) >= _SNAPSHOTS_LIMIT:
                    break
    except OSError:
        return []
    return sorted(found)


def read_refs(repo: str) -> dict[str, tuple[str, ...]]:
    """commit -> the branches and tags that point to it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, commit in ref_files(repo):
        found[commit].append(one_line(name, 100))
    return {commit: tuple(sorted(names)) for commit, names in found.items()}


def ref_files(repo: str) -> Iterator[tuple[str, str]]:
    """Each file below refs/ by its path there, with the commit it holds."""
    top = Path(repo, "refs")
    if top.is_symlink():
        return
    count = 0
    for folder, folders, files in os.walk(top):
        relative = Path(folder).relative_to(top)
        if len(relative.parts) >= _REFS_DEPTH:
            folders.clear()
        for file in files:
            count += 1
            if count > _REFS_LIMIT:
                return
            content = read_small(os.path.join(folder, file), 100)
            if content:
                yield (relative / file).as_posix(), content.decode(errors="replace").strip()


def modelscope_source(root: str, path: str) -> Source:
    """The source of a folder below ModelScope's root that is laid out as OWNER/NAME."""
    parts = list(Path(path).relative_to(root).parts)
    while parts and parts[0] in ("hub", "models"):
        parts.pop(0)
    repo_id = one_line("/".join(parts[:2]).replace("___", "."), 200) if len(parts) >= 2 else ""
    return Source(kind=SourceKind.MODELSCOPE, repo_id=repo_id)


def _holds_something(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError:
        return True  # what cannot be read is worth a sentence
