"""Which part of a code stands in which row.

A long code is cut into parts, and a part's rows are made when one of them is asked for. Until then the part counts as
many rows as its lines and characters let expect, which is wrong only where long lines are.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from PySide6.QtGui import QFontMetricsF

from desktop.ui.markdown.text import for_document

PART = 16_000  # characters, if a line ends before; a multiple of ROW_LIMIT
ROW_LIMIT = 1_000  # characters; a longer line goes on in the next row
TAB = 4  # columns
_NARROWEST = 8  # columns of wrapped code


class Row(NamedTuple):
    """start, end: offsets into the code, without the line end. line: counted from 0. column: where start is in it."""

    start: int
    end: int
    line: int
    column: int


class _Part:
    """From start to end, without the line end there. first: index of its first row. rows: empty until they are made."""

    __slots__ = ("column", "count", "end", "first", "line", "rows", "start")

    def __init__(self, start: int, end: int, line: int, column: int) -> None:
        self.start, self.end, self.line, self.column = start, end, line, column
        self.first = self.count = 0
        self.rows: list[Row] = []


class CodeRows:
    """The rows of one code in a font of one width. widest: of those that were made, in pixels."""

    def __init__(self, metrics: QFontMetricsF) -> None:
        self.widest = 0.0
        self._metrics = metrics
        self._column = metrics.horizontalAdvance("0")
        self._limit = ROW_LIMIT
        self._wraps = False
        self._code = ""
        self._parts: list[_Part] = []
        self._cut(0, 0, 0)

    @property
    def count(self) -> int:
        """How many rows there are; an estimate until all are made."""
        return self._parts[-1].first + self._parts[-1].count

    @property
    def lines(self) -> int:
        """How many lines there are."""
        last = self._parts[-1]
        return last.line + self._code.count("\n", last.start) + 1

    def set_code(self, code: str) -> int:
        """Take this code, which starts with the one before. The index of the first row that is another one now."""
        self._code, last = code, self._parts[-1]
        if last.rows and len(code) - last.start <= PART:
            start = last.rows.pop()
            while last.rows and last.rows[-1].line == start.line:
                start = last.rows.pop()
            changed = last.first + len(last.rows)
            last.end = len(code)
            self._add_rows(last.rows, start.start, start.line, start.column, last.end)
            last.count = len(last.rows)
            return changed
        self._parts.pop()
        at = len(self._parts)
        self._cut(last.start, last.line, last.column)
        if last.rows and len(self._parts) == at + 2:  # it grows in sight
            self._make(at)
            self._make(at + 1)
        return last.first

    def wrap(self, width: float) -> None:
        """Break lines at this width in pixels; 0: only those longer than ROW_LIMIT."""
        self._wraps = width > 0
        self._limit = max(_NARROWEST, int(width // self._column)) if self._wraps else ROW_LIMIT
        self._parts = []
        self.widest = 0.0
        self._cut(0, 0, 0)

    def row(self, index: int) -> Row:
        """A row, made if need be; then count may be another one. The last one for an index beyond it."""
        while True:
            at = max(0, bisect_right(self._parts, index, key=_first_of) - 1)
            part = self._parts[at]
            if part.rows:
                return part.rows[min(index - part.first, len(part.rows) - 1)]
            self._make(at)

    def advance(self, text: str) -> float:
        """The width of a part of a line, in pixels."""
        if text.isascii():
            return len(text.expandtabs(TAB)) * self._column
        return self._metrics.horizontalAdvance(for_document(text.expandtabs(TAB)))

    def _cut(self, start: int, line: int, column: int) -> None:
        """Add the parts from this place of the code on."""
        code = self._code
        while len(code) - start > PART:
            end = code.rfind("\n", start, start + PART + 1)
            if end < 0:
                end = start + PART
                self._add_part(_Part(start, end, line, column))
                start, column = end, column + PART
            else:
                self._add_part(_Part(start, end, line, column))
                line, column = line + code.count("\n", start, end) + 1, 0
                start = end + 1
        self._add_part(_Part(start, len(code), line, column))
        if len(self._parts) == 1:
            self._make(0)

    def _add_part(self, part: _Part) -> None:
        lines = self._code.count("\n", part.start, part.end) + 1
        part.count = max(lines, math.ceil((part.end - part.start) / self._limit))
        part.first = self.count if self._parts else 0
        self._parts.append(part)

    def _make(self, at: int) -> None:
        part = self._parts[at]
        self._add_rows(part.rows, part.start, part.line, part.column, part.end)
        if part.count != len(part.rows):
            part.count = len(part.rows)
            first = part.first
            for each in self._parts[at:]:
                each.first = first
                first += each.count

    def _add_rows(self, rows: list[Row], start: int, line: int, column: int, end: int) -> None:
        for text in self._code[start:end].split("\n"):
            self._add_line(rows, text, start, line, column)
            start += len(text) + 1
            line, column = line + 1, 0

    def _add_line(self, rows: list[Row], text: str, start: int, line: int, column: int) -> None:
        if len(text) <= self._limit and text.isascii() and "\t" not in text:
            rows.append(Row(start, start + len(text), line, column))
            self.widest = max(self.widest, len(text) * self._column)
            return
        at = 0
        while True:
            end = self._row_end(text, at)
            rows.append(Row(start + at, start + end, line, column + at))
            self.widest = max(self.widest, self.advance(text[at:end]))
            at = end
            if at >= len(text):
                return

    def _row_end(self, text: str, at: int) -> int:
        end = min(len(text), at + self._limit)
        if not self._wraps:
            return end
        room = self._limit * self._column
        while end > at + 1 and self.advance(text[at:end]) > room + 0.5:
            end = at + max(1, (end - at) * 7 // 8)
        if end < len(text) and (space := text.rfind(" ", at + (end - at) // 2, end)) > at:
            end = space + 1
        return end


def _first_of(part: _Part) -> int:
    return part.first
