"""Boxes that paint their own arrows and ticks: a style sheet could only take them from picture files."""

from __future__ import annotations

from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget

from desktop.ui.theme import SPACE, current_palette

_HALF = 3.5  # of an arrow's width, in pixels


class ChoiceBox(QComboBox):
    """One of several."""

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _paint_arrows(self, down_at=self.height() / 2)


class TickBox(QCheckBox):
    """Yes or no."""

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.isChecked():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(QColor(current_palette().on_accent), 1.8))
            middle = self.height() / 2
            painter.drawPolyline([QPointF(4, middle), QPointF(7, middle + 3), QPointF(12, middle - 3.5)])
            painter.end()


class NumberBox(QSpinBox):
    """A whole number."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lineEdit().setTextMargins(SPACE[1], 0, 0, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _paint_arrows(self, up_at=self.height() * 0.32, down_at=self.height() * 0.68)


class DecimalBox(QDoubleSpinBox):
    """A number with two digits after the point."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(2)
        self.lineEdit().setTextMargins(SPACE[1], 0, 0, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _paint_arrows(self, up_at=self.height() * 0.32, down_at=self.height() * 0.68)


def _paint_arrows(widget: QWidget, *, down_at: float, up_at: float | None = None) -> None:
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(current_palette().dim), 1.4))
    x = widget.width() - SPACE[2]
    for y, rise in ((down_at, 1.0), (up_at, -1.0)):
        if y is not None:
            tip, base = y + rise * _HALF / 2, y - rise * _HALF / 2
            painter.drawPolyline([QPointF(x - _HALF, base), QPointF(x, tip), QPointF(x + _HALF, base)])
    painter.end()
