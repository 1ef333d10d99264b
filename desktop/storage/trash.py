"""Deletes for good what has been in the trash for long enough, and what only that needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from desktop.storage.search_index import unindex_conversation

KEPT_SECONDS = 30 * 24 * 3600.0  # in the trash


def purge(database: sqlite3.Connection, before: float, kept_attachments: Collection[str]) -> int:
    """Delete the conversations that were put into the trash before this time, and attachments without a message.

    Part of the caller's transaction. ValueError when a row of a message with attachments is damaged.
    """
    gone = database.execute("SELECT id FROM conversations WHERE deleted_at < ?", (before,)).fetchall()
    for (conversation_id,) in gone:
        unindex_conversation(database, conversation_id)
        database.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))
    unused = {id_ for (id_,) in database.execute("SELECT id FROM attachments")}.difference(kept_attachments)
    if unused:
        for (attachments,) in database.execute("SELECT attachments FROM messages WHERE attachments IS NOT NULL"):
            unused.difference_update(attachment["id"] for attachment in json.loads(attachments))
        database.executemany("DELETE FROM attachments WHERE id = ?", ((id_,) for id_ in unused))
    return len(gone)
