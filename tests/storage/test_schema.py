"""A database of an older version, made by the statements that made it then, becomes one of today and loses nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from desktop.domain.conversation import Conversation, Message, MessageState
from desktop.domain.errors import Failure, FailureCode
from desktop.domain.generation import FinishReason, GenerationStats
from desktop.storage.conversations import ConversationStore
from desktop.storage.schema import MIGRATIONS

# As version 1 made them on people's disks: never to be changed.
VERSION_1 = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, created_at REAL NOT NULL, updated_at REAL NOT NULL,
        leaf_id INTEGER, FOREIGN KEY (id, leaf_id) REFERENCES messages (conversation_id, id)
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE, parent_id INTEGER,
        role TEXT NOT NULL, content TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL, model TEXT NOT NULL,
        finish_reason TEXT, stats TEXT, failure TEXT, UNIQUE (conversation_id, id),
        FOREIGN KEY (conversation_id, parent_id) REFERENCES messages (conversation_id, id)
    );
    CREATE INDEX messages_by_parent ON messages (conversation_id, parent_id);
    CREATE INDEX messages_streaming ON messages (id) WHERE state = 'streaming';
    CREATE TABLE streamed_text (
        message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE, position INTEGER NOT NULL,
        text TEXT NOT NULL, PRIMARY KEY (message_id, position)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
"""
STATS = '{"prompt_tokens": 5, "completion_tokens": 7, "cached_tokens": 0, "time_to_first_token": 0.25, "duration": 1.5}'
FAILURE = '{"code": "engine_died", "message": "M", "next_step": "N", "action": "reload", "detail": "log \\udcff"}'
MESSAGES: tuple[tuple[Any, ...], ...] = (
    (1, 1, None, "user", "What is 显存?", "complete", 10.0, "", None, None, None),
    (2, 1, 1, "assistant", "Video memory.", "complete", 11.0, "tiny", "stop", STATS, None),
    (3, 1, 1, "assistant", "The card's.", "interrupted", 12.0, "tiny", None, None, FAILURE),
    (5, 4, None, "user", b"lone \xed\xb3\xbf surrogate", "complete", 20.0, "", None, None, None),
    (6, 4, 5, "assistant", "cut ", "streaming", 21.0, "tiny", None, None, None),
)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file of version 1 with two conversations, one deleted before them, and a reply that a crash cut."""
    path = tmp_path / "conversations.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(VERSION_1)
        database.execute("INSERT INTO conversations VALUES (1, 'Memory', 10.0, 12.0, NULL)")
        database.execute("INSERT INTO conversations VALUES (4, 'Other', 20.0, 21.0, NULL)")
        database.executemany(f"INSERT INTO messages VALUES ({', '.join('?' * 11)})", MESSAGES)
        database.execute("UPDATE conversations SET leaf_id = iif(id = 1, 2, 6)")
        database.execute("INSERT INTO streamed_text VALUES (6, 1, 'he')")
        database.execute("INSERT INTO streamed_text VALUES (6, 2, 're')")
        database.execute("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'messages'")
    return path


def test_a_file_of_version_1_loses_nothing(old_file: Path) -> None:
    with closing(ConversationStore(old_file)) as store:
        assert store.conversations() == [
            Conversation(id=4, title="Other", created_at=20.0, updated_at=21.0, leaf_id=6, title_chosen=True),
            Conversation(id=1, title="Memory", created_at=10.0, updated_at=12.0, leaf_id=2, title_chosen=True),
        ]
        question = Message(
            id=1, conversation_id=1, parent_id=None, role="user", content="What is 显存?", created_at=10.0
        )
        stats = GenerationStats(prompt_tokens=5, completion_tokens=7, time_to_first_token=0.25, duration=1.5)
        answers = [
            Message(
                id=2,
                conversation_id=1,
                parent_id=1,
                role="assistant",
                content="Video memory.",
                created_at=11.0,
                model="tiny",
                finish_reason=FinishReason.STOP,
                stats=stats,
            ),
            Message(
                id=3,
                conversation_id=1,
                parent_id=1,
                role="assistant",
                content="The card's.",
                state=MessageState.INTERRUPTED,
                created_at=12.0,
                model="tiny",
                failure=Failure(
                    code=FailureCode.ENGINE_DIED, message="M", next_step="N", action="reload", detail="log \udcff"
                ),
            ),
        ]
        assert list(store.messages(1).values()) == [question, *answers]
        assert store.next_ids() == (5, 10)
        assert store.next_folder_id() == 1
        assert store.recover() == 1
        assert [m.content for m in store.messages(4).values()] == ["lone \udcff surrogate", "cut here"]
        assert [hit.message_id for hit in store.search("显存")] == [1]
        assert [hit.message_id for hit in store.search("cut here")] == [6], "what was recovered is found"
        assert [hit.message_id for hit in store.search("surrogate")] == [5]
        assert [hit.conversation_id for hit in store.search_titles("memory")] == [1]
        assert store._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert store._connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_old_file_is_kept_beside_it(old_file: Path) -> None:
    ConversationStore(old_file).close()
    with closing(sqlite3.connect(old_file.with_name("conversations.v1.bak.db"))) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT * FROM messages ORDER BY id").fetchall() == list(MESSAGES)


def test_a_migrated_file_is_like_a_new_one(old_file: Path, tmp_path: Path) -> None:
    """Same tables and columns; SQLite writes an added column into the old statement, so its words differ."""

    def columns(path: Path) -> dict[str, list[Any]]:
        with closing(ConversationStore(path)) as store:
            tables = store._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            return {name: store._connection.execute(f"PRAGMA table_info({name})").fetchall() for (name,) in tables}

    assert columns(old_file) == columns(tmp_path / "new.db")


def test_a_damaged_message_does_not_keep_the_others_from_being_migrated(old_file: Path) -> None:
    with closing(sqlite3.connect(old_file)) as database, database:
        database.execute("UPDATE messages SET content = CAST(x'67ff6f6f64' AS TEXT) WHERE id = 5")
    with closing(ConversationStore(old_file)) as store:
        assert len(store.messages(1)) == 3
        assert len(store.search("memory")) == 1


def test_migrations_are_only_ever_added() -> None:
    """Versions 1 and 2 are on people's disks: change the schema by a new step."""
    assert len(MIGRATIONS) >= 2
