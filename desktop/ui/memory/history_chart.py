"""The last ten minutes of one card, or of the machine's memory, as areas; the moment under the mouse in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.domain.memory_reading import CardReading, MemoryReading
from desktop.ui.format import format_bytes
from desktop.ui.memory.content import card_segments, host_segments
from desktop.ui.theme import RADIUS, SPACE, TYPE, Palette, font_of, palette_of

SECONDS = 600.0
_HEIGHT = 132
_KEY_SECONDS = 5.0
_GRID_MINUTES = 2


class Moment(NamedTuple):
    """time: seconds of time.monotonic(). others, job, engine, total: bytes. job_name, sensors: in words."""

    time: float
    others: int
    job: int
    job_name: str
    engine: int
    total: int
    sensors: str

    def words(self, now: float) -> str:
        """All that was measured then, as a line."""
        minutes, seconds = divmod(round(now - self.time), 60)
        when = f"{minutes} min {seconds} s ago" if minutes else f"{seconds} s ago" if seconds else "now"
        parts = [f"{when}: other programs {format_bytes(self.others)}"]
        if self.job:
            parts.append(f"{self.job_name} {format_bytes(self.job)}")
        if self.engine:
            parts.append(f"engine {format_bytes(self.engine)}")
        parts.append(f"free {format_bytes(max(0, self.total - self.others - self.job - self.engine))}")
        return " · ".join(filter(None, (*parts, self.sensors)))


def moments_of(readings: Sequence[MemoryReading], uuid: str | None) -> list[Moment]:
    """uuid: of a card, None for the machine's memory. Readings that do not tell its memory are left out."""
    found = []
    for reading in readings:
        if uuid is None:
            segments, total, sensors = host_segments(reading.host), reading.host.total, ""
        else:
            card = next((one for one in reading.cards if one.uuid == uuid), None)
            if card is None:
                continue
            segments, total, sensors = card_segments(card), card.total_bytes, sensor_words(card)
        if total:
            sizes = {part.role: part.bytes for part in segments}
            job = next((part.label for part in segments if part.role == "job"), "")
            others, held, engine = (sizes.get(role, 0) for role in ("other", "job", "weights"))
            found.append(Moment(reading.monotonic_time, others, held, job, engine, total, sensors))
    return found


def sensor_words(card: CardReading) -> str:
    """How busy, how warm and how hungry the card is, as far as it measures that."""
    parts = (
        "" if card.utilisation is None else f"{card.utilisation} % busy",
        "" if card.temperature is None else f"{card.temperature} °C",
        "" if card.power_watts is None else f"{card.power_watts:.0f} W",
    )
    return " · ".join(filter(None, parts))


class HistoryChart(QWidget):
    """Signals:
    moment_changed: the words for the moment under the mouse, or chosen with the arrow keys; else for the newest.
    """

    moment_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory of the last ten minutes")
        self._moments: list[Moment] = []
        self._now = 0.0
        self._at: float | None = None  # seconds ago; None: now

    @property
    def moment(self) -> Moment | None:
        """The one that is pointed at, else the newest; None where nothing was measured then."""
        if not self._moments:
            return None
        then = self._now - (self._at or 0.0)
        return next((moment for moment in reversed(self._moments) if moment.time <= then), None)

    def show_moments(self, moments: list[Moment], now: float) -> None:
        """Show these instead, the oldest first; now: what the right edge stands for."""
        self._moments, self._now = moments, now
        self._say()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(480, _HEIGHT)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point_at((1 - event.position().x() / max(self.width(), 1)) * SECONDS)

    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: _KEY_SECONDS, Qt.Key.Key_Right: -_KEY_SECONDS}
        if event.key() in steps:
            self._point_at((self._at or 0.0) + steps[Qt.Key(event.key())])
        elif event.key() == Qt.Key.Key_Home:
            self._point_at(self._now - self._moments[0].time if self._moments else None)
        elif event.key() == Qt.Key.Key_End:
            self._point_at(None)
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
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = font_of(self, TYPE.small)
        painter.setFont(font)
        labels = painter.fontMetrics().height() + SPACE[0]
        area = QRectF(0.5, 0.5, self.width() - 1, self.height() - labels - 1)
        track = QPainterPath()
        track.addRoundedRect(area, RADIUS, RADIUS)
        painter.fillPath(track, QColor(colours.free))
        painter.setClipPath(track)
        if self._moments:
            painter.setPen(Qt.PenStyle.NoPen)
            layers = (  # the highest first: what is below it is painted over it
                (colours.weights, [moment.others + moment.job + moment.engine for moment in self._moments]),
                (colours.job, [moment.others + moment.job for moment in self._moments]),
                (colours.other, [moment.others for moment in self._moments]),
            )
            for colour, heights in layers:
                line = [(one.time, height, one.total) for one, height in zip(self._moments, heights, strict=True)]
                painter.setBrush(QColor(colour))
                painter.drawPolygon(self._below(line, area))
        self._paint_grid(painter, area, colours)
        if self._at is not None:
            x = area.right() - self._at * area.width() / SECONDS
            painter.setPen(QPen(QColor(colours.text), 1))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setClipping(False)
        painter.setPen(QColor(colours.dim))
        baseline = self.height() - painter.fontMetrics().descent()
        painter.drawText(QPointF(0, baseline), "10 min ago")
        painter.drawText(QPointF(self.width() - painter.fontMetrics().horizontalAdvance("now"), baseline), "now")
        if self.hasFocus():
            painter.setPen(QPen(QColor(colours.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(track)
        painter.end()

    def _paint_grid(self, painter: QPainter, area: QRectF, colours: Palette) -> None:
        painter.setPen(QPen(QColor(colours.background), 1, Qt.PenStyle.DotLine))
        for minutes in range(_GRID_MINUTES, 10, _GRID_MINUTES):
            x = area.right() - minutes * 60 * area.width() / SECONDS
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))

    def _below(self, line: list[tuple[float, int, int]], area: QRectF) -> QPolygonF:
        """The area below steps of (time, bytes, of so many)."""
        points: list[QPointF] = []
        y = area.bottom()
        for time, amount, total in line:
            x = max(area.right() - (self._now - time) * area.width() / SECONDS, area.left())
            points.append(QPointF(x, y))
            y = area.bottom() - min(amount / total, 1.0) * area.height()
            points.append(QPointF(x, y))
        points += [QPointF(area.right(), y), QPointF(area.right(), area.bottom())]
        return QPolygonF(points)

    def _point_at(self, ago: float | None) -> None:
        at = None if ago is None else min(max(ago, 0.0), SECONDS)
        if at != self._at:
            self._at = at
            self._say()
            self.update()

    def _say(self) -> None:
        moment = self.moment
        words = "Nothing was measured then." if moment is None else moment.words(self._now)
        self.setAccessibleDescription(words)
        self.moment_changed.emit(words)
