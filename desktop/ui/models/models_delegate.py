"""Draws a row of the models list: its name, its verdict where there is room, and what it is or what is wrong."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QListView, QStyledItemDelegate, QStyleOptionViewItem

from desktop.domain.evaluation import Grade
from desktop.ui.models.models_list_model import Role
from desktop.ui.theme import RADIUS, SPACE, TYPE, current_palette
from desktop.ui.words import grade_tone

_DOT = 4.0  # radius of what marks the loaded model, in pixels


class ModelsDelegate(QStyledItemDelegate):
    """All rows are equally high."""

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
        selected = self._list.currentIndex().row() == index.row()
        box = QRectF(option.rect).adjusted(0.5, 1.5, -0.5, -1.5)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours.accent), 1) if selected and self._list.hasFocus() else Qt.PenStyle.NoPen)
        if selected:
            painter.setBrush(QColor(colours.accent_soft))
            painter.drawRoundedRect(box, RADIUS, RADIUS)
        inside = box.adjusted(SPACE[1] + 2, SPACE[1] - 1, -SPACE[1], -SPACE[1] + 1)
        font = QFont(option.font)
        font.setBold(selected)
        ascent = QFontMetrics(font).ascent()
        if index.data(Role.LOADED):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.ok))
            painter.drawEllipse(QPointF(inside.right() - _DOT, inside.top() + ascent / 2 + 2), _DOT, _DOT)
            inside.setRight(inside.right() - 4 * _DOT)
        broken = bool(index.data(Role.BROKEN))
        name_colour = colours.dim if broken else colours.text
        small, title = _small(option.font), str(index.data(Role.TITLE))
        if (grade := index.data(Role.GRADE)) is not None:
            room = inside.width() - QFontMetrics(font).horizontalAdvance(title) - SPACE[1]
            width = QFontMetrics(small).horizontalAdvance(grade)
            if width <= room:
                place = inside.adjusted(inside.width() - width - 1, 0, 1, 0)
                _line(painter, place, inside.top() + ascent, small, getattr(colours, grade_tone(Grade(grade))), grade)
        _line(painter, inside, inside.top() + ascent, font, name_colour, title)
        colour = colours.danger if broken else colours.dim
        detail = str(index.data(Role.DETAIL))
        _line(painter, inside, inside.bottom() - QFontMetrics(small).descent(), small, colour, detail)
        painter.restore()


def _line(painter: QPainter, box: QRectF, y: float, font: QFont, colour: str, words: str) -> None:
    painter.setFont(font)
    painter.setPen(QColor(colour))
    words = QFontMetrics(font).elidedText(words[:300], Qt.TextElideMode.ElideRight, int(box.width()))
    painter.drawText(QPointF(box.left(), y), words)


def _small(font: QFont) -> QFont:
    small = QFont(font)
    small.setPointSizeF(TYPE.small)
    small.setFeature(QFont.Tag("tnum"), 1)
    return small
