"""Conversations in SQLite: a row a message, and a reply's text appended while it streams."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from desktop.domain.conversation import Conversation, Message, MessageState
from desktop.domain.errors import Failure, FailureCode, error
from desktop.domain.generation import FinishReason, GenerationStats
from desktop.storage.database import Migration, open_database, transaction
from desktop.storage.errors import storage_errors

# AUTOINCREMENT: a late save for a deleted message must never find a new message under its number.
# messages: the pair (conversation_id, id) lets a parent or a leaf of another conversation be refused; parents have no
# ON DELETE CASCADE, because SQLite cascades at most 1,000 levels deep and a chat may be longer.
# streamed_text holds only what running replies, and replies that a crash cut, have not yet in messages.content.
MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE conversations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            leaf_id INTEGER,
            FOREIGN KEY (id, leaf_id) REFERENCES messages (conversation_id, id)
        )
        """,
        """
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            parent_id INTEGER,
            role TEXT NOT NULL,
            content TEXT NOT NULL,
            state TEXT NOT NULL,
            created_at REAL NOT NULL,
            model TEXT NOT NULL,
            finish_reason TEXT,
            stats TEXT,
            failure TEXT,
            UNIQUE (conversation_id, id),
            FOREIGN KEY (conversation_id, parent_id) REFERENCES messages (conversation_id, id)
        )
        """,
        "CREATE INDEX messages_by_parent ON messages (conversation_id, parent_id)",
        "CREATE INDEX messages_streaming ON messages (id) WHERE state = 'streaming'",
        """
        CREATE TABLE streamed_text (
            message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (message_id, position)
        ) WITHOUT ROWID
        """,
    ),
)


