"""The line between what the model does not read any more and what it does."""

from __future__ import annotations

from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QLabel, QWidget

from desktop.ui.theme import SPACE, TYPE, current_palette, font_of


class ContextLine(QLabel):
    """A label, which a screen reader comes across where it stands, in the middle of a thin line."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Left out of the context above this line", parent)
        self.setProperty("dim", True)
        self.setFont(font_of(self, TYPE.small))
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setPen(QPen(QColor(current_palette().dim), 1))
        room = (self.width() - self.fontMetrics().horizontalAdvance(self.text())) / 2 - SPACE[1]
        if room > 0:
            y = self.height() // 2 + 0.5
            painter.drawLine(QLineF(QPointF(0, y), QPointF(room, y)))
            painter.drawLine(QLineF(QPointF(self.width() - room, y), QPointF(self.width(), y)))
        painter.end()
