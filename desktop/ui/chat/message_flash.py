"""Lights up the place of a message for a moment, so that the eye finds what was jumped to."""

from __future__ import annotations

from PySide6.QtCore import QAbstractAnimation, QRect, Qt, QVariantAnimation, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from desktop.ui.theme import RADIUS, SPACE, current_palette

_MILLISECONDS = 1_100
_STAYS = 0.5  # of that time at full strength


class MessageFlash(QWidget):
    """A frame around one message, whose text has a background of its own. message_id: None when nothing is lit."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.message_id: int | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._fade = QVariantAnimation(self)
        self._fade.setStartValue(1.0)
        self._fade.setKeyValueAt(_STAYS, 1.0)
        self._fade.setEndValue(0.0)
        self._fade.setDuration(_MILLISECONDS)
        self._fade.valueChanged.connect(self._on_value_changed)
        self._fade.finished.connect(self._on_finished)
        self.hide()

    def light(self, message_id: int) -> None:
        """Begin anew, for this message."""
        self._fade.stop()
        self.message_id = message_id
        self._fade.start()
        self.show()

    def put_out(self) -> None:
        """End now."""
        self._fade.stop()
        self._on_finished()

    def surround(self, place: QRect) -> None:
        """Stand behind what takes this place in the parent."""
        self.setGeometry(place.adjusted(-SPACE[2], -SPACE[1], SPACE[2], SPACE[1]))
        self.lower()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._fade.state() is not QAbstractAnimation.State.Running:
            return
        colours = current_palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(self._fade.currentValue())
        painter.setPen(QPen(QColor(colours.accent), 1.5))
        painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), RADIUS, RADIUS)

    @Slot(object)
    def _on_value_changed(self, _value: object) -> None:
        self.update()

    @Slot()
    def _on_finished(self) -> None:
        self.message_id = None
        self.hide()
