"""Draws a row of the conversation list: a heading, a folder, or a conversation with a line on when or how fast."""

from __future__ import annotations

import re

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QCursor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyledItemDelegate, QStyleOptionViewItem

from desktop.ui.chat.conversation_list_model import Kind, Role
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import RADIUS, SPACE, TYPE, current_palette

_ICON = 16
_NUMBER = re.compile(r" \([0-9]{1,4}\)$")
_DRAWN = 200  # characters of a title that are looked at


class ConversationDelegate(QStyledItemDelegate):
    """All rows are equally high, so that a list of thousands needs no measuring."""

    def __init__(self, view: QListView) -> None:
        super().__init__(view)
        self._list = view
        self._icons = {name: icon(name, Tint.PlaceholderText) for name in ("fold", "right", "pin")}

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        title, detail = QFontMetrics(option.font), QFontMetrics(_small(option.font))
        return QSize(120, title.height() + detail.height() + 2 * SPACE[1] + SPACE[0])

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        kind = index.data(Role.KIND)
        if kind == Kind.HEADING:
            self._heading(painter, option, str(index.data(Role.TITLE)))
            return
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
        if kind == Kind.FOLDER:
            self._folder(painter, inside, is_open=bool(index.data(Role.OPEN)))
            inside.setLeft(inside.left() + _ICON + SPACE[1])
        elif index.data(Role.PINNED):
            place = QRect(int(inside.right()) - _ICON + 4, int(inside.top()), _ICON, _ICON)
            self._icons["pin"].paint(painter, place)
            inside.setRight(inside.right() - _ICON)
        elif index.data(Role.INSIDE):
            inside.setLeft(inside.left() + SPACE[2])
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

    def _heading(self, painter: QPainter, option: QStyleOptionViewItem, words: str) -> None:
        box = QRectF(option.rect).adjusted(SPACE[1] + 2, 0, -SPACE[1], -SPACE[1])
        painter.save()
        painter.setPen(QPen(QColor(current_palette().line), 1))
        above = box.top() + SPACE[1] + 0.5
        painter.drawLine(QPointF(box.left(), above), QPointF(box.right(), above))
        self._line(painter, box, box.bottom(), _small(option.font), current_palette().dim, words)
        painter.restore()

    def _folder(self, painter: QPainter, inside: QRectF, *, is_open: bool) -> None:
        name = "fold" if is_open else "right"
        place = QRect(int(inside.left()), int(inside.center().y()) - _ICON // 2, _ICON, _ICON)
        self._icons[name].paint(painter, place)

    def _line(self, painter: QPainter, box: QRectF, y: float, font: QFont, colour: str, words: str) -> None:
        painter.setFont(font)
        painter.setPen(QColor(colour))
        painter.drawText(QPointF(box.left(), y), fitted(words, QFontMetrics(font), int(box.width())))


def fitted(words: str, metrics: QFontMetrics, width: int) -> str:
    """As much as fits, and always the number at the end, which tells a copy from its original."""
    number = _NUMBER.search(words)
    end = number[0] if number is not None else ""
    room = width - metrics.horizontalAdvance(end)
    return metrics.elidedText(words.removesuffix(end), Qt.TextElideMode.ElideRight, room) + end


def _small(font: QFont) -> QFont:
    small = QFont(font)
    small.setPointSizeF(TYPE.small)
    small.setFeature(QFont.Tag("tnum"), 1)
    return small
