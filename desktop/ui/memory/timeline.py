"""A short line of how full the memory was, newest at the right edge."""

from __future__ import annotations

import math
from collections import deque

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from desktop.ui.theme import palette_of

WINDOW_SECONDS = 600.0
# Finer than the pixels of its height, so that noise too small to see costs no painting.
STEPS = 200
PEAK_SECONDS = 2.0  # about a pixel


class Timeline(QWidget):
    """Keeps the moments at which the value changed, for the last ten minutes, and paints them as steps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        # Else every step of the line would paint the whole gauge beneath it too.
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._changes: deque[tuple[float, int]] = deque()
        self._now = 0.0
        self._painted_at = -math.inf

    def add(self, time: float, fraction: float) -> None:
        """The value (0 to 1) from time (seconds, ascending) on. Within PEAK_SECONDS only the peak is kept."""
        value = round(min(max(fraction, 0.0), 1.0) * STEPS)
        self._now = time
        changes = self._changes
        if not changes or (changes[-1][1] != value and time - changes[-1][0] >= PEAK_SECONDS):
            changes.append((time, value))
        elif value > changes[-1][1]:
            changes[-1] = (changes[-1][0], value)
        while len(changes) > 1 and changes[1][0] <= time - WINDOW_SECONDS:
            changes.popleft()
        # Long lines are dear to paint, and nothing new can be seen before the newest value is a pixel wide.
        moves = len(changes) > 1 or changes[0][0] > time - WINDOW_SECONDS
        if moves and (time - self._painted_at) * self.width() >= WINDOW_SECONDS:
            self.update()

    def clear(self) -> None:
        """Forget everything: what follows measures something else."""
        self._changes.clear()
        self._painted_at = -math.inf
        self.update()

    def values(self) -> list[tuple[float, float]]:
        """The changes that are kept: time, and the fraction from then on."""
        return [(time, value / STEPS) for time, value in self._changes]

    def words_at(self, x: int) -> str:
        """What was there at a pixel: "3 min 20 s ago: 71 % in use"."""
        if not self._changes:
            return "Nothing was measured yet"
        ago = (1 - min(max(x / max(self.width(), 1), 0.0), 1.0)) * WINDOW_SECONDS
        then = self._now - ago
        if then < self._changes[0][0]:
            return "Not measured then"
        value = next(value for time, value in reversed(self._changes) if time <= then)
        minutes, seconds = divmod(round(ago), 60)
        when = f"{minutes} min {seconds} s ago" if minutes else f"{seconds} s ago" if seconds else "Now"
        return f"{when}: {value * 100 / STEPS:.0f} % in use"

    def paintEvent(self, _event: QPaintEvent) -> None:
        self._painted_at = self._now if self._changes else -math.inf
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)  # not fillRect, as in the gauge
        painter.setBrush(QColor(colours.panel))
        painter.drawRect(self.rect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect())
        painter.setBrush(QColor(colours.free))
        painter.drawRoundedRect(area, 4, 4)
        if not self._changes:
            return
        box = QPainterPath()
        box.addRoundedRect(area, 4, 4)
        painter.setClipPath(box)
        line = self._line(area.adjusted(0, 3, 0, -3))
        below = QPolygonF(line)
        below.append(QPointF(line[-1].x(), area.bottom()))
        below.append(QPointF(line[0].x(), area.bottom()))
        shade = QColor(colours.accent)
        shade.setAlphaF(0.16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.drawPolygon(below)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours.accent), 1.5))
        painter.drawPolyline(QPolygonF(line))

    def _line(self, area: QRectF) -> list[QPointF]:
        points: list[QPointF] = []
        y = 0.0
        for time, value in self._changes:
            x = max(area.right() - (self._now - time) * area.width() / WINDOW_SECONDS, area.left())
            if points:
                points.append(QPointF(x, y))
            y = area.bottom() - value * area.height() / STEPS
            points.append(QPointF(x, y))
        points.append(QPointF(area.right(), y))
        return points
