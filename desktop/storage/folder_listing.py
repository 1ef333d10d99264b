"""Lists the files of one model folder with their sizes and times, within limits, and signs the list."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

_DEPTH_LIMIT = 12  # folders below the model's own; a git clone has six
_COUNT_LIMIT = 5000  # entries; a model has tens
_VERSION = b"1"  # a new one makes every folder be read again


class FileFact(NamedTuple):
    """size in bytes, times in nanoseconds, of the file that a link points to."""

    size: int
    modified: int
    changed: int
    device: int
    inode: int


class FolderListing(NamedTuple):
    """files: by their path below the folder, with "/". other: of the top level, what is neither file nor folder.

    cut: whether there were more than the limits allow.
    """

    files: dict[str, FileFact]
    other: frozenset[str]
    cut: bool

    @property
    def names(self) -> set[str]:
        """Of the files of the top level."""
        return {name for name in self.files if "/" not in name}

    @property
    def disk_bytes(self) -> int:
        """Of all files; one with several names counts once."""
        return sum({(fact.device, fact.inode): fact.size for fact in self.files.values()}.values())

    @property
    def modified(self) -> float:
        """Of the newest file, in seconds since the epoch."""
        return max((fact.modified for fact in self.files.values()), default=0) / 1e9

    @property
    def signature(self) -> str:
        """Another one when any name, size, time or inode is another."""
        found = hashlib.blake2b(_VERSION, digest_size=16)
        for name in sorted(self.files):
            found.update(f"{name}\0{tuple(self.files[name])}\n".encode(errors="surrogatepass"))
        for name in sorted(self.other):
            found.update(f"{name}\0other\n".encode(errors="surrogatepass"))
        return found.hexdigest()


def list_folder(path: str | Path) -> FolderListing:
    """The files of a folder and of those below it; links to files are followed, links to folders are not.

    Raises OSError where the folder itself cannot be read.
    """
    files: dict[str, FileFact] = {}
    other: set[str] = set()
    waiting = [("", os.fspath(path), 0)]
    count = 0
    cut = False
    while waiting:
        prefix, folder, depth = waiting.pop()
        try:
            entries = os.scandir(folder)
        except OSError:
            if not prefix:
                raise
            continue
        with entries:
            for entry in entries:
                count += 1
                if count > _COUNT_LIMIT:
                    return FolderListing(files, frozenset(other), True)
                name = prefix + entry.name
                try:
                    facts = entry.stat()
                except OSError:
                    other.add(name)  # a link to nothing
                    continue
                if stat.S_ISREG(facts.st_mode):
                    files[name] = FileFact(
                        facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino
                    )
                elif not stat.S_ISDIR(facts.st_mode):
                    other.add(name)
                elif not entry.is_symlink():
                    if depth < _DEPTH_LIMIT:
                        waiting.append((f"{name}/", entry.path, depth + 1))
                    else:
                        cut = True
    return FolderListing(files, frozenset(other), cut)
