"""Opening, migrating and refusing database files; every error has its code."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.storage import database
from desktop.storage.conversations import ConversationStore
from desktop.storage.database import open_database, transaction
from desktop.storage.schema import MIGRATIONS
from tests.storage.writing import new_conversation, new_message

STEP_1 = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)",)
STEP_2 = ("ALTER TABLE notes ADD COLUMN author TEXT", "UPDATE notes SET author = 'me'")


def refused(path: Path, migrations: tuple[tuple[str, ...], ...] = (STEP_1,)) -> TurbodeskError:
    with pytest.raises(TurbodeskError) as caught:
        open_database(path, migrations)
    return caught.value


def test_a_new_file_gets_the_whole_schema_and_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "notes.db"
    with closing(open_database(path, (STEP_1, STEP_2))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (database.BUSY_TIMEOUT * 1000,)
    assert [entry.name for entry in path.parent.iterdir()] == ["notes.db"], "a new database needs no backup"
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0, "conversations are private"


def test_an_older_file_is_copied_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(open_database(path, (STEP_1,))) as connection, transaction(connection):
        connection.execute("INSERT INTO notes (text) VALUES ('kept')")
    (tmp_path / "notes.v1.bak.part").write_bytes(b"left by a crash")

    with closing(open_database(path, (STEP_1, STEP_2))) as connection:
        assert connection.execute("SELECT text, author FROM notes").fetchall() == [("kept", "me")]

    assert {entry.name for entry in tmp_path.iterdir()} == {"notes.db", "notes.v1.bak.db"}
    with closing(sqlite3.connect(tmp_path / "notes.v1.bak.db")) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT * FROM notes").fetchall() == [(1, "kept")]


def test_the_conversations_schema_is_copied_too_when_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    new_conversation(store, "kept")
    store.close()
    with closing(open_database(path, (*MIGRATIONS, ("CREATE TABLE later (id INTEGER)",)))):
        pass
    assert (tmp_path / f"conversations.v{len(MIGRATIONS)}.bak.db").exists()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    open_database(path, (STEP_1,)).close()
    with pytest.raises(TurbodeskError):
        open_database(path, (STEP_1, (*STEP_2, "INSERT INTO nowhere VALUES (1)")))
    with closing(open_database(path, (STEP_1,))) as connection:
        assert [row[1] for row in connection.execute("PRAGMA table_info(notes)")] == ["id", "text"]


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    open_database(path, (STEP_1, STEP_2)).close()
    before = path.read_bytes()
    failure = refused(path).failure
    assert failure.code is FailureCode.DATABASE_TOO_NEW
    assert "schema 2, this one knows 1" in failure.message
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"xy", b"This is a text file.\n", b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(content)
    failure = refused(path).failure
    assert failure.code is FailureCode.DATABASE_BROKEN
    assert str(path) in failure.message
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.db"]


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = path.read_bytes()
    assert refused(path).failure.code is FailureCode.DATABASE_BROKEN
    assert path.read_bytes() == before


def test_damage_in_the_middle_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    conversation = new_conversation(store, "long")
    for _ in range(50):
        new_message(store, conversation.id, None, "user", "word " * 1000)
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)

    store = ConversationStore(path)
    with pytest.raises(TurbodeskError) as caught:
        store.messages(conversation.id)
    assert caught.value.failure.code is FailureCode.DATABASE_BROKEN
    store.close()
    assert path.read_bytes() == content


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.touch()
    open_database(path, (STEP_1,)).close()


def test_a_locked_file_is_busy_and_waits_no_longer_than_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.05)
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TurbodeskError) as caught:
            store.rename(1, "busy")
        assert caught.value.failure.code is FailureCode.DATABASE_BUSY
        other.execute("ROLLBACK")
    new_conversation(store, "waiting")
    assert len(store.conversations()) == 1
    store.close()


def test_a_folder_that_may_not_be_written(ordinary_folder: Path) -> None:
    ordinary_folder.chmod(0o500)
    for path in (ordinary_folder / "notes.db", ordinary_folder / "deeper" / "notes.db"):
        failure = refused(path).failure
        assert failure.code is FailureCode.STORAGE_NOT_WRITABLE
        assert str(path) in failure.message


def test_a_database_that_may_only_be_read(ordinary_folder: Path) -> None:
    path = ordinary_folder / "conversations.db"
    ConversationStore(path).close()
    path.chmod(0o400)
    with closing(ConversationStore(path)) as store, pytest.raises(TurbodeskError) as caught:
        store.rename(1, "no")
    assert caught.value.failure.code is FailureCode.STORAGE_NOT_WRITABLE


def test_a_folder_name_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    assert refused(tmp_path / "taken" / "notes.db").failure.code is FailureCode.STORAGE_NOT_WRITABLE


def test_a_disk_without_room_for_the_database(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (240 << 10))
    assert refused(small_disk / "notes.db").failure.code is FailureCode.DISK_FULL
    filler.unlink()
    open_database(small_disk / "notes.db", (STEP_1,)).close()
