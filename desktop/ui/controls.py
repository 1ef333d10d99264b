"""Widgets that paint themselves: boxes, whose arrows a style sheet could only take from files, and a short line."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QSize, Qt, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QValidator, QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QSpinBox, QWidget

from desktop.ui.theme import SPACE, TYPE, current_palette, font_of

_FEWEST = 8  # characters of a line that is cut
_HALF = 3.5  # of an arrow's width, in pixels


class ChoiceBox(QComboBox):
    """One of several."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        _scroll_past(self, event, super().wheelEvent)

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


class ElidedLabel(QLabel):
    """A dim line of plain text that ends with dots where it has no room; its tooltip has all of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("dim", True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setFont(font_of(self, TYPE.small))

    def show_words(self, words: str) -> None:
        """Show this line instead."""
        self.setText(words)
        self.setToolTip(words)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        words = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        if words == self.text() or len(words) >= _FEWEST:  # a letter and dots say nothing
            painter = QPainter(self)
            painter.setPen(self.palette().color(self.foregroundRole()))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
            painter.end()


def plain_label(
    parent: QWidget, text: str = "", *, size: float = TYPE.body, bold: bool = False, dim: bool = False
) -> QLabel:
    """Words that are shown as they are, over several lines where need be."""
    label = QLabel(text, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setFont(font_of(label, size, bold=bold))
    label.setProperty("dim", dim)
    return label


def say(label: QLabel, words: str) -> None:
    """Show these words, or no label at all where there are none."""
    if label.text() != words:
        label.setText(words)
    label.setVisible(bool(words))


def set_tone(label: QLabel, tone: str) -> None:
    """Write in one of the theme's colours, "ok", "danger" or "text", also after the theme has changed."""
    if label.property("tone") != tone:
        label.setProperty("tone", tone)
        label.style().unpolish(label)
        label.style().polish(label)


class NumberBox(QSpinBox):
    """A whole number."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._things = ""
        self.lineEdit().setTextMargins(SPACE[1], 0, 0, 0)
        self.valueChanged.connect(self._on_value_changed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: QWheelEvent) -> None:
        _scroll_past(self, event, super().wheelEvent)

    def setSuffix(self, things: str) -> None:
        """things: what is counted, in the plural; of one of them only one is said."""
        self._things = things
        self._on_value_changed(self.value())

    def setValue(self, value: int) -> None:
        super().setValue(value)
        self._on_value_changed(self.value())  # also while signals are blocked

    @Slot(int)
    def _on_value_changed(self, value: int) -> None:
        super().setSuffix(self._things.removesuffix("s") if value == 1 else self._things)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _paint_arrows(self, up_at=self.height() * 0.32, down_at=self.height() * 0.68)


class DecimalBox(QDoubleSpinBox):
    """A number with two digits after the point, which may be typed as a comma."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(2)
        self.lineEdit().setTextMargins(SPACE[1], 0, 0, 0)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        return super().validate(self._with_point(text), position)

    def valueFromText(self, text: str) -> float:
        return super().valueFromText(self._with_point(text))

    def _with_point(self, text: str) -> str:
        point = self.locale().decimalPoint()
        return text.replace("." if point == "," else ",", point)

    def wheelEvent(self, event: QWheelEvent) -> None:
        _scroll_past(self, event, super().wheelEvent)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        _paint_arrows(self, up_at=self.height() * 0.32, down_at=self.height() * 0.68)


def _scroll_past(box: QWidget, event: QWheelEvent, change: Callable[[QWheelEvent], None]) -> None:
    """Only a box that the user has gone to is changed by the wheel: the others just pass by while a page scrolls."""
    if box.hasFocus():
        change(event)
    else:
        event.ignore()


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
