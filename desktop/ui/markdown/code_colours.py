"""Which part of a code has which colour, by Pygments: roughly while it is written, exactly and in slices after."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]

Span = tuple[int, int, str]  # column, length, kind: a key of Style.code

COLOUR_LIMIT = 150_000  # characters of a code; what is beyond has no colours
LINE_LIMIT = 1_000  # characters of a line that is worth colours
CONTEXT = 12  # lines before the new ones that are read with them
_MAKING = threading.Lock()


class CodeColours:
    """The spans of one code's lines."""

    def __init__(self, language: str) -> None:
        self._language = language[:40].lower()
        self._lines: dict[int, list[Span]] = {}
        self._exact: Iterator[tuple[int, Any, str]] | None = None
        self._line = self._column = 0
        self._fresh: list[Span] = []

    def spans(self, line: int) -> list[Span]:
        """The spans of a line, counted from 0."""
        return self._lines.get(line, [])

    def read_roughly(self, lines: list[str], number: int, first: int) -> None:
        """Colour the lines from first on: read from the last empty line before them, as if the code started there.

        lines: the code's last ones; number: of the first of them.
        """
        lexer = lexer_of(self._language)
        if lexer is None:
            return
        start = first
        while start > number and first - start < CONTEXT and lines[start - number - 1].strip():
            start -= 1
        piece = lines[start - number :]
        if any(len(line) > LINE_LIMIT for line in piece):
            return
        line, column = start, 0
        for _, token, text in lexer.get_tokens_unprocessed("\n".join(piece)):
            kind = _kind(token)
            for index, part in enumerate(text.split("\n")):
                if index:
                    line, column = line + 1, 0
                    if line >= first:
                        self._lines[line] = []
                if part and kind and line >= first:
                    self._lines.setdefault(line, []).append((column, len(part), kind))
                column += len(part)

    def start_exactly(self, code: str) -> None:
        """Read the whole code; go_on() does the work."""
        lexer = lexer_of(self._language)
        self._line = self._column = 0
        self._fresh = []
        text = code[:COLOUR_LIMIT]
        long = len(text) > LINE_LIMIT and max(map(len, text.split("\n"))) > LINE_LIMIT
        self._exact = None if lexer is None or long else lexer.get_tokens_unprocessed(text)

    def go_on(self, seconds: float) -> bool:
        """Read for about this long. False when there is no more to do."""
        if self._exact is None:
            return False
        until = time.perf_counter() + seconds
        for _, token, text in self._exact:
            kind = _kind(token)
            for index, part in enumerate(text.split("\n")):
                if index:
                    self._lines[self._line] = self._fresh
                    self._fresh = []
                    self._line, self._column = self._line + 1, 0
                if part and kind:
                    self._fresh.append((self._column, len(part), kind))
                self._column += len(part)
            if time.perf_counter() > until:
                return True
        self._lines[self._line] = self._fresh
        self._exact = None
        return False


@lru_cache(maxsize=32)
def lexer_of(language: str) -> Lexer | None:
    """Pygments' for a language, by any of its names; None for plain text and for what it does not know."""
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    if not language or language in ("text", "plain", "txt"):
        return None
    try:
        with _MAKING:  # a class of lexers works out its rules with its first one, and not for two threads at once
            return get_lexer_by_name(language)
    except ClassNotFound:
        return None


@lru_cache(maxsize=512)
def _kind(token: Any) -> str:
    from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String  # type: ignore[import-untyped]

    for kind, types in (
        ("c", (Comment,)),
        ("k", (Keyword, Operator.Word)),
        ("s", (String, Generic.Inserted)),
        ("m", (Number, Name.Constant, Keyword.Constant)),
        ("e", (Generic.Deleted,)),
        ("n", (Name.Function, Name.Class, Name.Builtin, Name.Decorator, Name.Tag, Name.Namespace, Generic.Heading)),
    ):
        if any(token in each for each in types):
            return kind
    return ""
