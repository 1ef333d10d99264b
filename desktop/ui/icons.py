"""Line icons, drawn on a grid of 24 by 24 and tinted by the palette at the moment they are painted."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QIconEngine, QPainter, QPainterPath, QPaintEvent, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QApplication, QWidget

Tint = QPalette.ColorRole


def _lines(path: QPainterPath, *polylines: tuple[tuple[float, float], ...]) -> None:
    for polyline in polylines:
        path.moveTo(QPointF(*polyline[0]))
        for point in polyline[1:]:
            path.lineTo(QPointF(*point))


def _chat(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(3.5, 4.5, 17, 12), 3, 3)
    _lines(path, ((8, 16.5), (8, 20.5), (12, 16.5)), ((8, 9), (16, 9)), ((8, 12.5), (13, 12.5)))


def _settings(path: QPainterPath) -> None:
    for y, knob in ((6.5, 9.0), (12.0, 15.5), (17.5, 7.5)):
        _lines(path, ((3.5, y), (knob - 2, y)), ((knob + 2, y), (20.5, y)))
        path.addEllipse(QPointF(knob, y), 2, 2)


def _plus(path: QPainterPath) -> None:
    _lines(path, ((12, 5), (12, 19)), ((5, 12), (19, 12)))


def _send(path: QPainterPath) -> None:
    _lines(path, ((12, 19), (12, 5)), ((6, 11), (12, 5), (18, 11)))


def _stop(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(6.5, 6.5, 11, 11), 1.5, 1.5)


def _copy(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(8.5, 8.5, 11, 11), 2, 2)
    _lines(path, ((5, 15.5), (4.5, 15), (4.5, 6.5), (6.5, 4.5), (15, 4.5), (15.5, 5)))


def _continue(path: QPainterPath) -> None:
    _lines(path, ((5, 5), (5, 19)), ((9.5, 5.5), (18.5, 12), (9.5, 18.5), (9.5, 5.5)))


def _down(path: QPainterPath) -> None:
    _lines(path, ((12, 5), (12, 19)), ((6, 13), (12, 19), (18, 13)))


def _close(path: QPainterPath) -> None:
    _lines(path, ((6.5, 6.5), (17.5, 17.5)), ((17.5, 6.5), (6.5, 17.5)))


def _alert(path: QPainterPath) -> None:
    path.addEllipse(QPointF(12, 12), 8.5, 8.5)
    _lines(path, ((12, 7.5), (12, 13)), ((12, 16.2), (12, 16.4)))


def _folder(path: QPainterPath) -> None:
    _lines(path, ((3.5, 18.5), (3.5, 5.5), (9.5, 5.5), (11.5, 8), (20.5, 8), (20.5, 18.5), (3.5, 18.5)))


class IconLabel(QWidget):
    """An icon that stands by itself and changes with the palette."""

    def __init__(self, name: str, side: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = icon(name)
        self.setFixedSize(side, side)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        self._icon.paint(painter, self.rect())
        painter.end()


_SHAPES: dict[str, Callable[[QPainterPath], None]] = {
    "alert": _alert,
    "chat": _chat,
    "close": _close,
    "continue": _continue,
    "copy": _copy,
    "down": _down,
    "folder": _folder,
    "plus": _plus,
    "send": _send,
    "settings": _settings,
    "stop": _stop,
}
_FILLED = ("stop",)


def icon(name: str, tint: Tint = Tint.WindowText) -> QIcon:
    """The icon called `name` in a colour of the palette. KeyError when there is none of that name."""
    return QIcon(_LineEngine(name, tint))


class _LineEngine(QIconEngine):
    """Draws one shape. A checked button shows it in the accent colour."""

    def __init__(self, name: str, tint: Tint) -> None:
        super().__init__()
        self._name = name
        self._tint = tint
        self._path = QPainterPath()
        _SHAPES[name](self._path)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        role = Tint.Accent if state == QIcon.State.On else self._tint
        colour = QApplication.palette().color(Tint.PlaceholderText if mode == QIcon.Mode.Disabled else role)
        side = min(rect.width(), rect.height())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(rect.x() + (rect.width() - side) / 2, rect.y() + (rect.height() - side) / 2)
        painter.scale(side / 24, side / 24)
        painter.setPen(QPen(colour, 1.7, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
        if self._name in _FILLED:
            painter.setBrush(colour)
        painter.drawPath(self._path)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _LineEngine(self._name, self._tint)
