"""Where models are looked for: the hubs' caches by their own rules, our own folders, and the user's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from desktop.domain.shelf import SourceKind
from desktop.storage.paths import AppPaths


class ScanRoot(msgspec.Struct, frozen=True):
    """A folder to look in. named: by the user, who is told when it is not there; a cache may well not exist."""

    path: str
    kind: SourceKind
    named: bool = False


def scan_roots(paths: AppPaths, folders: Iterable[str] = ()) -> tuple[ScanRoot, ...]:
    """All roots, the more telling first: a folder that two of them hold is listed as the first one's."""
    roots = [
        ScanRoot(str(paths.quantized), SourceKind.OWN),
        ScanRoot(str(paths.models), SourceKind.DOWNLOADED),
        ScanRoot(str(hugging_face_cache()), SourceKind.HUGGING_FACE),
        ScanRoot(str(modelscope_cache()), SourceKind.MODELSCOPE),
    ]
    roots += [ScanRoot(os.path.abspath(os.path.expanduser(folder)), SourceKind.FOLDER, True) for folder in folders]
    return tuple(roots)


def hugging_face_cache() -> Path:
    """As huggingface_hub finds it: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub."""
    home = _expand(os.getenv("HF_HOME") or os.path.join(os.getenv("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    named = os.getenv("HF_HUB_CACHE") or os.getenv("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.abspath(_expand(named) if named else os.path.join(home, "hub")))


def modelscope_cache() -> Path:
    """As modelscope finds it: MODELSCOPE_CACHE, else ~/.cache/modelscope."""
    return Path(os.path.abspath(_expand(os.getenv("MODELSCOPE_CACHE") or "~/.cache/modelscope")))


def _expand(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))
