"""The tables of the conversation database, as steps from one version to the next. A step is never changed."""

from __future__ import annotations

from desktop.storage.database import Migration
from desktop.storage.search_index import CREATE_INDEX, index_everything

# AUTOINCREMENT: a late save for a deleted message must never find a new message under its number.
# messages: the pair (conversation_id, id) lets a parent or a leaf of another conversation be refused; parents have no
# ON DELETE CASCADE, because SQLite cascades at most 1,000 levels deep and a chat may be longer.
# streamed_text holds only what running replies, and replies that a crash cut, have not yet in messages.content.
_VERSION_1: Migration = (
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
)

# A title of version 1 may be the user's own words, so none of them may be replaced by a proposal.
# The new columns of a message are NULL where it has no such thing, which most have not: that reads fast.
_VERSION_2: Migration = (
    "CREATE TABLE folders (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)",
    "ALTER TABLE conversations ADD COLUMN title_chosen INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE conversations ADD COLUMN folder_id INTEGER REFERENCES folders (id) ON DELETE SET NULL",
    "ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversations ADD COLUMN settings TEXT",
    "ALTER TABLE conversations ADD COLUMN deleted_at REAL",
    "ALTER TABLE messages ADD COLUMN reasoning TEXT",
    "ALTER TABLE messages ADD COLUMN tool_calls TEXT",
    "ALTER TABLE messages ADD COLUMN tool_call_id TEXT",
    "ALTER TABLE messages ADD COLUMN tool_failed INTEGER",
    "ALTER TABLE messages ADD COLUMN attachments TEXT",
    "CREATE INDEX messages_with_attachments ON messages (id) WHERE attachments IS NOT NULL",
    "ALTER TABLE streamed_text ADD COLUMN is_reasoning INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE attachments (id TEXT PRIMARY KEY, data BLOB NOT NULL)",
    CREATE_INDEX,
    index_everything,
)

# What is written in the composer and not sent yet. NULL: of the chat that is not begun.
_VERSION_3: Migration = (
    """
    CREATE TABLE drafts (
        conversation_id INTEGER UNIQUE REFERENCES conversations (id) ON DELETE CASCADE,
        text TEXT NOT NULL
    )
    """,
)

MIGRATIONS: tuple[Migration, ...] = (_VERSION_1, _VERSION_2, _VERSION_3)
