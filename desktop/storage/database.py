"""Opens an SQLite file: write-ahead log, schema version, forward migrations after a backup copy."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from desktop.domain.errors import FailureCode, error
from desktop.storage.errors import storage_errors

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another program's lock."""

Migration = Sequence[str | Callable[[sqlite3.Connection], None]]
"""Steps that lift the schema by one version: SQL statements, or functions for what SQL cannot say."""


def open_database(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """Open the file, making it and its folder where missing, and bring its schema to version len(migrations).

    The version is PRAGMA user_version. An older file that holds anything is copied to `<stem>.v<version>.bak.db` beside
    it before it is changed. A file that is damaged or too new is left as it is. The connection is in autocommit mode:
    write through transaction(). It belongs to the calling thread. Raises TurbodeskError.
    """
    with storage_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        try:
            _prepare(connection, path, migrations)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(
    connection: sqlite3.Connection, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """All of the block or nothing. IMMEDIATE takes the write lock first; DEFERRED reads one consistent state."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors (full disk among them)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _prepare(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    # Both reads come before anything that writes: they fail on a file that is not ours to touch.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version > len(migrations):
        raise error(FailureCode.DATABASE_TOO_NEW, found=version, known=len(migrations))
    if version < 0 or (objects > 0) != (version > 0):
        raise error(FailureCode.DATABASE_BROKEN, path=path, reason="it is not a database of Turbodesk")

    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # Emptying the log waits for the disk, so it is done when nobody writes (ConversationStore.settle); this is a bound.
    connection.execute("PRAGMA wal_autocheckpoint = 25000")  # pages, 100 MB
    if version < len(migrations):
        if objects:
            _back_up(connection, path.with_name(f"{path.stem}.v{version}.bak.db"))
        with transaction(connection):
            for migration in migrations[version:]:
                for step in migration:
                    if isinstance(step, str):
                        connection.execute(step)
                    else:
                        step(connection)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
    # After the migrations, which may have to rebuild a table that others refer to.
    connection.execute("PRAGMA foreign_keys = ON")


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    partial = target.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as copy:
        connection.backup(copy)
    os.replace(partial, target)
