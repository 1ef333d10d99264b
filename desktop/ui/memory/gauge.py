"""The strip at the bottom of the window that shows where the memory is, as it is now."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from desktop.domain.memory_reading import MemoryReading
from desktop.ui.format import gigabytes
from desktop.ui.memory.content import LOADING, Bar, GaugeContent, content_of, share_used, tooltip_of
from desktop.ui.memory.timeline import Timeline
from desktop.ui.theme import RADIUS, SPACE, TYPE, Palette, font_of, palette_of

if TYPE_CHECKING:
    from desktop.domain.engine_memory import EngineMemory

BAR_HEIGHT, THIN_BAR_HEIGHT = 18, 12
BARS_PER_COLUMN = 4
TIMELINE_HEIGHT = 40
LEAST_LEFT_WIDTH = 160
NARROW, TOO_NARROW_FOR_TIMELINE = 900, 480
SPOKEN_SECONDS = 3.0
LEAST_SECONDS = 0.24  # between two contents
SPOKEN_CHANGE = 0.05
ALL_EIGHTS = str.maketrans("0123456789", "8" * 10)
SHORT_LABELS = {
    "other programs": "other",
    "this engine": "engine",
    "quantization": "job",
    "comparison": "job",
    "KV cache in use": "KV used",
    "KV cache, not in use": "KV",
    "KV cache": "KV",
    "libraries and cache": "libraries",
}


class MemoryGauge(QWidget):
    """Name and figures at the left, a bar per card in the middle, the last ten minutes at the right.

    What is measured is solid; a dashed outline is where the engine was forecast to be.

    Signals:
        details_requested: a click, or Enter while it has the focus.
    """

    details_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory gauge")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._timeline = Timeline(self)
        self._reading: MemoryReading | None = None
        self._engine: EngineMemory | None = None
        self._built_at = -math.inf
        self._content = LOADING
        self._picture = LOADING.picture_key(1)
        self._spoken_at = -math.inf
        self._spoken = LOADING
        self.setAccessibleDescription(LOADING.spoken)
        self._measure()

    @property
    def content(self) -> GaugeContent:
        """What is shown."""
        return self._content

    @property
    def timeline(self) -> Timeline:
        """The last ten minutes."""
        return self._timeline

    @property
    def engine(self) -> EngineMemory | None:
        """What is loaded or loading, where that is known."""
        return self._engine

    @Slot(object)
    def show_engine(self, engine: EngineMemory | None) -> None:
        """Tell the parts of the engine's memory apart by this; None: show it as one."""
        before, self._engine = self._content, engine
        if self._reading is not None:
            self._content = content_of(self._reading, engine)
            self._repaint_if_different(before)
            self._speak(self._reading.monotonic_time)

    @Slot(object)
    def show_reading(self, reading: MemoryReading) -> None:
        """Show a reading; paints only what looks different from the one before."""
        before = self._content
        # Nobody reads figures faster than this; the line keeps every sample all the same.
        due = reading.monotonic_time - self._built_at >= LEAST_SECONDS or _tells_of_others(reading, self._reading)
        if due and not _same_memory(reading, self._reading):
            self._content = content_of(reading, self._engine)
            self._reading, self._built_at = reading, reading.monotonic_time
        if self._content.source != before.source:
            self._timeline.clear()
        if self._content.total:
            self._timeline.add(reading.monotonic_time, share_used(reading))
        if self._content is not before:
            self._repaint_if_different(before)
        self._speak(reading.monotonic_time)

    def sizeHint(self) -> QSize:
        return QSize(1024, self._height())

    def minimumSizeHint(self) -> QSize:
        return QSize(320, self._height())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and self._reading is not None:
            # Names of programs are anybody's text, so they are escaped rather than left for Qt to guess at.
            moment = self._timeline.words_at(event.pos().x() - self._timeline.x())
            over_timeline = self._timeline.isVisible() and self._timeline.geometry().contains(event.pos())
            text = escape(moment if over_timeline else tooltip_of(self._reading, self._engine))
            QToolTip.showText(event.globalPos(), f'<p style="white-space: pre">{text}</p>', self)
            return True
        return super().event(event)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.ApplicationFontChange, QEvent.Type.StyleChange):
            self._measure()
            self.updateGeometry()
            self._place_timeline()
        self.update()
        super().changeEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_timeline()
        super().resizeEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.details_requested.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.details_requested.emit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.update()
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.update()
        super().focusOutEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)  # not fillRect: its first call makes an enum of 180 gradients
        for colour, height in ((colours.panel, self.height()), (colours.line, 1)):
            painter.setBrush(QColor(colour))
            painter.drawRect(0, 0, self.width(), height)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._bars_area()
        if event.rect().left() < area.left():
            self._paint_words(painter, colours)
        if area.width() > 0:
            self._paint_bars(painter, area, colours)
            if event.rect().bottom() > area.bottom():
                self._paint_legend(painter, area, colours)
        if self.hasFocus():
            painter.setPen(QPen(QColor(colours.accent), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(2, 3, -2, -2), RADIUS, RADIUS)

    def _repaint_if_different(self, before: GaugeContent) -> None:
        picture = self._content.picture_key(max(self.width(), 1))
        if picture == self._picture:
            return
        before_picture, self._picture = self._picture, picture
        if len(self._content.bars) != len(before.bars):
            self.updateGeometry()
        if picture.words != before_picture.words:
            self.update()
        elif picture.legend != before_picture.legend:
            area = self._bars_area()
            self.update(area.left(), 0, area.width(), self.height())
        else:
            self.update(self._bars_area())

    # What goes where

    def _measure(self) -> None:
        """Fonts and their metrics, once per change of font and not once per painting."""
        self._title_font = font_of(self, TYPE.body, bold=True)
        self._small_font = font_of(self, TYPE.small)
        self._title_metrics = QFontMetrics(self._title_font)
        self._small_metrics = QFontMetrics(self._small_font)
        self._title_width = _widths(self._title_metrics)
        self._small_width = _widths(self._small_metrics)

    def _gap(self) -> int:
        return SPACE[3] if self.width() < NARROW else SPACE[4]

    def _left_width(self) -> int:
        """Room for the words, in coarse steps: live figures must not push the bars about."""
        words = max(
            self._title_width(self._content.title),
            self._small_width(self._content.detail.translate(ALL_EIGHTS)),
        )
        return min(max(-(-words // 32) * 32, LEAST_LEFT_WIDTH), round(self.width() * 0.36))

    def _bars_height(self) -> int:
        rows = min(len(self._content.bars), BARS_PER_COLUMN)
        return BAR_HEIGHT if rows <= 1 else rows * THIN_BAR_HEIGHT + (rows - 1) * SPACE[0]

    def _height(self) -> int:
        words = self._title_metrics.height() + self._small_metrics.height()
        middle = self._bars_height() + SPACE[0] + self._small_metrics.height()
        return max(words, middle, TIMELINE_HEIGHT) + 2 * SPACE[2]

    def _top(self) -> int:
        """Where the bars begin: they and the legend stand in the middle of whatever height there is."""
        return (self.height() - self._bars_height() - SPACE[0] - self._small_metrics.height()) // 2

    def _place_timeline(self) -> None:
        self._timeline.setVisible(self.width() >= TOO_NARROW_FOR_TIMELINE)
        width = min(max(round(self.width() * 0.18), 96), 320)
        left = self.width() - SPACE[3] - width
        self._timeline.setGeometry(left, (self.height() - TIMELINE_HEIGHT) // 2, width, TIMELINE_HEIGHT)

    def _bars_area(self) -> QRect:
        left = SPACE[3] + self._left_width() + self._gap()
        right = self._timeline.x() - self._gap() if self._timeline.isVisibleTo(self) else self.width() - SPACE[3]
        return QRect(left, self._top(), right - left, self._bars_height())

    # Painting

    def _paint_words(self, painter: QPainter, colours: Palette) -> None:
        width = self._left_width()
        title_height, small_height = self._title_metrics.height(), self._small_metrics.height()
        top = (self.height() - title_height - small_height) // 2
        for text, font, metrics, colour, y in (
            (self._content.title, self._title_font, self._title_metrics, colours.text, top),
            (self._content.detail, self._small_font, self._small_metrics, colours.dim, top + title_height),
        ):
            painter.setFont(font)
            painter.setPen(QColor(colour))
            elided = metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
            painter.drawText(SPACE[3], y + metrics.ascent(), elided)

    def _paint_bars(self, painter: QPainter, area: QRect, colours: Palette) -> None:
        bars = self._content.bars or (Bar("", 0, ()),)
        if len(bars) == 1:
            paint_bar(painter, QRectF(area), bars[0], colours)
            return
        columns = -(-len(bars) // BARS_PER_COLUMN)
        column_width = (area.width() - (columns - 1) * SPACE[3]) // columns
        metrics = self._small_metrics
        label_width = min(max(self._small_width(bar.label) for bar in bars), column_width // 3)
        figures = [_figure(bar) for bar in bars]
        figure_width = self._small_width("8" * max(map(len, figures)))
        painter.setFont(self._small_font)
        for number, (bar, figure) in enumerate(zip(bars, figures, strict=True)):
            column, row = divmod(number, BARS_PER_COLUMN)
            cell = QRect(
                area.left() + column * (column_width + SPACE[3]),
                area.top() + row * (THIN_BAR_HEIGHT + SPACE[0]),
                column_width,
                THIN_BAR_HEIGHT,
            )
            painter.setPen(QColor(colours.dim))
            baseline = cell.center().y() + metrics.capHeight() // 2 + 1
            label = metrics.elidedText(bar.label, Qt.TextElideMode.ElideRight, label_width)
            painter.drawText(cell.left(), baseline, label)
            painter.drawText(cell.right() + 1 - self._small_width(figure), baseline, figure)
            cell.adjust(label_width + SPACE[1], 0, -figure_width - SPACE[1], 0)
            paint_bar(painter, QRectF(cell), bar, colours)

    def _paint_legend(self, painter: QPainter, area: QRect, colours: Palette) -> None:
        metrics = self._small_metrics
        swatch, gap = 9, SPACE[2]
        parts = self._content.legend
        texts = [f"{part.label} {part.figure}" for part in parts]
        if sum(map(self._small_width, texts)) + len(texts) * (swatch + SPACE[0] + gap) - gap > area.width():
            texts = [f"{SHORT_LABELS.get(part.label, part.label)} {part.figure}" for part in parts]
            gap = SPACE[1]
        painter.setFont(self._small_font)
        x, top = area.left(), area.bottom() + 1 + SPACE[0]
        for part, text in zip(parts, texts, strict=True):
            width = swatch + SPACE[0] + self._small_width(text)
            if x + width > area.right() + 1:
                break
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(getattr(colours, part.role)))
            painter.drawRoundedRect(QRectF(x, top + (metrics.height() - swatch) / 2, swatch, swatch), 2, 2)
            painter.setPen(QColor(colours.dim))
            painter.drawText(x + swatch + SPACE[0], top + metrics.ascent(), text)
            x += width + gap

    # For those who listen

    def _speak(self, time: float) -> None:
        """The description for screen readers: seldom enough to be heard out, at once when much has changed."""
        content, last = self._content, self._spoken
        if content.spoken == last.spoken:
            return
        jump = content.source != last.source or abs(content.used - last.used) > SPOKEN_CHANGE * content.total
        jump = jump or [part.label for part in content.legend] != [part.label for part in last.legend]
        if jump or time - self._spoken_at >= SPOKEN_SECONDS:
            self._spoken, self._spoken_at = content, time
            self.setAccessibleDescription(content.spoken)


def _widths(metrics: QFontMetrics) -> Callable[[str], int]:
    """How wide a text is. The same few come again and again, and Qt would shape them anew each time."""

    @lru_cache(64)
    def width(text: str) -> int:  # not Qt's own method: to wrap that, its signature is worked out, which takes 30 ms
        return metrics.horizontalAdvance(text)

    return width


def _tells_of_others(reading: MemoryReading, before: MemoryReading | None) -> bool:
    """Whether cards came or went, or one does not answer: that is shown at once."""
    if before is None or reading.driver_note != before.driver_note:
        return True
    return [card.uuid for card in reading.cards] != [card.uuid for card in before.cards]


def _same_memory(reading: MemoryReading, before: MemoryReading | None) -> bool:
    """Whether everything that is shown of two readings is equal, down to the byte."""
    if before is None or reading.driver_note != before.driver_note or reading.cards != before.cards:
        return False
    return bool(reading.cards) or reading.host == before.host


def paint_bar(painter: QPainter, area: QRectF, bar: Bar, colours: Palette) -> None:
    """The segments side by side in a rounded track, which is what is free."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colours.free))
    painter.drawRoundedRect(area, 4, 4)
    if not bar.total:
        return
    before = 0
    for part in bar.segments:
        left, right = (_edge(area, amount, bar.total) for amount in (before, before + part.bytes))
        before += part.bytes
        if part.role != "free" and right > left:
            # The whole track again, seen through a window: cutting out a rounded shape costs three times as much.
            painter.setClipRect(left, round(area.top()), right - left, round(area.height()))
            painter.setBrush(QColor(getattr(colours, part.role)))
            painter.drawRoundedRect(area, 4, 4)
    painter.setClipping(False)
    if bar.outline is not None:
        # Beyond the end of the bar there is no room for what does not fit: then the outline stays open there.
        left, right = (_edge(area, min(edge, bar.total + bar.total // 50), bar.total) for edge in bar.outline)
        painter.setClipRect(area)
        painter.setPen(QPen(QColor(colours.text), 1, Qt.PenStyle.DashLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(left + 0.5, area.top() + 0.5, max(1, right - left - 1), area.height() - 1))
        painter.setClipping(False)


def _figure(bar: Bar) -> str:
    """What is used of it, in GB."""
    return gigabytes(sum(part.bytes for part in bar.segments if part.role != "free")) if bar.total else "–"


def _edge(area: QRectF, amount: int, total: int) -> int:
    return round(area.left() + area.width() * amount / total)
