"""A row of bars, one a figure: lengths of text, errors of layers, divergence along a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.ui.theme import RADIUS, SPACE, TYPE, font_of, palette_of

_HEIGHT = 120


class BarFigure(NamedTuple):
    """value: not negative. words: all that is to be said of it. strong: drawn in the colour of danger."""

    value: float
    words: str
    strong: bool = False


class Bars(QWidget):
    """More figures than pixels: each column shows the largest of those that fall into it.

    Signals:
        pointed_at: the words of the bar under the mouse, or chosen with the arrow keys; "" for none.
        chosen: the number of a bar that was clicked, or on which Enter was pressed.
    """

    pointed_at = Signal(str)
    chosen = Signal(int)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._figures: tuple[BarFigure, ...] = ()
        self._left, self._right = "", ""
        self._at = -1
        self.setAccessibleName(name)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def current(self) -> int:
        """The number of the bar that is pointed at, -1 for none."""
        return self._at

    def show_figures(self, figures: Sequence[BarFigure], left: str = "", right: str = "") -> None:
        """Show these; left, right: words below the ends."""
        self._figures = tuple(figures)
        self._left, self._right = left, right
        self._point_at(-1)
        largest = max(self._figures, key=lambda figure: figure.value, default=None)
        words = f"{len(self._figures)} bars, the largest: {largest.words}" if largest is not None else "Nothing yet"
        self.setAccessibleDescription(words)
        self.update()

    def select(self, number: int) -> None:
        """Point at this bar."""
        self._point_at(number if 0 <= number < len(self._figures) else -1)

    def sizeHint(self) -> QSize:
        return QSize(480, _HEIGHT)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point_at(self._largest_at(event.position().x()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus()
        number = self._largest_at(event.position().x())
        if number >= 0:
            self.chosen.emit(number)

    def leaveEvent(self, event: QEvent) -> None:
        if not self.hasFocus():
            self._point_at(-1)
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        last = len(self._figures) - 1
        moves = {
            Qt.Key.Key_Left: max(0, self._at - 1),
            Qt.Key.Key_Right: min(last, self._at + 1),
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        if event.key() in moves and self._figures:
            self._point_at(moves[Qt.Key(event.key())])
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._at >= 0:
            self.chosen.emit(self._at)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.update()
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.update()
        super().focusOutEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setFont(font_of(self, TYPE.small))
        metrics = painter.fontMetrics()
        area = QRectF(0.5, 0.5, self.width() - 1, self.height() - metrics.height() - SPACE[0] - 1)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.panel))
        painter.drawRoundedRect(area, RADIUS, RADIUS)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        most = max((figure.value for figure in self._figures), default=0.0) or 1.0
        columns = min(len(self._figures), max(1, int(area.width()) - 2 * SPACE[0]))
        width = (area.width() - 2 * SPACE[0]) / columns if columns else 0.0
        gap = 1.0 if width >= 4 else 0.0
        for column in range(columns):
            number = self._largest_in(column, columns)
            figure = self._figures[number]
            height = max(1.0, figure.value / most * (area.height() - 2 * SPACE[0]))
            left = area.left() + SPACE[0] + column * width
            colour = colours.danger if figure.strong else colours.accent
            painter.fillRect(
                QRectF(left, area.bottom() - SPACE[0] - height, max(1.0, width - gap), height), QColor(colour)
            )
            if self._at >= 0 and self._column_of(self._at, columns) == column:
                painter.setPen(QPen(QColor(colours.text), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(QRectF(left - 1, area.top() + 1, max(2.0, width - gap + 1), area.height() - SPACE[0]))
        painter.setPen(QColor(colours.dim))
        baseline = self.height() - metrics.descent()
        painter.drawText(0, baseline, self._left)
        painter.drawText(self.width() - metrics.horizontalAdvance(self._right), baseline, self._right)
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(colours.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(area.adjusted(1, 1, -1, -1), RADIUS, RADIUS)
        painter.end()

    def _largest_at(self, x: float) -> int:
        columns = min(len(self._figures), max(1, self.width() - 2 * SPACE[0]))
        if not columns:
            return -1
        share = (x - SPACE[0]) / max(1, self.width() - 2 * SPACE[0])
        return self._largest_in(min(max(int(share * columns), 0), columns - 1), columns)

    def _largest_in(self, column: int, columns: int) -> int:
        first = column * len(self._figures) // columns
        last = max(first + 1, (column + 1) * len(self._figures) // columns)
        return max(range(first, last), key=lambda number: self._figures[number].value)

    def _column_of(self, number: int, columns: int) -> int:
        return min(number * columns // len(self._figures), columns - 1)

    def _point_at(self, number: int) -> None:
        if number != self._at:
            self._at = number
            words = self._figures[number].words if number >= 0 else ""
            if words:
                self.setAccessibleDescription(words)
            self.pointed_at.emit(words)
            self.update()
