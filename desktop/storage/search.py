"""Searches messages and titles: what is found, with the piece of text to show."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast

from desktop.domain.errors import TurbodeskError
from desktop.storage import search_index
from desktop.storage.cancelling import Cancelled
from desktop.storage.search_text import excerpt, parse_query

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound=Any)

_TITLE_LENGTH = 1000  # characters


class SearchHit(NamedTuple):
    """A message that matches. highlights: (start, end) in snippet, in characters (not in Qt's UTF-16 units)."""

    conversation_id: int
    message_id: int
    snippet: str
    highlights: tuple[tuple[int, int], ...]


class TitleHit(NamedTuple):
    """A conversation whose title matches; highlights as in SearchHit."""

    conversation_id: int
    title: str
    highlights: tuple[tuple[int, int], ...]


class Search:
    """Searches over one connection.

    Several words mean all of them, each may be the beginning of a longer one; "words in quotes" mean this phrase; case
    and accents make no difference; no other character is special.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._interrupted = threading.Event()

    def messages(self, text: str, limit: int, before: int | None) -> list[SearchHit]:
        """The newest messages first, none from the trash; before: only older ones than this message."""
        self._interrupted.clear()
        query = parse_query(text)
        if query is None:
            return []
        try:
            found = search_index.find_messages(self._connection, query, limit, before, self._check)
        except sqlite3.OperationalError as problem:
            if getattr(problem, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                raise Cancelled from problem
            raise
        hits = []
        for message in found:
            self._check()
            hits.append(SearchHit(message.conversation_id, message.id, *excerpt(message.text, query)))
        return hits

    def titles(self, text: str, limit: int) -> list[TitleHit]:
        """The newest conversations first, none from the trash."""
        query = parse_query(text)
        if query is None:
            return []
        found = search_index.find_titles(self._connection, query, limit)
        return [TitleHit(id_, *excerpt(title, query, length=_TITLE_LENGTH, lead=_TITLE_LENGTH)) for id_, title in found]

    def interrupt(self) -> None:
        """Have the search that runs now raise Cancelled; from any thread."""
        self._interrupted.set()
        self._connection.interrupt()

    def _check(self) -> None:
        if self._interrupted.is_set():
            raise Cancelled


def healing(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """For a store's method: when it meets damage in the full-text index, make that anew from the texts and try again.

    The index is only a copy, so damage to it must not keep a message from being saved.
    """

    @functools.wraps(method)
    def tried_again(store: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(store, *args, **kwargs)
        except TurbodeskError as problem:
            code = getattr(problem.__cause__, "sqlite_errorcode", None)
            if code != sqlite3.SQLITE_CORRUPT_VTAB or store.is_in_batch:
                raise
        store.rebuild_index()
        return method(store, *args, **kwargs)

    return cast("Callable[Concatenate[_S, _P], _R]", tried_again)