class ConversationStore:
    """The conversations of one data folder.

    Every method is one transaction: it happens as a whole, or it raises TurbodeskError and changes nothing, and may be
    called again later (after a full disk, say). A method that names a deleted conversation or message does nothing,
    save add_message, which raises.

    The thread that makes a store is the only one that may use it. Another thread that wants to read makes its own store
    on the same path, after the first is made; it sees what has been committed and never waits for the writer.

    The caller gives out the ids, so that it need not wait for the disk: one window per file (InstanceLock) counts on
    from next_ids().

    Text is stored as it is, NUL included. SQLite's TEXT cannot hold a lone surrogate, so such a text is stored as a
    BLOB and read back the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path, MIGRATIONS)

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with storage_errors(self._path):
            self._connection.close()

    def settle(self) -> None:
        """Empty the write-ahead log and begin the next one: to be called when nothing is being written.

        Both wait for the disk, a second or more when it is busy, and would hold up the text of a running reply.
        """
        with storage_errors(self._path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with self._transaction() as database:
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")  # any write will do

    def recover(self) -> int:
        """Mark replies that a crash cut short as interrupted; to be called once at start-up. Returns how many."""
        with self._transaction() as database:
            found = database.execute("SELECT id, content FROM messages WHERE state = 'streaming'").fetchall()
            for message_id, head in found:
                tail = database.execute(
                    "SELECT text FROM streamed_text WHERE message_id = ? ORDER BY position", (message_id,)
                )
                content = "".join([_text(head), *(_text(text) for (text,) in tail)])
                database.execute(
                    "UPDATE messages SET content = ?, state = ? WHERE id = ?",
                    (_stored(content), MessageState.INTERRUPTED.value, message_id),
                )
                database.execute("DELETE FROM streamed_text WHERE message_id = ?", (message_id,))
        return len(found)

    def next_ids(self) -> tuple[int, int]:
        """The first free conversation id and message id: above all that were ever used, deleted ones included."""
        with self._transaction("DEFERRED") as database:
            used = dict(database.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return used.get("conversations", 0) + 1, used.get("messages", 0) + 1

    def add_conversation(self, conversation: Conversation) -> None:
        """Add a conversation without messages."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO conversations (id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
                (conversation.id, _stored(conversation.title), conversation.created_at, conversation.updated_at),
            )

    def conversations(self) -> list[Conversation]:
        """All conversations, the one with the newest message first."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                "SELECT id, title, created_at, updated_at, leaf_id FROM conversations ORDER BY updated_at DESC, id DESC"
            ).fetchall()
        return [
            Conversation(id=id_, title=_text(title), created_at=created_at, updated_at=updated_at, leaf_id=leaf_id)
            for id_, title, created_at, updated_at, leaf_id in rows
        ]

    def rename(self, conversation_id: int, title: str) -> None:
        """Change the title."""
        with self._transaction() as database:
            database.execute("UPDATE conversations SET title = ? WHERE id = ?", (_stored(title), conversation_id))

    def delete(self, conversation_id: int) -> None:
        """Delete the conversation and all its messages."""
        with self._transaction() as database:
            database.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))

    def set_leaf(self, conversation_id: int, leaf_id: int | None) -> None:
        """Choose the branch on screen by its last message, which must be one of this conversation's."""
        with self._transaction() as database:
            database.execute("UPDATE conversations SET leaf_id = ? WHERE id = ?", (leaf_id, conversation_id))

    def messages(self, conversation_id: int) -> dict[int, Message]:
        """All messages of all branches by id, oldest first; what is saved of a running reply included."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                "SELECT id, conversation_id, parent_id, role, content, state, created_at, model, finish_reason, stats,"
                " failure FROM messages WHERE conversation_id = ? ORDER BY id",
                (conversation_id,),
            ).fetchall()
            tails = defaultdict(list)
            for message_id, text in database.execute(
                "SELECT message_id, text FROM streamed_text WHERE message_id IN"
                " (SELECT id FROM messages WHERE conversation_id = ? AND state = 'streaming')"
                " ORDER BY message_id, position",
                (conversation_id,),
            ):
                tails[message_id].append(_text(text))
        try:
            return {row[0]: _message(row, tails.get(row[0], [])) for row in rows}
        except ValueError as problem:  # msgspec's ValidationError and JSON's error are ValueErrors too
            raise error(FailureCode.DATABASE_BROKEN, path=self._path, reason=str(problem)) from problem

    def add_message(self, message: Message) -> None:
        """Add a message and make it its conversation's leaf. A reply is added as STREAMING before its first token."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO messages (id, conversation_id, parent_id, role, content, state, created_at, model,"
                " finish_reason, stats, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    message.id,
                    message.conversation_id,
                    message.parent_id,
                    message.role,
                    _stored(message.content),
                    message.state.value,
                    message.created_at,
                    *_outcome(message),
                ),
            )
            database.execute(
                "UPDATE conversations SET leaf_id = ?, updated_at = ? WHERE id = ?",
                (message.id, message.created_at, message.conversation_id),
            )

    def append_text(self, message_id: int, text: str) -> None:
        """Save what is new of a streaming reply; does nothing for a message that is not streaming.

        The text becomes a row of its own: to lengthen the message's own row, SQLite would write the whole text every
        time, gigabytes for a long reply.
        """
        with self._transaction() as database:
            database.execute(
                "INSERT INTO streamed_text (message_id, position, text)"
                " SELECT id, (SELECT coalesce(max(position), 0) + 1 FROM streamed_text WHERE message_id = :id), :text"
                " FROM messages WHERE id = :id AND state = 'streaming'",
                {"id": message_id, "text": _stored(text)},
            )

    def finish_message(self, message: Message) -> None:
        """Save the whole text of a reply and what became of it."""
        with self._transaction() as database:
            database.execute(
                "UPDATE messages SET content = ?, state = ?, model = ?, finish_reason = ?, stats = ?, failure = ?"
                " WHERE id = ?",
                (_stored(message.content), message.state.value, *_outcome(message), message.id),
            )
            database.execute("DELETE FROM streamed_text WHERE message_id = ?", (message.id,))

    def reopen_message(self, message_id: int) -> None:
        """Let a finished reply stream on from its text."""
        with self._transaction() as database:
            database.execute(
                "UPDATE messages SET state = ?, finish_reason = NULL, stats = NULL, failure = NULL WHERE id = ?",
                (MessageState.STREAMING.value, message_id),
            )

    @contextmanager
    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with storage_errors(self._path), transaction(self._connection, kind) as database:
            yield database


def _stored(text: str) -> str | bytes:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def _text(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode(errors="surrogatepass")


def _json(value: msgspec.Struct | None) -> str | None:
    # Not msgspec's JSON: it refuses lone surrogates, which the log lines of a failure can hold. It reads the numbers of
    # the statistics, though, and four times as fast.
    return None if value is None else json.dumps(msgspec.to_builtins(value))


def _outcome(message: Message) -> tuple[str | bytes | None, ...]:
    """The columns model, finish_reason, stats, failure."""
    reason = message.finish_reason.value if message.finish_reason else None
    return _stored(message.model), reason, _json(message.stats), _json(message.failure)


def _message(row: tuple[Any, ...], tail: list[str]) -> Message:
    id_, conversation_id, parent_id, role, content, state, created_at, model, finish_reason, stats, failure = row
    return Message(
        id=id_,
        conversation_id=conversation_id,
        parent_id=parent_id,
        role=role,
        content="".join([_text(content), *tail]),
        state=MessageState(state),
        created_at=created_at,
        model=_text(model),
        finish_reason=None if finish_reason is None else FinishReason(finish_reason),
        stats=None if stats is None else msgspec.json.decode(stats, type=GenerationStats),
        failure=None if failure is None else msgspec.convert(json.loads(failure), Failure),
    )
