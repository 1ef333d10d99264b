"""Formulas as pictures, made by a child process and remembered; until then, and for what it cannot read, the source."""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass

from PySide6.QtCore import QByteArray, QCoreApplication, QObject, QProcess, QRectF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QPainter, QPixmap

_LENGTH_LIMIT = 600  # characters of TeX: the time to set them grows with the square of their number
_SVG_LIMIT = 400_000  # characters
_SIDE_LIMIT = 8_000  # pixels of a formula's width and height
_AREA_LIMIT = 1_000_000
_PICTURE_LIMIT = 4_000_000  # pixels of the screen
_REMEMBERED = 2_000
_PIXMAPS = 400
_AHEAD = 8  # requests in the child's hands; the rest waits here, where it can be dropped
_PATIENCE_MS = 4_000  # for one formula; the first includes the start of the child
_IDLE_MS = 20_000  # then the child is ended
_GATHER_MS = 50

Key = tuple[str, bool, float]


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was set. Sizes in pixels; ascent, descent: above and below the base line."""

    svg: str
    width: float
    ascent: float
    descent: float


class Formulas(QObject):
    """One for the application, see formulas().

    Signals:
        ready: some formulas that were asked for are known now. At most every _GATHER_MS.
    """

    ready = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._known: OrderedDict[Key, Formula | None] = OrderedDict()
        self._pixmaps: OrderedDict[tuple[Key, str, float], QPixmap] = OrderedDict()
        self._waiting: deque[Key] = deque()
        self._asked: deque[Key] = deque()
        self._pending: set[Key] = set()
        self._process: QProcess | None = None
        self._failed_starts = 0
        self._patience = self._timer(_PATIENCE_MS, self._on_patience_lost)
        self._idle = self._timer(_IDLE_MS, self.stop)
        self._gather = self._timer(_GATHER_MS, self.ready.emit)

    def get(self, tex: str, display: bool, size: float) -> Formula | None:
        """The formula for a font of size pixels; None: not yet, or never. Returns at once."""
        key = (tex, display, round(size, 1))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        if len(tex) > _LENGTH_LIMIT or self._failed_starts > 1:
            return None
        if key not in self._pending:
            self._pending.add(key)
            self._waiting.append(key)
            self._send()
        return None

    def pixmap(self, tex: str, display: bool, size: float, colour: str, ratio: float) -> QPixmap | None:
        """The formula as a picture in this colour ("#rrggbb") for a screen of this device pixel ratio.

        None also for what Qt cannot draw: get() then has it no more.
        """
        formula = self.get(tex, display, size)
        if formula is None:
            return None
        key = ((tex, display, round(size, 1)), colour, ratio)
        pixmap = self._pixmaps.get(key)
        if pixmap is None:
            pixmap = _paint(formula, colour, ratio)
            if pixmap is None:
                self._known[key[0]] = None
                return None
            self._pixmaps[key] = pixmap
            if len(self._pixmaps) > _PIXMAPS:
                self._pixmaps.popitem(last=False)
        return pixmap

    def is_coming(self, tex: str, display: bool, size: float) -> bool:
        """Whether get() may have it later."""
        return (tex, display, round(size, 1)) in self._pending

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._pending) or self._gather.isActive()

    @Slot()
    def stop(self) -> None:
        """End the child; the next request starts another."""
        self._patience.stop()
        self._idle.stop()
        process, self._process = self._process, None
        if process is not None:
            process.blockSignals(True)
            process.kill()
            process.waitForFinished(1_000)
            process.deleteLater()
        self._waiting.extendleft(reversed(self._asked))
        self._asked.clear()

    def _timer(self, milliseconds: int, slot: object) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    def _send(self) -> None:
        if self._process is None:
            process = self._process = QProcess(self)
            process.setProcessChannelMode(QProcess.ProcessChannelMode.SeparateChannels)
            process.setStandardErrorFile(QProcess.nullDevice())
            process.readyReadStandardOutput.connect(self._on_output)
            process.errorOccurred.connect(self._on_ended)
            process.finished.connect(self._on_ended)
            process.start(sys.executable, ["-m", "desktop.ui.markdown.formula_child"])
        while self._waiting and len(self._asked) < _AHEAD:
            key = self._waiting.popleft()
            self._asked.append(key)
            request = {"id": 0, "tex": key[0], "display": key[1], "size": key[2]}
            self._process.write((json.dumps(request) + "\n").encode())
        self._idle.stop()
        if not self._patience.isActive():
            self._patience.start()

    @Slot()
    def _on_output(self) -> None:
        while self._process is not None and self._process.canReadLine():
            line = bytes(self._process.readLine().data())
            if not self._asked:
                continue
            self._failed_starts = 0
            self._learn(self._asked.popleft(), _formula_in(line))
            self._patience.start()
        if self._waiting:
            self._send()
        elif not self._asked:
            self._patience.stop()
            self._idle.start()

    @Slot()
    def _on_patience_lost(self) -> None:
        self._give_up_first()

    @Slot()
    def _on_ended(self) -> None:
        self._failed_starts += 1
        self._give_up_first()

    def _give_up_first(self) -> None:
        """The formula that the child is at stays source; another child takes the others."""
        if self._asked:
            self._learn(self._asked.popleft(), None)
        self.stop()
        if self._failed_starts > 1:
            self._waiting.clear()
            self._pending.clear()
        elif self._waiting:
            self._send()

    def _learn(self, key: Key, formula: Formula | None) -> None:
        self._pending.discard(key)
        self._known[key] = formula
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if formula is not None and not self._gather.isActive():
            self._gather.start()


_formulas: Formulas | None = None


def formulas() -> Formulas:
    """The application's formulas. Their child ends with the application."""
    global _formulas
    if _formulas is None:
        app = QCoreApplication.instance()
        _formulas = Formulas(app)
        if app is not None:
            app.aboutToQuit.connect(_formulas.stop)
            _formulas.destroyed.connect(_forget)
    return _formulas


def _forget() -> None:
    global _formulas
    _formulas = None


def _formula_in(line: bytes) -> Formula | None:
    """What the child answered; None for anything that cannot be drawn.

    ziamath gives a row without content a height of -9999.
    """
    try:
        answer = json.loads(line)
        svg, *sizes = (answer[name] for name in ("svg", "width", "ascent", "descent"))
        width, ascent, descent = map(float, sizes)
    except (ValueError, TypeError, KeyError):
        return None
    height = ascent + descent
    drawable = (
        isinstance(svg, str)
        and len(svg) <= _SVG_LIMIT
        and all(map(math.isfinite, (width, ascent, descent)))
        and max(abs(ascent), abs(descent)) <= _SIDE_LIMIT
        and 0 < width <= _SIDE_LIMIT
        and 0 < height <= _SIDE_LIMIT
        and width * height <= _AREA_LIMIT
    )
    return Formula(svg, width, ascent, descent) if drawable else None


def _paint(formula: Formula, colour: str, ratio: float) -> QPixmap | None:
    from PySide6.QtSvg import QSvgRenderer

    renderer = QSvgRenderer(QByteArray(formula.svg.replace('fill="black"', f'fill="{colour}"').encode()))
    if not renderer.isValid():
        return None
    width, height = formula.width + 2, formula.ascent + formula.descent + 2
    ratio = min(ratio, (_PICTURE_LIMIT / (width * height)) ** 0.5)
    pixmap = QPixmap(max(1, round(width * ratio)), max(1, round(height * ratio)))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.render(painter, QRectF(1, 1, formula.width, formula.ascent + formula.descent))
    painter.end()
    return pixmap
