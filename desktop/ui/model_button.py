"""The button in the header's middle: how the model is, what it is called, what runs it."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.theme import RADIUS, SPACE, font_of, palette_of
from desktop.ui.words import engine_explanation, engine_line, model_name

_HEIGHT = 32
_DOT = 8
_CHEVRON = 8
_WIDEST = 560


class ModelButton(QPushButton):
    """Paints itself, because a button's text has one style only. setMenu() gives it its menu."""

    def __init__(self, demo_path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._demo_path = demo_path
        self._state = EngineState.UNLOADED
        self._name = ""
        self._detail = ""
        self._bold = font_of(self, self.font().pointSizeF(), bold=True)
        self._regular = font_of(self, self.font().pointSizeF())
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)
        self.set_status(EngineStatus())

    def set_status(self, status: EngineStatus) -> None:
        """Show this status."""
        self._state = status.state
        self._name = model_name(status, self._demo_path) or "No model"
        self._detail = engine_line(status)
        self.setAccessibleName(f"Model: {self._name}, {self._detail}")
        self.setToolTip(engine_explanation(status, self._demo_path))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        name = QFontMetrics(self._bold).horizontalAdvance(self._name)
        detail = QFontMetrics(self._regular).horizontalAdvance(self._detail)
        width = 2 * SPACE[2] + _DOT + SPACE[1] + name + SPACE[1] + detail + SPACE[2] + _CHEVRON + SPACE[0]
        return QSize(min(width, _WIDEST), _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, _HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(QColor(colours.accent if self.hasFocus() else colours.line), 1))
        painter.setBrush(QColor(colours.accent_soft if self.underMouse() or self.isDown() else colours.field))
        painter.drawRoundedRect(box, RADIUS, RADIUS)
        dots = {
            EngineState.LOADING: colours.workspace,
            EngineState.STOPPING: colours.workspace,
            EngineState.READY: colours.ok,
            EngineState.FAILED: colours.danger,
        }
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(dots.get(self._state, colours.other)))
        middle = self.height() / 2
        painter.drawEllipse(QPointF(SPACE[2] + _DOT / 2, middle), _DOT / 2, _DOT / 2)
        left = SPACE[2] + _DOT + SPACE[1]
        room = self.width() - left - SPACE[2] - _CHEVRON - SPACE[2]
        left += self._text(painter, left, room, self._name, bold=True, colour=colours.text) + SPACE[1]
        room = self.width() - left - SPACE[2] - _CHEVRON - SPACE[1]
        self._text(painter, left, room, self._detail, bold=False, colour=colours.dim)
        painter.setPen(QPen(QColor(colours.dim), 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        right = self.width() - SPACE[2]
        painter.drawPolyline(
            [
                QPointF(right - _CHEVRON, middle - 2),
                QPointF(right - _CHEVRON / 2, middle + 2),
                QPointF(right, middle - 2),
            ]
        )
        painter.end()

    def _text(self, painter: QPainter, left: int, room: int, words: str, *, bold: bool, colour: str) -> int:
        """Draw words, cut to the room; returns how wide they are."""
        font = self._bold if bold else self._regular
        metrics = QFontMetrics(font)
        words = metrics.elidedText(words[:300], Qt.TextElideMode.ElideRight, max(room, 0))
        painter.setFont(font)
        painter.setPen(QColor(colour))
        painter.drawText(QRectF(left, 0, max(room, 0), self.height()), Qt.AlignmentFlag.AlignVCenter, words)
        return metrics.horizontalAdvance(words)
