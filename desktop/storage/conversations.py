"""Conversations in SQLite: a row a message, and a reply's text appended while it streams."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from desktop.domain.conversation import ChatSettings, Conversation, Folder, Message, MessageState
from desktop.domain.errors import FailureCode, error
from desktop.storage import search_index
from desktop.storage.database import open_database, transaction
from desktop.storage.errors import storage_errors
from desktop.storage.rows import (
    CONVERSATION_COLUMNS,
    INSERT_MESSAGE,
    SELECT_MESSAGES,
    conversation_of,
    conversation_row,
    message_row,
    outcome_row,
    read_messages,
    settings_json,
    stored,
    text_of,
)
from desktop.storage.schema import MIGRATIONS
from desktop.storage.search import Search, SearchHit, TitleHit, healing
from desktop.storage.trash import purge


class ConversationStore:
    """The conversations of one data folder.

    Every method is one transaction: it happens as a whole, or it raises TurbodeskError and changes nothing, and may be
    called again later (after a full disk, say). batch() makes one of several calls. A method that names a deleted
    conversation, folder or message does nothing, save add_message, which raises.

    The thread that makes a store is the only one that may use it, save interrupt(). Another thread that wants to read
    makes its own store on the same path, after the first is made; it sees what has been committed and never waits for
    the writer.

    The caller gives out the ids, so that it need not wait for the disk: one window per file (InstanceLock) counts on
    from next_ids() and next_folder_id().

    Text is stored as it is, NUL and lone surrogates included. The full-text index always holds what is in
    messages.content and conversations.title; text that still streams is not in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path, MIGRATIONS)
        self._search = Search(self._connection)
        self._new_attachments: set[str] = set()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with storage_errors(self._path):
            self._connection.close()

    @property
    def is_in_batch(self) -> bool:
        """Whether a batch() is open."""
        return self._connection.in_transaction

    @contextmanager
    def batch(self, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
        """All calls in the block happen as a whole or not at all; DEFERRED: they read one state, and write nothing."""
        with self._transaction(kind):
            yield

    def settle(self) -> None:
        """Empty the write-ahead log and begin the next one: to be called when nothing is being written.

        Both wait for the disk, a second or more when it is busy, and would hold up the text of a running reply.
        """
        with storage_errors(self._path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with self._transaction() as database:
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")  # any write will do

    @healing
    def recover(self) -> int:
        """Mark replies that a crash cut short as interrupted; to be called once at start-up. Returns how many."""
        with self._transaction() as database:
            found = database.execute("SELECT id, content, reasoning FROM messages WHERE state = 'streaming'").fetchall()
            for message_id, head, reasoning_head in found:
                texts, reasonings = [text_of(head)], [text_of(reasoning_head or "")]
                for text, is_reasoning in database.execute(
                    "SELECT text, is_reasoning FROM streamed_text WHERE message_id = ? ORDER BY position", (message_id,)
                ):
                    (reasonings if is_reasoning else texts).append(text_of(text))
                database.execute(
                    "UPDATE messages SET reasoning = ?, state = ? WHERE id = ?",
                    (stored("".join(reasonings)) or None, MessageState.INTERRUPTED.value, message_id),
                )
                self._set_content(message_id, "".join(texts))
                database.execute("DELETE FROM streamed_text WHERE message_id = ?", (message_id,))
        return len(found)

    def next_ids(self) -> tuple[int, int]:
        """The first free conversation id and message id: above all that were ever used, deleted ones included."""
        return self._next_id("conversations"), self._next_id("messages")

    def next_folder_id(self) -> int:
        """The first free folder id, in the same way."""
        return self._next_id("folders")

    # conversations

    @healing
    def add_conversation(self, conversation: Conversation) -> None:
        """Add a conversation without messages; its leaf_id is not looked at."""
        with self._transaction() as database:
            values = conversation_row(conversation)
            database.execute(f"INSERT INTO conversations ({CONVERSATION_COLUMNS}) VALUES (?{', ?' * 9})", values)
            self._set("folder_id", conversation.id, conversation.folder_id)
            search_index.index_title(database, conversation.id, conversation.title)

    def conversations(self) -> list[Conversation]:
        """All conversations that are not in the trash, the one with the newest message first."""
        return self._conversations("deleted_at IS NULL ORDER BY updated_at DESC, id DESC")

    def trashed(self) -> list[Conversation]:
        """Those in the trash, the last deleted first."""
        return self._conversations("deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC")

    @healing
    def rename(self, conversation_id: int, title: str, *, chosen: bool = True) -> None:
        """Change the title. chosen: by the user."""
        with self._transaction() as database:
            sql = f"SELECT {search_index.TITLE} FROM conversations WHERE id = ?"
            for (old,) in database.execute(sql, (conversation_id,)).fetchall():
                search_index.unindex_title(database, conversation_id, search_index.readable(old))
                search_index.index_title(database, conversation_id, title)
            database.execute(
                "UPDATE conversations SET title = ?, title_chosen = ? WHERE id = ?",
                (stored(title), chosen, conversation_id),
            )

    def set_leaf(self, conversation_id: int, leaf_id: int | None) -> None:
        """Choose the branch on screen by its last message, which must be one of this conversation's."""
        self._set("leaf_id", conversation_id, leaf_id)

    def set_folder(self, conversation_id: int, folder_id: int | None) -> None:
        """Put the conversation into a folder; None, or a folder that is gone: into none."""
        self._set("folder_id", conversation_id, folder_id)

    def set_pinned(self, conversation_id: int, pinned: bool) -> None:
        """Keep the conversation at the top, or no longer."""
        self._set("pinned", conversation_id, pinned)

    def set_settings(self, conversation_id: int, settings: ChatSettings | None) -> None:
        """Give the conversation its own settings; None: those of the settings page."""
        self._set("settings", conversation_id, settings_json(settings))

    def trash(self, conversation_id: int, at: float) -> None:
        """Put the conversation into the trash, at this time."""
        self._set("deleted_at", conversation_id, at)

    def restore(self, conversation_id: int) -> None:
        """Take the conversation out of the trash."""
        self._set("deleted_at", conversation_id, None)

    @healing
    def purge(self, before: float) -> int:
        """Delete for good what was put into the trash before this time; returns how many conversations.

        Attachments that no message refers to go too, save those that were added through this store: the message that
        they belong to may be on its way.
        """
        with self._transaction() as database, self._damage():
            return purge(database, before, self._new_attachments)

    @healing
    def delete(self, conversation_id: int) -> None:
        """Delete the conversation and all its messages for good, without the trash; attachments wait for purge()."""
        with self._transaction() as database:
            search_index.unindex_conversation(database, conversation_id)
            database.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))

    def set_draft(self, conversation_id: int | None, text: str) -> None:
        """Keep what is written and not sent yet; "" keeps nothing. None: of the chat that is not begun."""
        with self._transaction() as database:
            database.execute("DELETE FROM drafts WHERE conversation_id IS ?", (conversation_id,))
            if text:
                # A draft of a conversation that is gone meanwhile goes with it.
                database.execute(
                    "INSERT INTO drafts SELECT :id, :text WHERE :id IS NULL"
                    " OR EXISTS (SELECT 1 FROM conversations WHERE id = :id)",
                    {"id": conversation_id, "text": stored(text)},
                )

    def drafts(self) -> dict[int | None, str]:
        """What is written and not sent yet, by conversation."""
        with self._transaction("DEFERRED") as database, self._damage():
            return {id_: text_of(text) for id_, text in database.execute("SELECT conversation_id, text FROM drafts")}

    # folders

    def folders(self) -> list[Folder]:
        """All folders, the oldest first."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute("SELECT id, name FROM folders ORDER BY id")
            with self._damage():
                return [Folder(id=id_, name=text_of(name)) for id_, name in rows]

    def add_folder(self, folder: Folder) -> None:
        """Add a folder."""
        with self._transaction() as database:
            database.execute("INSERT INTO folders (id, name) VALUES (?, ?)", (folder.id, stored(folder.name)))

    def rename_folder(self, folder_id: int, name: str) -> None:
        """Change a folder's name."""
        with self._transaction() as database:
            database.execute("UPDATE folders SET name = ? WHERE id = ?", (stored(name), folder_id))

    def delete_folder(self, folder_id: int) -> None:
        """Delete a folder; its conversations stay, without a folder."""
        with self._transaction() as database:
            database.execute("DELETE FROM folders WHERE id = ?", (folder_id,))

    # messages

    def messages(self, conversation_id: int) -> dict[int, Message]:
        """All messages of all branches by id, oldest first; what is saved of a running reply included."""
        return {message.id: message for message in self.each_message(conversation_id)}

    def each_message(self, conversation_id: int) -> Iterator[Message]:
        """The same one by one, for more than fits into memory. The store is busy until the last has been read."""
        with self._transaction("DEFERRED") as database, self._damage():
            tails: dict[tuple[int, int], list[str]] = defaultdict(list)
            for message_id, is_reasoning, text in database.execute(
                "SELECT message_id, is_reasoning, text FROM streamed_text WHERE message_id IN"
                " (SELECT id FROM messages WHERE conversation_id = ? AND state = 'streaming')"
                " ORDER BY message_id, position",
                (conversation_id,),
            ):
                tails[message_id, is_reasoning].append(text_of(text))
            rows = database.execute(SELECT_MESSAGES, (conversation_id,))
            yield from read_messages(rows, conversation_id, tails)

    def message_numbers(self, conversation_id: int) -> dict[int, int]:
        """Message id -> which of the conversation's messages it is; the oldest is 1."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                "SELECT id FROM messages WHERE conversation_id = ? ORDER BY id", (conversation_id,)
            ).fetchall()
        return {id_: number for number, (id_,) in enumerate(rows, 1)}

    @healing
    def add_message(self, message: Message, *, touch: bool = True) -> None:
        """Add a message and make it its conversation's leaf. A reply is added as STREAMING before its first token.

        touch False: leave the conversation's leaf and time as they are.
        """
        with self._transaction() as database:
            database.execute(INSERT_MESSAGE, message_row(message))
            search_index.index_message(database, message.id, message.content)
            if touch:
                database.execute(
                    "UPDATE conversations SET leaf_id = ?, updated_at = ? WHERE id = ?",
                    (message.id, message.created_at, message.conversation_id),
                )

    @healing
    def copy_branch(self, conversation: Conversation, messages: Iterable[Message]) -> None:
        """Add a conversation with these messages, parents first, all with ids of their own; the last is its leaf."""
        with self._transaction():
            self.add_conversation(conversation)
            last = None
            for message in messages:
                self.add_message(message, touch=False)
                last = message.id
            self.set_leaf(conversation.id, last)

    def append_text(self, message_id: int, text: str) -> None:
        """Save what is new of a streaming reply; does nothing for a message that is not streaming.

        The text becomes a row of its own: to lengthen the message's own row, SQLite would write the whole text every
        time, gigabytes for a long reply.
        """
        self._append(message_id, text, is_reasoning=False)

    def append_reasoning(self, message_id: int, text: str) -> None:
        """The same for what the model thinks before it answers."""
        self._append(message_id, text, is_reasoning=True)

    @healing
    def finish_message(self, message: Message) -> None:
        """Save the whole text of a reply, its reasoning and tool calls, and what became of it."""
        with self._transaction() as database:
            self._set_content(message.id, message.content)
            database.execute(
                "UPDATE messages SET content = ?, state = ?, model = ?, finish_reason = ?, stats = ?, failure = ?,"
                " reasoning = ?, tool_calls = ? WHERE id = ?",
                (*outcome_row(message), message.id),
            )
            database.execute("DELETE FROM streamed_text WHERE message_id = ?", (message.id,))

    def reopen_message(self, message_id: int) -> None:
        """Let a finished reply stream on from its text."""
        with self._transaction() as database:
            database.execute(
                "UPDATE messages SET state = ?, finish_reason = NULL, stats = NULL, failure = NULL WHERE id = ?",
                (MessageState.STREAMING.value, message_id),
            )

    # attachments

    def add_attachment(self, attachment_id: str, data: bytes) -> None:
        """Keep the bytes of an attachment under their SHA-256 in hexadecimal; once is enough."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO attachments (id, data) VALUES (?, ?)", (attachment_id, data))
        self._new_attachments.add(attachment_id)

    def attachment(self, attachment_id: str) -> bytes | None:
        """The bytes of an attachment; None when they are not there."""
        with self._transaction("DEFERRED") as database:
            row = database.execute("SELECT data FROM attachments WHERE id = ?", (attachment_id,)).fetchone()
        return None if row is None else bytes(row[0])

    # searching

    @healing
    def search(self, text: str, limit: int = 50, before: int | None = None) -> list[SearchHit]:
        """The newest messages that match, at most limit; before: only older ones than this message. See search.py.

        Raises Cancelled when interrupt() is called meanwhile.
        """
        with self._transaction("DEFERRED"):
            return self._search.messages(text, limit, before)

    @healing
    def search_titles(self, text: str, limit: int = 50) -> list[TitleHit]:
        """The newest conversations whose titles match, at most limit."""
        with self._transaction("DEFERRED"):
            return self._search.titles(text, limit)

    def interrupt(self) -> None:
        """Have a search that runs now in this store end with Cancelled. May be called from any thread."""
        self._search.interrupt()

    def rebuild_index(self) -> None:
        """Make the full-text index anew; takes about a minute for a million messages."""
        with self._transaction() as database:
            search_index.rebuild(database)

    # inside

    def _conversations(self, which: str) -> list[Conversation]:
        with self._transaction("DEFERRED") as database, self._damage():
            rows = database.execute(f"SELECT {CONVERSATION_COLUMNS} FROM conversations WHERE {which}")
            return [conversation_of(row) for row in rows]

    def _next_id(self, table: str) -> int:
        with self._transaction("DEFERRED") as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return int(row[0]) + 1 if row else 1

    def _set(self, column: str, conversation_id: int, value: object) -> None:
        known = "(SELECT id FROM folders WHERE id = ?)" if column == "folder_id" else "?"
        with self._transaction() as database:
            database.execute(f"UPDATE conversations SET {column} = {known} WHERE id = ?", (value, conversation_id))

    def _set_content(self, message_id: int, content: str) -> None:
        database = self._connection
        sql = f"SELECT {search_index.CONTENT} FROM messages WHERE id = ?"
        for (old,) in database.execute(sql, (message_id,)).fetchall():
            if (old_content := search_index.readable(old)) != content:
                search_index.unindex_message(database, message_id, old_content)
                search_index.index_message(database, message_id, content)
                database.execute("UPDATE messages SET content = ? WHERE id = ?", (stored(content), message_id))

    def _append(self, message_id: int, text: str, *, is_reasoning: bool) -> None:
        with self._transaction() as database:
            database.execute(
                "INSERT INTO streamed_text (message_id, position, text, is_reasoning)"
                " SELECT id, (SELECT coalesce(max(position), 0) + 1 FROM streamed_text WHERE message_id = :id), :text,"
                " :is_reasoning FROM messages WHERE id = :id AND state = 'streaming'",
                {"id": message_id, "text": stored(text), "is_reasoning": is_reasoning},
            )

    @contextmanager
    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with storage_errors(self._path):
            if self._connection.in_transaction:  # part of a batch
                yield self._connection
            else:
                with transaction(self._connection, kind) as database:
                    yield database

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, LookupError) as problem:  # msgspec's ValidationError and JSON's error are ValueErrors too
            raise error(FailureCode.DATABASE_BROKEN, path=self._path, reason=repr(problem)) from problem
