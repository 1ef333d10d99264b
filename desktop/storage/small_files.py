"""Reads files of a folder that anyone may have written: regular files only, so much of them and no more."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_small(path: str | Path, limit: int) -> bytes | None:
    """The first `limit` bytes; None where there is no regular file or it cannot be read. Never waits for a pipe."""
    try:
        # Asked first as well, because opening a device can do something.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        with os.fdopen(number, "rb") as file:
            return file.read(limit) if stat.S_ISREG(os.fstat(number).st_mode) else None
    except OSError:
        return None
