"""The memory as it is measured now, as a bar with its figures in words."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.domain.engine_memory import EngineMemory
from desktop.domain.memory_reading import MemoryReading
from desktop.ui.memory.content import Bar, card_segments, host_segments
from desktop.ui.memory.gauge import paint_bar
from desktop.ui.theme import palette_of

_HEIGHT = 26
_NOTHING = Bar("", 0, ())


class MeasuredBar(QWidget):
    """One card, or the machine's memory."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _NOTHING
        self.setFixedHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory in use, measured")

    @property
    def bar(self) -> Bar:
        """What is shown."""
        return self._bar

    def show_reading(self, reading: MemoryReading | None, card: int | None, engine: EngineMemory | None = None) -> None:
        """card: its number, None for the machine's memory. engine: what is loaded, where that is known."""
        bar = _NOTHING
        if reading is not None and card is None:
            bar = Bar("", reading.host.total, host_segments(reading.host, engine))
        elif reading is not None:
            found = next((one for one in reading.cards if one.index == card), None)
            bar = _NOTHING if found is None else Bar("", found.total_bytes, card_segments(found, engine))
        if bar != self._bar:
            self._bar = bar
            words = ", ".join(f"{part.label} {part.figure} GB" for part in bar.segments)
            self.setAccessibleDescription(words or "Not known")
            self.setToolTip(words)
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_bar(painter, QRectF(self.rect()), self._bar, palette_of(self))
        painter.end()
