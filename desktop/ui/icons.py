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


def _memory(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(3.5, 8, 17, 8), 2, 2)
    _lines(path, ((8, 8), (8, 16)), ((13, 8), (13, 16)), ((7, 19.5), (17, 19.5)), ((7, 4.5), (17, 4.5)))


def _quantize(path: QPainterPath) -> None:
    _lines(path, ((3.5, 19.5), (3.5, 14.5), (8, 14.5), (8, 9.5), (12.5, 9.5), (12.5, 4.5), (20.5, 4.5)))
    _lines(path, ((8, 19.5), (20.5, 19.5)), ((16.5, 14.5), (20.5, 14.5)), ((16.5, 9.5), (20.5, 9.5)))


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


def _pause(path: QPainterPath) -> None:
    _lines(path, ((9, 5.5), (9, 18.5)), ((15, 5.5), (15, 18.5)))


def _down(path: QPainterPath) -> None:
    _lines(path, ((12, 5), (12, 19)), ((6, 13), (12, 19), (18, 13)))


def _close(path: QPainterPath) -> None:
    _lines(path, ((6.5, 6.5), (17.5, 17.5)), ((17.5, 6.5), (6.5, 17.5)))


def _alert(path: QPainterPath) -> None:
    path.addEllipse(QPointF(12, 12), 8.5, 8.5)
    _lines(path, ((12, 7.5), (12, 13)), ((12, 16.2), (12, 16.4)))


def _folder(path: QPainterPath) -> None:
    _lines(path, ((3.5, 18.5), (3.5, 5.5), (9.5, 5.5), (11.5, 8), (20.5, 8), (20.5, 18.5), (3.5, 18.5)))


def _edit(path: QPainterPath) -> None:
    _lines(path, ((5, 19), (6, 15), (15.5, 5.5), (18.5, 8.5), (9, 18), (5, 19)), ((13.5, 7.5), (16.5, 10.5)))


def _again(path: QPainterPath) -> None:
    path.arcMoveTo(QRectF(5, 5, 14, 14), 40)
    path.arcTo(QRectF(5, 5, 14, 14), 40, 290)
    _lines(path, ((18.5, 3.5), (18.5, 8), (14, 8)))


def _fork(path: QPainterPath) -> None:
    for x, y in ((7, 5.5), (17, 5.5), (7, 18.5)):
        path.addEllipse(QPointF(x, y), 2, 2)
    _lines(path, ((7, 7.5), (7, 16.5)), ((17, 7.5), (17, 9), (14.5, 12), (7, 12.5)))


def _left(path: QPainterPath) -> None:
    _lines(path, ((14.5, 6), (8.5, 12), (14.5, 18)))


def _right(path: QPainterPath) -> None:
    _lines(path, ((9.5, 6), (15.5, 12), (9.5, 18)))


def _fold(path: QPainterPath) -> None:
    _lines(path, ((6, 9.5), (12, 15.5), (18, 9.5)))


def _pin(path: QPainterPath) -> None:
    _lines(
        path,
        ((8, 4.5), (16, 4.5)),
        ((9, 4.5), (9, 11), (6.5, 14), (17.5, 14), (15, 11), (15, 4.5)),
        ((12, 14), (12, 20)),
    )


def _search(path: QPainterPath) -> None:
    path.addEllipse(QPointF(10.5, 10.5), 6, 6)
    _lines(path, ((15, 15), (20, 20)))


def _attach(path: QPainterPath) -> None:
    path.moveTo(18.5, 11)
    path.lineTo(11.5, 18)
    path.cubicTo(8, 21.5, 2.5, 16, 6, 12.5)
    path.lineTo(13, 5.5)
    path.cubicTo(15.5, 3, 19, 6.5, 16.5, 9)
    path.lineTo(10, 15.5)
    path.cubicTo(8.5, 17, 6.5, 15, 8, 13.5)
    path.lineTo(13.5, 8)


def _compare(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(3.5, 5, 7.5, 14), 1.5, 1.5)
    path.addRoundedRect(QRectF(13, 5, 7.5, 14), 1.5, 1.5)


def _tool(path: QPainterPath) -> None:
    path.moveTo(19.5, 7.5)
    path.cubicTo(20.5, 12, 16.5, 14.5, 13, 13)
    path.lineTo(7.5, 18.8)
    path.cubicTo(5.5, 20, 3.5, 18, 5, 16.2)
    path.lineTo(11, 11)
    path.cubicTo(9.5, 7, 12.5, 3.5, 16.5, 4.5)
    path.lineTo(14.2, 7.2)
    path.lineTo(16.8, 9.8)
    path.lineTo(19.5, 7.5)


def _think(path: QPainterPath) -> None:
    path.addEllipse(QPointF(12, 10), 6, 6)
    _lines(path, ((9.5, 15.5), (9.5, 18), (14.5, 18), (14.5, 15.5)), ((10.5, 20.5), (13.5, 20.5)))


def _file(path: QPainterPath) -> None:
    _lines(path, ((6, 3.5), (14, 3.5), (18.5, 8), (18.5, 20.5), (6, 20.5), (6, 3.5)), ((14, 3.5), (14, 8), (18.5, 8)))


def _models(path: QPainterPath) -> None:
    _lines(path, ((12, 3.5), (20, 7.8), (12, 12.1), (4, 7.8), (12, 3.5)))
    _lines(path, ((4, 12), (12, 16.3), (20, 12)), ((4, 16.2), (12, 20.5), (20, 16.2)))


def _image(path: QPainterPath) -> None:
    path.addRoundedRect(QRectF(3.5, 5, 17, 14), 2, 2)
    path.addEllipse(QPointF(8.5, 9.5), 1.5, 1.5)
    _lines(path, ((3.5, 17), (9, 12.5), (12, 15), (15.5, 11), (20.5, 16)))


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
    "again": _again,
    "alert": _alert,
    "attach": _attach,
    "chat": _chat,
    "close": _close,
    "compare": _compare,
    "continue": _continue,
    "copy": _copy,
    "down": _down,
    "edit": _edit,
    "file": _file,
    "fold": _fold,
    "folder": _folder,
    "fork": _fork,
    "image": _image,
    "left": _left,
    "memory": _memory,
    "models": _models,
    "pause": _pause,
    "pin": _pin,
    "plus": _plus,
    "quantize": _quantize,
    "right": _right,
    "search": _search,
    "send": _send,
    "settings": _settings,
    "stop": _stop,
    "think": _think,
    "tool": _tool,
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
        if pixmap.isNull():  # of no size, as a button in a window that is too narrow for it asks for
            return pixmap
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _LineEngine(self._name, self._tint)
