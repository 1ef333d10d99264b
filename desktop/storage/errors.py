"""What SQLite and the operating system refuse, turned into failures with a next step."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desktop.domain.errors import FailureCode, TurbodeskError, error

_FULL_BELOW = 1 << 16  # bytes free; SQLite needs 32 KiB beside the database before it can write one row


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise TurbodeskError for every sqlite3.Error and OSError of the block; path: what was read or written."""
    try:
        yield
    except sqlite3.Error as problem:
        raise _from_sqlite(problem, path) from problem
    except OSError as problem:
        raise _from_os(problem, path) from problem


def _from_os(problem: OSError, path: Path) -> TurbodeskError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return error(FailureCode.DISK_FULL, detail=str(problem))
    reason = problem.strerror or str(problem)
    return error(FailureCode.STORAGE_NOT_WRITABLE, detail=str(problem), path=path, reason=reason)


def _from_sqlite(problem: sqlite3.Error, path: Path) -> TurbodeskError:
    reason = str(problem)
    # Misuse and broken rules are our own mistakes; whatever else has no better name is wrong with the file.
    if isinstance(problem, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.DataError):
        return error(FailureCode.INTERNAL, detail=repr(problem), reason=reason)
    primary = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    name = getattr(problem, "sqlite_errorname", type(problem).__name__)
    detail = f"{name}: {problem}"
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and _disk_is_full(path)):
        return error(FailureCode.DISK_FULL, detail=detail)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return error(FailureCode.DATABASE_BUSY, detail=detail)
    if primary in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_IOERR,
    ):
        return error(FailureCode.STORAGE_NOT_WRITABLE, detail=detail, path=path, reason=reason)
    return error(FailureCode.DATABASE_BROKEN, detail=detail, path=path, reason=reason)


def _disk_is_full(path: Path) -> bool:
    # SQLite says "disk I/O error", not "full", when the shared-memory file beside the database finds no room.
    try:
        return shutil.disk_usage(path.parent).free < _FULL_BELOW
    except OSError:
        return False
