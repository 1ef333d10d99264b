"""The full-text index of messages and titles in SQLite's FTS5, kept in step with what it indexes.

FTS5 finds rare words fast, but it has to gather every row of all words that begin with a prefix before it gives the
first. So each word is indexed with the number of its section, which holds SECTION messages, in front, and a search asks
section by section, the newest first, until it has enough: a common prefix is answered by the first section, and a rare
one costs each section a look. No index of prefixes is needed for it.

The table is contentless: it refers to the text in messages and conversations, so that nothing is stored twice. What is
taken out has to be given with the very text that was put in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from desktop.storage.search_text import Phrase, Query, words

SECTION = 8192
"""Messages."""

# Python does the folding and splitting (search_text); the tokenizer ascii splits at spaces and leaves the rest alone.
CREATE_INDEX = "CREATE VIRTUAL TABLE search USING fts5 (words, content='', columnsize=0, tokenize='ascii')"

CONTENT, TITLE = "CAST(messages.content AS BLOB)", "CAST(conversations.title AS BLOB)"
"""The columns to read for readable()."""

_TITLES = chr(0xEFFFF)
_FIRST_SECTION = 0xF0000  # private characters, which no word holds
_NEWEST = "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT 1"
_BATCH = 1000  # rows


class FoundMessage(NamedTuple):
    """A message that matches, with its whole text."""

    conversation_id: int
    id: int
    text: str


def index_message(database: sqlite3.Connection, message_id: int, text: str) -> None:
    """Make a message findable."""
    _put(database, message_id, _words(text, _section(message_id)))


def unindex_message(database: sqlite3.Connection, message_id: int, text: str) -> None:
    """Take a message out; text: the one it was indexed with."""
    _take(database, message_id, _words(text, _section(message_id)))


def index_title(database: sqlite3.Connection, conversation_id: int, title: str) -> None:
    """Make a title findable."""
    _put(database, -conversation_id, _words(title, _TITLES))


def unindex_title(database: sqlite3.Connection, conversation_id: int, title: str) -> None:
    """Take a title out; title: the one it was indexed with."""
    _take(database, -conversation_id, _words(title, _TITLES))


def unindex_conversation(database: sqlite3.Connection, conversation_id: int) -> None:
    """Take a conversation's title and messages out; to be called before they are deleted."""
    for (title,) in database.execute(f"SELECT {TITLE} FROM conversations WHERE id = ?", (conversation_id,)).fetchall():
        unindex_title(database, conversation_id, readable(title))
    # In batches that are read to their end: where damage ends this, an open query would keep rebuild() out.
    sql = f"SELECT id, {CONTENT} FROM messages WHERE conversation_id = ? AND id > ? ORDER BY id LIMIT ?"
    last = 0
    while batch := database.execute(sql, (conversation_id, last, _BATCH)).fetchall():
        for message_id, content in batch:
            unindex_message(database, message_id, readable(content))
        last = batch[-1][0]


def index_everything(database: sqlite3.Connection) -> None:
    """Index all messages and titles of a database whose index is empty."""
    insert = "INSERT INTO search (rowid, words) VALUES (?, ?)"
    for sql, section in (
        (f"SELECT -id, {TITLE} FROM conversations ORDER BY id DESC", lambda _: _TITLES),
        (f"SELECT id, {CONTENT} FROM messages ORDER BY id", _section),
    ):
        rows = database.execute(sql)
        while batch := rows.fetchmany(_BATCH):
            database.executemany(insert, _index_rows(batch, section))


def rebuild(database: sqlite3.Connection) -> None:
    """Make the index anew, whatever state it is in."""
    # SQLite cannot even drop the table where its first records are damaged, so it gets those of an empty one.
    database.execute("DELETE FROM search_data")
    database.execute("INSERT INTO search_data (id, block) VALUES (1, x''), (10, zeroblob(7))")
    database.execute("DROP TABLE search")
    database.execute(CREATE_INDEX)
    index_everything(database)


