"""A thin scroll bar under a box that is wider than its room, and the small buttons of a header."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QScrollBar, QWidget

from desktop.ui.theme import TYPE, current_palette, font_of

BAR = 10  # pixels


class SideScroll:
    """The bar, made only when it is needed, and where it stands."""

    def __init__(self) -> None:
        self.offset = 0
        self.maximum = 0
        self._bar: QScrollBar | None = None
        self._body: QWidget | None = None

    def set_range(self, content: float, room: float) -> None:
        """How wide the content is and how much of it is seen, in pixels."""
        self.maximum = max(0, round(content - room))
        self.offset = min(self.offset, self.maximum)
        if self._bar is not None:
            self._bar.setPageStep(max(1, round(room)))
            self._bar.setMaximum(self.maximum)

    def show_on(self, body: QWidget, x: float, y: float, width: float) -> None:
        """Put the bar with its left top corner at (x, y), if there is something to scroll."""
        if not self.maximum:
            self.drop()
            return
        if self._bar is None:
            self._body = body
            self._bar = QScrollBar(Qt.Orientation.Horizontal, body)
            self._bar.setCursor(Qt.CursorShape.ArrowCursor)
            self._bar.setAccessibleName("Scroll sideways")
            self._bar.setSingleStep(24)
            self._bar.setPageStep(max(1, round(width)))
            self._bar.setMaximum(self.maximum)
            self._bar.setValue(self.offset)
            self._bar.valueChanged.connect(self._on_moved)
            self._bar.show()
        self._bar.setGeometry(round(x), round(y), round(width), BAR)

    def drop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.hide()
            self._bar.deleteLater()
            self._bar = None

    def move(self, pixels: float) -> bool:
        """Scroll by this much; False when there is nothing to scroll."""
        if not self.maximum:
            return False
        self.offset = max(0, min(self.maximum, round(self.offset + pixels)))
        if self._bar is not None:
            self._bar.setValue(self.offset)
        return True

    def _on_moved(self, value: int) -> None:
        self.offset = value
        if self._body is not None:
            self._body.update()


class HeaderButton(QAbstractButton):
    """Words that can be clicked, quiet until the mouse is over them."""

    def __init__(self, words: str, name: str, parent: QWidget) -> None:
        """name: what a screen reader says."""
        super().__init__(parent)
        self.setText(words)
        self.setAccessibleName(name)
        self.setToolTip(name)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFont(font_of(parent, TYPE.small))

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance(self.text()) + 16, metrics.height() + 6)

    def paintEvent(self, event: QPaintEvent) -> None:
        colours = current_palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        over = self.underMouse()
        if over or self.isChecked():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent_soft))
            painter.drawRoundedRect(QRectF(self.rect()), 5, 5)
        if self.hasFocus():
            painter.setPen(QColor(colours.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
        painter.setPen(QColor(colours.text if over else colours.accent if self.isChecked() else colours.dim))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())
        painter.end()
