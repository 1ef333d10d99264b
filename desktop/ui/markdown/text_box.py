"""Paragraphs, headings and list items on the page."""

from __future__ import annotations

import math
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from desktop.ui.markdown.box import Box, Span, word_in
from desktop.ui.markdown.pieces import LIST_STEP, TextPiece, line_text
from desktop.ui.markdown.rich_text import RichText, is_right_to_left, paint_context
from desktop.ui.markdown.style import Style

_BOX = 13.0  # pixels of a task's box


class _Mark(NamedTuple):
    """The mark of a list's item. edge: where its line starts; mirrored: that is on the right; top: of its row."""

    text: str
    edge: float
    mirrored: bool
    top: float
    baseline: float


class TextBox(Box):
    """One document for all lines; the marks of lists are drawn beside it."""

    piece: TextPiece

    def __init__(self, piece: TextPiece, style: Style) -> None:
        super().__init__(piece, style)
        self._rich = RichText(style)
        self._rich.fill(piece.lines)
        self._text = "\n".join(line_text(line) for line in piece.lines)
        self._marks: list[_Mark] = []

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
                top = rect.top() + first.y()
                mirrored = is_right_to_left(block)
                edge = width - line.left if mirrored else line.left
                self._marks.append(_Mark(line.marker, edge, mirrored, top, top + first.ascent()))
            block = block.next()

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        context = paint_context(self.style, self._rich.document, selected)
        context.clip = clip
        self._rich.document.documentLayout().draw(painter, context)
        for mark in self._marks:
            if mark.baseline >= clip.top() and mark.top <= clip.bottom():
                self._paint_mark(painter, mark)

    def position_at(self, x: float, y: float) -> int:
        return self._rich.document.documentLayout().hitTest(QPointF(x, y), Qt.HitTestAccuracy.FuzzyHit)

    def word_at(self, position: int) -> Span:
        return word_in(self._text, position)

    def link_at(self, x: float, y: float) -> str:
        return self._rich.document.documentLayout().anchorAt(QPointF(x, y))

    def _paint_mark(self, painter: QPainter, mark: _Mark) -> None:
        colours, metrics = self.style.colours, self.style.metrics
        side = 1 if mark.mirrored else -1
        near = mark.edge + 9 * side
        middle = mark.baseline - metrics.xHeight() / 2
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if mark.text == "•":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.dim))
            painter.drawEllipse(QPointF(near + 3 * side, middle), 2.3, 2.3)
        elif mark.text.startswith("["):
            left = near - 2 if mark.mirrored else near - _BOX + 2
            box = QRectF(left, mark.baseline - metrics.capHeight() / 2 - _BOX / 2, _BOX, _BOX)
            done = mark.text == "[x]"
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
            width = metrics.horizontalAdvance(mark.text)
            if mark.mirrored:
                left = min(mark.edge + LIST_STEP - width, near - 2)
            else:
                left = max(mark.edge - LIST_STEP, near - width + 2)
            painter.drawText(QPointF(left, mark.baseline), mark.text)
