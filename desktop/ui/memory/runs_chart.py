"""The loads of the log side by side in time: what was forecast dashed, what was measured solid."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
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

from desktop.domain.load_run import LoadRun
from desktop.ui.memory.runs_figures import FIGURES, axis, chart_words, run_words, when
from desktop.ui.theme import RADIUS, SPACE, TYPE, Palette, font_of, palette_of

FEWEST = 2  # loads that are worth comparing
_HEIGHT = 176
_NARROWEST, _WIDEST = 14, 56  # pixels that a load takes
_MARK = 9
_CROSS = 3.5  # half of it


class RunsChart(QWidget):
    """A column a load, the newest at the right. As many as have room: the newest, or those around the chosen one.

    Signals:
    run_chosen: the id of the load that was clicked, or gone to with the arrow keys, Home or End.
    """

    run_chosen = Signal(object)  # an int of more than 32 bits

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: tuple[LoadRun, ...] = ()
        self._figure = FIGURES[0]
        self._chosen: int | None = None
        self._hovered: int | None = None
        self._first = 0
        self._lines = axis(0, self._figure.units)
        self._plot = QRectF()
        self._room = 1
        self._step = float(_WIDEST)
        self.setFixedHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName("Chart of loads")

    def show_runs(self, runs: Sequence[LoadRun]) -> None:
        """Show these instead, in any order."""
        self._runs = tuple(sorted(runs, key=lambda run: run.id))
        self._first = len(self._runs)
        self._hovered = None
        self._show()

    def show_figure(self, number: int) -> None:
        """number: in FIGURES."""
        self._figure = FIGURES[number]
        self._show()

    def mark(self, run_id: int | None) -> None:
        """Mark this load as the chosen one, without a signal."""
        if run_id != self._chosen:
            self._chosen = run_id
            self._show()

    @property
    def shown(self) -> tuple[LoadRun, ...]:
        """The loads that have room, the oldest first."""
        return self._runs[self._first : self._first + self._room]

    @property
    def range_words(self) -> str:
        """Which of the loads are shown, where not all are."""
        shown, count = self.shown, len(self._runs)
        if len(shown) == count:
            return ""
        if self._first + len(shown) == count:
            return f"the newest {len(shown)} of {count:,} loads"
        return f"loads {self._first + 1:,} to {self._first + len(shown):,} of {count:,}"

    def sizeHint(self) -> QSize:
        return QSize(480, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, _HEIGHT)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._first = len(self._runs)
        self._show()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            assert isinstance(event, QHelpEvent)
            run = self._run_at(QPointF(event.pos()))
            if run is None:
                QToolTip.hideText()
            else:  # it goes when the mouse leaves the load
                column = self._column(self.shown.index(run)).toAlignedRect()
                QToolTip.showText(event.globalPos(), run_words(run), self, column)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover(self._run_at(event.position()))

    def leaveEvent(self, _event: QEvent) -> None:
        self._hover(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        run = self._run_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and run is not None:
            self.run_chosen.emit(run.id)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, last = event.key(), len(self._runs) - 1
        place = next((i for i, run in enumerate(self._runs) if run.id == self._chosen), None)
        goal = {
            Qt.Key.Key_Left: last if place is None else place - 1,
            Qt.Key.Key_Right: last if place is None else place + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }.get(Qt.Key(key))
        if goal is None or not self._runs:
            super().keyPressEvent(event)
        else:
            self.run_chosen.emit(self._runs[min(max(goal, 0), last)].id)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font_of(self, TYPE.small))
        edge = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(QColor(colours.accent if self.hasFocus() else colours.line), 1))
        painter.setBrush(QColor(colours.field))
        painter.drawRoundedRect(edge, RADIUS, RADIUS)
        self._paint_legend(painter, colours)
        plot = self._plot
        top = self._lines[-1][0]
        for value, label in self._lines:
            y = plot.bottom() - (value / top * plot.height() if top else 0)
            painter.setPen(QPen(QColor(colours.line), 1))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(QColor(colours.dim))
            box = QRectF(SPACE[1], y - 10, plot.left() - SPACE[1] - SPACE[0], 20)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, label)
        for place, run in enumerate(self.shown):
            self._paint_run(painter, colours, run, self._column(place), top)
        self._paint_times(painter, colours)
        painter.end()

    def _paint_run(self, painter: QPainter, colours: Palette, run: LoadRun, column: QRectF, top: float) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        if run.id == self._chosen:
            painter.fillRect(column, QColor(colours.accent_soft))
            painter.fillRect(QRectF(column.left(), column.bottom() + 1, column.width(), 2), QColor(colours.accent))
        elif run.id == self._hovered:
            painter.fillRect(column, QColor(colours.panel))
        wide = min(column.width() * 0.7, 28)
        forecast, measured = self._figure.forecast(run), self._figure.measured(run)
        if measured is not None and top:
            solid = _bar(column, wide * 0.6, measured / top)
            painter.fillRect(solid, QColor(colours.weights))
        if forecast is not None and top:
            outline = _bar(column, wide, forecast / top)
            painter.setPen(QPen(QColor(colours.dim), 1, Qt.PenStyle.DashLine))
            painter.drawPolyline([outline.bottomLeft(), outline.topLeft(), outline.topRight(), outline.bottomRight()])
        if run.failure:
            _cross(painter, QPointF(column.center().x(), column.top() + 2 * _CROSS), colours)

    def _paint_legend(self, painter: QPainter, colours: Palette) -> None:
        metrics = self._small()
        x, middle = float(SPACE[1]), SPACE[1] + metrics.height() / 2
        runs = self.shown
        parts = [("forecast", any(self._figure.forecast(run) is not None for run in runs))]
        parts += [("measured", any(self._figure.measured(run) is not None for run in runs))]
        parts += [("failed", any(run.failure for run in runs))]
        for name, present in parts:
            if not present:
                continue
            mark = QRectF(x + 0.5, middle - _MARK / 2 + 0.5, _MARK - 1, _MARK - 1)
            if name == "forecast":
                painter.setPen(QPen(QColor(colours.dim), 1, Qt.PenStyle.DashLine))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(mark)
            elif name == "measured":
                painter.fillRect(mark, QColor(colours.weights))
            else:
                _cross(painter, mark.center(), colours)
            painter.setPen(QColor(colours.dim))
            painter.drawText(QPointF(x + _MARK + SPACE[0], SPACE[1] + metrics.ascent()), name)
            x += _MARK + SPACE[0] + metrics.horizontalAdvance(name) + SPACE[2]
        painter.setPen(QColor(colours.dim))
        words = self.range_words
        if not any(self._figure.measured(run) is not None or self._figure.forecast(run) is not None for run in runs):
            words = f"No load has a figure for this yet{', ' if words else ''}{words}"
        room = QRectF(x, SPACE[1], self.width() - SPACE[1] - x, metrics.height())
        words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)

    def _paint_times(self, painter: QPainter, colours: Palette) -> None:
        runs, plot = self.shown, self._plot
        if not runs:
            return
        painter.setPen(QColor(colours.dim))
        room = QRectF(plot.left(), plot.bottom() + SPACE[0], plot.width(), self._small().height())
        painter.drawText(room, Qt.AlignmentFlag.AlignLeft, when(runs[0]))
        end = self._column(len(runs) - 1).right()
        wide = self._small().horizontalAdvance(when(runs[-1]))
        if end - wide > plot.left() + wide + SPACE[2]:
            painter.drawText(QRectF(end - wide, room.top(), wide + 1, room.height()), 0, when(runs[-1]))

    def _show(self) -> None:
        """Choose which loads have room, say it, and paint it."""
        place = next((i for i, run in enumerate(self._runs) if run.id == self._chosen), None)
        self._lay_out()
        room, count = self._room, len(self._runs)
        self._first = max(0, min(self._first, count - room))
        if place is not None and not self._first <= place < self._first + room:
            self._first = max(0, min(place - room // 2, count - room))
        words = chart_words(self._runs, self._figure)
        self.setAccessibleDescription(
            words if place is None else f"{words} Chosen: {run_words(self._runs[place])}".replace("\n", ". ")
        )
        self.update()

    def _lay_out(self) -> None:
        values = [value for run in self._runs for value in (self._figure.forecast(run), self._figure.measured(run))]
        self._lines = axis(max((value for value in values if value is not None), default=0), self._figure.units)
        metrics = self._small()
        left = 2 * SPACE[1] + max(metrics.horizontalAdvance(label) for _, label in self._lines)
        above, below = metrics.height() + SPACE[1] + SPACE[2], metrics.height() + SPACE[1] + SPACE[0]
        self._plot = QRectF(left, above, max(self.width() - left - SPACE[2], 1), self.height() - above - below)
        self._room = max(int(self._plot.width() // _NARROWEST), 1)
        self._step = min(self._plot.width() / max(min(len(self._runs), self._room), 1), _WIDEST)

    def _hover(self, run: LoadRun | None) -> None:
        hovered = None if run is None else run.id
        if hovered != self._hovered:
            self._hovered = hovered
            self.update()

    def _run_at(self, place: QPointF) -> LoadRun | None:
        plot = self._plot
        if not plot.contains(place):
            return None
        number = int((place.x() - plot.left()) / self._step)
        return self.shown[number] if number < len(self.shown) else None

    def _column(self, place: int) -> QRectF:
        plot = self._plot
        return QRectF(plot.left() + place * self._step, plot.top() - SPACE[1], self._step, plot.height() + SPACE[1])

    def _small(self) -> QFontMetrics:
        return QFontMetrics(font_of(self, TYPE.small))


def _bar(column: QRectF, wide: float, share: float) -> QRectF:
    """A bar of the column's width from its foot; half a pixel off, so that its outline is sharp."""
    height = max(share * (column.height() - SPACE[1]), 1)
    left = round(column.center().x() - wide / 2) + 0.5
    return QRectF(left, round(column.bottom() - height) + 0.5, round(wide), round(height) - 0.5)


def _cross(painter: QPainter, at: QPointF, colours: Palette) -> None:
    painter.setPen(QPen(QColor(colours.danger), 1.8))
    for rise in (_CROSS, -_CROSS):
        painter.drawLine(QPointF(at.x() - _CROSS, at.y() - rise), QPointF(at.x() + _CROSS, at.y() + rise))
