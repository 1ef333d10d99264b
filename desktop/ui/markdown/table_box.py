"""A table with thin lines. Columns share the width; what is wider scrolls sideways. Only cells in sight have text."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from desktop.ui.markdown.box import Box, Span, word_in
from desktop.ui.markdown.markdown_source import cell_spans
from desktop.ui.markdown.pieces import BOLD, CODE, Line, Runs, TablePiece, line_text
from desktop.ui.markdown.rich_text import RichText, paint_context
from desktop.ui.markdown.side_scroll import BAR, SideScroll
from desktop.ui.markdown.style import Style
from desktop.ui.theme import RADIUS

_PAD_X, _PAD_Y = 10.0, 6.0
_NARROWEST, _WIDEST = 72.0, 420.0  # a column's content before it is wrapped, and as far as it stretches
_CACHED = 300


class TableBox(Box):
    """Character positions count through the cells, one more after each."""

    piece: TablePiece

    def __init__(self, piece: TablePiece, style: Style) -> None:
        super().__init__(piece, style)
        self._scroll = SideScroll()
        self._columns: list[float] = []
        self._missing = False
        self._kept_rows = 0  # that an update left as they were
        self._advances: dict[tuple[Runs, bool], float] = {}
        self._heights: dict[tuple[Runs, bool, int], float] = {}
        self._cached: dict[tuple[int, int], RichText] = {}
        self._measure()

    @property
    def length(self) -> int:
        return self._spans[-1][3] if self._spans else 1

    def can_become(self, piece: object) -> bool:
        return (
            isinstance(piece, TablePiece)
            and piece.place == self.piece.place
            and piece.aligns == self.piece.aligns
            and len(piece.rows) >= len(self.piece.rows)
            and piece.rows[: len(self.piece.rows) - 1] == self.piece.rows[:-1]
        )

    def update(self, piece: TablePiece) -> None:  # type: ignore[override]
        """Take the rows that were added or went on."""
        last = len(self.piece.rows) - 1
        self._cached = {at: cell for at, cell in self._cached.items() if at[0] < last}
        self._kept_rows = last
        self.piece = piece
        self._measure()

    def lay_out(self, width: float) -> None:
        self.width = width
        before = self._columns
        self._columns = self._share(width)
        same_rows = self._kept_rows if self._columns == before else 0
        if self._columns != before:
            self._cached.clear()
        self._lefts = [0.0]
        for column in self._columns:
            self._lefts.append(self._lefts[-1] + column)
        self._tops = [0.0]
        for row, cells in enumerate(self.piece.rows):
            height = max((self._height(runs, row == 0, self._columns[i]) for i, runs in enumerate(cells)), default=0.0)
            self._tops.append(self._tops[-1] + math.ceil(height + 2 * _PAD_Y))
        self.changed_from = self._tops[same_rows]
        self._kept_rows = 0
        self._scroll.set_range(self._lefts[-1] + 1, width)
        self.height = self._tops[-1] + 1 + (BAR + 2 if self._scroll.maximum else 0)

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        colours = self.style.colours
        seen = min(self.width, self._lefts[-1] + 1)
        offset = self._scroll.offset
        bottom = self._tops[-1]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(0.5, 0.5, seen - 1, bottom)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.panel))
        painter.setClipRect(QRectF(0, 0, seen, self._tops[1]), Qt.ClipOperation.IntersectClip)
        painter.drawRoundedRect(frame, RADIUS, RADIUS)
        painter.restore()
        painter.save()
        painter.setClipRect(QRectF(1, 0, seen - 2, bottom + 1), Qt.ClipOperation.IntersectClip)
        painter.translate(-offset, 0)
        first = max(0, bisect_right(self._tops, clip.top()) - 1)
        last = min(len(self.piece.rows), bisect_left(self._tops, clip.bottom()))
        left, right = bisect_right(self._lefts, offset) - 1, bisect_left(self._lefts, offset + seen)
        for row in range(first, last):
            for column in range(left, min(right, len(self._columns))):
                self._paint_cell(painter, row, column, selected)
            if row:
                painter.fillRect(QRectF(0, self._tops[row], self._lefts[-1], 1), QColor(colours.line))
        painter.restore()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours.line), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(frame, RADIUS, RADIUS)
        painter.restore()

    def position_at(self, x: float, y: float) -> int:
        row = max(0, min(len(self.piece.rows) - 1, bisect_right(self._tops, y) - 1))
        x += self._scroll.offset
        column = max(0, min(len(self._columns) - 1, bisect_right(self._lefts, x) - 1))
        _, _, start, end = self._spans[row * len(self._columns) + column]
        document = self._cell(row, column).document
        at = QPointF(x - self._lefts[column] - _PAD_X, y - self._tops[row] - _PAD_Y)
        return min(end, start + document.documentLayout().hitTest(at, Qt.HitTestAccuracy.FuzzyHit))

    def word_at(self, position: int) -> Span:
        index = max(0, bisect_right(self._starts, position) - 1)
        row, column, start, _ = self._spans[index]
        first, last = word_in(line_text(Line(self.piece.rows[row][column])), position - start)
        return start + first, start + last

    def link_at(self, x: float, y: float) -> str:
        x += self._scroll.offset
        row, column = bisect_right(self._tops, y) - 1, bisect_right(self._lefts, x) - 1
        if not (0 <= row < len(self.piece.rows) and 0 <= column < len(self._columns)):
            return ""
        at = QPointF(x - self._lefts[column] - _PAD_X, y - self._tops[row] - _PAD_Y)
        return self._cell(row, column).document.documentLayout().anchorAt(at)

    def show_controls(self, body: QWidget, x: float, y: float) -> None:
        self._scroll.show_on(body, x, y + self.height - BAR, self.width)

    def drop_controls(self) -> None:
        self._scroll.drop()
        self._cached.clear()

    def scroll_sideways(self, pixels: float) -> bool:
        return self._scroll.move(pixels)

    @property
    def has_missing(self) -> bool:
        """Whether a formula was not ready when its cell was made."""
        return self._missing

    def _measure(self) -> None:
        self._spans = cell_spans(self.piece)
        self._starts = [span[2] for span in self._spans]
        self._natural = [0.0] * len(self.piece.aligns)
        for row, cells in enumerate(self.piece.rows):
            for column, runs in enumerate(cells):
                self._natural[column] = max(self._natural[column], self._advance(runs, row == 0))

    def _advance(self, runs: Runs, heading: bool) -> float:
        """About how wide the content is on one line; long content is not measured to its end."""
        key = (runs, heading)
        known = self._advances.get(key)
        if known is None:
            known = 2.0
            for run in runs:
                style = self.style
                metrics = style.bold_metrics if heading or run.style & BOLD else style.metrics
                if run.style & CODE or run.formula:
                    metrics = style.code_metrics
                known += metrics.horizontalAdvance(run.text[:200]) + 1
            self._advances[key] = known
        return known

    def _share(self, width: float) -> list[float]:
        """The columns' widths: as wide as they like, the widest ones less when there is not room for all."""
        wanted = [min(_WIDEST, max(24.0, natural)) + 2 * _PAD_X for natural in self._natural]
        room = width - 1
        if sum(wanted) <= room:
            return [float(math.ceil(each)) for each in wanted]
        least = [min(each, _NARROWEST + 2 * _PAD_X) for each in wanted]
        if sum(least) >= room:
            return [float(math.ceil(min(each, 2 * _NARROWEST))) for each in wanted]
        low, high = 0.0, max(wanted)
        for _ in range(20):
            middle = (low + high) / 2
            if sum(max(narrow, min(w, middle)) for w, narrow in zip(wanted, least, strict=True)) > room:
                high = middle
            else:
                low = middle
        return [float(math.floor(max(narrow, min(w, low)))) for w, narrow in zip(wanted, least, strict=True)]

    def _height(self, runs: Runs, heading: bool, width: float) -> float:
        if self._advance(runs, heading) <= width - 2 * _PAD_X and not any(r.formula or "\n" in r.text for r in runs):
            return self.style.metrics.height()
        key = (runs, heading, round(width))
        known = self._heights.get(key)
        if known is None:
            rich = self._made(runs, heading, width, "")
            known = rich.document.size().height()
            if not rich.has_missing:
                self._heights[key] = known
        return known

    def _made(self, runs: Runs, heading: bool, width: float, align: str) -> RichText:
        rich = RichText(self.style, bold=heading, alignment=align)
        rich.fill((Line(runs),), spaced=False)
        rich.document.setTextWidth(width - 2 * _PAD_X)
        self._missing |= rich.has_missing
        return rich

    def _cell(self, row: int, column: int) -> RichText:
        rich = self._cached.get((row, column))
        if rich is None:
            if len(self._cached) >= _CACHED:
                self._cached.clear()
            runs = self.piece.rows[row][column]
            rich = self._made(runs, row == 0, self._columns[column], self.piece.aligns[column])
            self._cached[(row, column)] = rich
        return rich

    def _paint_cell(self, painter: QPainter, row: int, column: int, selected: Span | None) -> None:
        part = None
        _, _, start, end = self._spans[row * len(self._columns) + column]
        if selected is not None and selected[0] < end and selected[1] > start:
            part = (max(0, selected[0] - start), min(end, selected[1]) - start)
        document = self._cell(row, column).document
        painter.save()
        painter.translate(self._lefts[column] + _PAD_X, self._tops[row] + _PAD_Y)
        document.documentLayout().draw(painter, paint_context(self.style, document, part))
        painter.restore()