def _index_rows(batch: Iterable[tuple[int, bytes]], section: Callable[[int], str]) -> Iterable[tuple[int, str]]:
    for rowid, text in batch:
        if found := _words(readable(text), section(rowid)):
            yield rowid, found


def readable(text: bytes) -> str:
    """A stored text, the words of which are the same whether its lone surrogates are kept or, as here, replaced.

    Damage is replaced too: one damaged text must not keep the others from being found, changed or migrated.
    """
    return text.decode(errors="replace")


def find_messages(
    database: sqlite3.Connection, query: Query, limit: int, before: int | None, check: Callable[[], None]
) -> list[FoundMessage]:
    """At most limit messages older than the message `before` that match, newest first; check is called now and then."""
    if before is None:
        (newest,) = database.execute("SELECT max(id) FROM messages").fetchone()
        before = (newest or 0) + 1
    found: list[Any] = []
    key = _key(query)
    for number in range((before - 1) // SECTION, -1, -1):
        check()
        section = chr(_FIRST_SECTION + number)
        newest = before - 1
        if key is not None:
            row = database.execute(_NEWEST, (_match((key,), section), before)).fetchone()
            if row is None:
                continue
            newest = row[0]
        # CROSS JOIN: the index first, the rest for what it finds.
        found += database.execute(
            f"SELECT messages.conversation_id, messages.id, {CONTENT} FROM search"
            " CROSS JOIN messages ON messages.id = search.rowid"
            " CROSS JOIN conversations ON conversations.id = messages.conversation_id"
            " WHERE search MATCH ? AND search.rowid <= ? AND conversations.deleted_at IS NULL"
            " ORDER BY search.rowid DESC LIMIT ?",
            (_match(query.phrases, section), newest, limit - len(found)),
        ).fetchall()
        if len(found) >= limit:
            break
    return [FoundMessage(conversation_id, id_, readable(content)) for conversation_id, id_, content in found]


def find_titles(database: sqlite3.Connection, query: Query, limit: int) -> list[tuple[int, str]]:
    """The ids and titles of at most limit conversations whose titles match, the newest first."""
    rows = database.execute(
        f"SELECT conversations.id, {TITLE} FROM search"
        " CROSS JOIN conversations ON conversations.id = -search.rowid"
        " WHERE search MATCH ? AND conversations.deleted_at IS NULL ORDER BY search.rowid LIMIT ?",
        (_match(query.phrases, _TITLES), limit),
    ).fetchall()
    return [(id_, readable(title)) for id_, title in rows]


def _key(query: Query) -> Phrase | None:
    """What of a query is likely the rarest, and cheap to look for: most sections then need no more than that look.

    FTS5 gathers all that begins with a prefix even where the other words are not. None: the query is no more than that.
    """
    longest = max(query.phrases, key=lambda phrase: sum(map(len, phrase.words)))
    pairs = [longest.words[i : i + 2] for i in range(len(longest.words) - 1)]
    if len(pairs) < 2:
        return longest if len(query.phrases) > 1 else None
    at = max(range(len(pairs)), key=lambda i: sum(map(len, pairs[i])))
    return Phrase(pairs[at], open_end=longest.open_end and at == len(pairs) - 1)


def _section(message_id: int) -> str:
    return chr(_FIRST_SECTION + message_id // SECTION)


def _words(text: str, section: str) -> str:
    return " ".join([section + word for word in words(text)])


def _match(phrases: Iterable[Phrase], section: str) -> str:
    # Words hold letters and digits only, so nothing in them is FTS5's syntax.
    terms = (
        '"' + " ".join(section + word for word in phrase.words) + '"' + ("*" if phrase.open_end else "")
        for phrase in phrases
    )
    return " AND ".join(terms)


def _put(database: sqlite3.Connection, rowid: int, found: str) -> None:
    if found:
        database.execute("INSERT INTO search (rowid, words) VALUES (?, ?)", (rowid, found))


def _take(database: sqlite3.Connection, rowid: int, found: str) -> None:
    if found:
        database.execute("INSERT INTO search (search, rowid, words) VALUES ('delete', ?, ?)", (rowid, found))
