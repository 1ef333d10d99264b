"""Paragraphs, headings and list items on the page."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from desktop.ui.markdown.box import Box, Span, word_in
from desktop.ui.markdown.pieces import LIST_STEP, TextPiece, line_text
from desktop.ui.markdown.rich_text import RichText, paint_context
from desktop.ui.markdown.style import Style

_BOX = 13.0  # pixels of a task's box


class TextBox(Box):
    """One document for all lines; the marks of lists are drawn beside it."""

    piece: TextPiece

    def __init__(self, piece: TextPiece, style: Style) -> None:
        super().__init__(piece, style)
        self._rich = RichText(style)
        self._rich.fill(piece.lines)
        self._text = "\n".join(line_text(line) for line in piece.lines)
        self._marks: list[tuple[str, float, QRectF]] = []  # text, left edge of the line, its first row

    @property
    def length(self) -> int:
        return len(self._text)

    @property
    def has_missing(self) -> bool:
        """Whether a formula was not ready when this was made."""
        return self._rich.has_missing

    def lay_out(self, width: float) -> None:
        self.width = width
        document = self._rich.document
        document.setTextWidth(width)
        self.height = math.ceil(document.size().height())
        self._marks = []
        block = document.begin()
        for line in self.piece.lines:
            if line.marker:
                rect = document.documentLayout().blockBoundingRect(block)
                first = block.layout().lineAt(0)
                row = QRectF(0, rect.top() + first.y(), rect.width(), first.height())
                baseline = row.top() + first.ascent()
                self._marks.append((line.marker, line.left, QRectF(0, row.top(), 0, baseline - row.top())))
            block = block.next()

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        context = paint_context(self.style, self._rich.document, selected)
        context.clip = clip
        self._rich.document.documentLayout().draw(painter, context)
        for marker, left, row in self._marks:
            if row.bottom() >= clip.top() and row.top() <= clip.bottom():
                self._paint_mark(painter, marker, left, row.bottom())

    def position_at(self, x: float, y: float) -> int:
        return self._rich.document.documentLayout().hitTest(QPointF(x, y), Qt.HitTestAccuracy.FuzzyHit)

    def word_at(self, position: int) -> Span:
        return word_in(self._text, position)

    def link_at(self, x: float, y: float) -> str:
        return self._rich.document.documentLayout().anchorAt(QPointF(x, y))

    def _paint_mark(self, painter: QPainter, marker: str, left: float, baseline: float) -> None:
        colours, metrics = self.style.colours, self.style.metrics
        right = left - 9
        middle = baseline - metrics.xHeight() / 2
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if marker == "•":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.dim))
            painter.drawEllipse(QPointF(right - 3, middle), 2.3, 2.3)
        elif marker.startswith("["):
            box = QRectF(right - _BOX + 2, baseline - metrics.capHeight() / 2 - _BOX / 2, _BOX, _BOX)
            done = marker == "[x]"
            painter.setPen(QPen(QColor(colours.accent if done else colours.dim), 1.2))
            painter.setBrush(QColor(colours.accent) if done else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box, 3.5, 3.5)
            if done:
                painter.setPen(QPen(QColor(colours.on_accent), 1.6))
                points = ((3.2, 6.8), (5.6, 9.2), (9.8, 4.0))
                painter.drawPolyline([QPointF(box.left() + x, box.top() + y) for x, y in points])
        else:
            painter.setPen(QColor(colours.dim))
            painter.setFont(self.style.font)
            width = metrics.horizontalAdvance(marker)
            painter.drawText(QPointF(max(left - LIST_STEP, right - width + 2), baseline), marker)
