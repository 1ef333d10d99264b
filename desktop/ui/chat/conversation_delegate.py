"""Draws a row of the conversation list: the title, and a second line that says when or how fast."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QCursor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyledItemDelegate, QStyleOptionViewItem

from desktop.ui.chat.conversation_list_model import Role
from desktop.ui.theme import RADIUS, SPACE, TYPE, current_palette

_DRAWN = 200  # characters of a title that are looked at


class ConversationDelegate(QStyledItemDelegate):
    """All rows are equally high, so that a list of thousands needs no measuring."""

    def __init__(self, view: QListView) -> None:
        super().__init__(view)
        self._list = view

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        title, detail = QFontMetrics(option.font), QFontMetrics(_small(option.font))
        return QSize(120, title.height() + detail.height() + 2 * SPACE[1] + SPACE[0])

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        colours = current_palette()
        # Asked of the list and not of option.state: QStyle alone costs a start 10 ms.
        here = self._list.viewport().mapFromGlobal(QCursor.pos())
        hovered = self._list.underMouse() and self._list.indexAt(here).row() == index.row()
        selected = self._list.currentIndex().row() == index.row()
        box = QRectF(option.rect).adjusted(0.5, 1.5, -0.5, -1.5)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        if selected or hovered:
            painter.setBrush(QColor(colours.accent_soft if selected else colours.panel))
            painter.drawRoundedRect(box, RADIUS, RADIUS)
        if selected and self._list.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(colours.accent), 1))
            painter.drawRoundedRect(box, RADIUS, RADIUS)
        inside = box.adjusted(SPACE[1] + 2, SPACE[1] - 1, -SPACE[1], -SPACE[1] + 1)
        font = QFont(option.font)
        font.setBold(selected)
        # Lines stand on fixed heights: a font of another script must not move them.
        ascent = QFontMetrics(font).ascent()
        self._line(painter, inside, inside.top() + ascent, font, colours.text, str(index.data(Role.TITLE))[:_DRAWN])
        small = _small(option.font)
        colour = colours.accent if index.data(Role.GENERATING) else colours.dim
        descent = QFontMetrics(small).descent()
        self._line(painter, inside, inside.bottom() - descent, small, colour, str(index.data(Role.DETAIL)))
        painter.restore()

    def _line(self, painter: QPainter, box: QRectF, y: float, font: QFont, colour: str, words: str) -> None:
        painter.setFont(font)
        painter.setPen(QColor(colour))
        words = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, int(box.width()))
        painter.drawText(QPointF(box.left(), y), words)


def _small(font: QFont) -> QFont:
    small = QFont(font)
    small.setPointSizeF(TYPE.small)
    small.setFeature(QFont.Tag("tnum"), 1)
    return small
