"""A forecast as a stacked bar with its figures beneath; dashed, because nothing of it is measured."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.domain.engine_config import Backend
from desktop.domain.memory import Forecast
from desktop.ui.format import format_bytes
from desktop.ui.memory.content import Segment
from desktop.ui.theme import SPACE, TYPE, Palette, font_of, palette_of

_BAR_HEIGHT = 26
_SWATCH = 9
_CORNER = 5
_STRENGTH = 0.75  # of a colour that is forecast, beside one that is measured
_KEPT_FREE = "kept free"


def forecast_segments(found: Forecast) -> tuple[Segment, ...]:
    """The parts of the card from the left; what "does not fit" where they are more than the card holds."""
    cpu = found.backend is Backend.CPU
    workspace = found.workspace + found.residual
    # Loads that took less than the workspace itself can only have saved on what is beside it.
    context = found.context + min(0, workspace)
    parts = (
        Segment("other programs", found.others, "other"),
        Segment("program and libraries" if cpu else "driver and kernels", context, "dim"),
        Segment("weights", found.weights, "weights"),
        Segment("KV cache, at most" if cpu else "KV cache", found.kv, "kv"),
        Segment("workspace", max(0, workspace), "workspace"),
        Segment(_KEPT_FREE, found.margin, "workspace"),
        Segment("free", found.free, "free") if found.free >= 0 else Segment("does not fit", -found.free, "danger"),
    )
    return tuple(part for part in parts if part.bytes)


class ForecastBar(QWidget):
    """Empty until there is a forecast."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: Forecast | None = None
        self._parts: tuple[Segment, ...] = ()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Forecast of the memory")

    @property
    def parts(self) -> tuple[Segment, ...]:
        """What is shown."""
        return self._parts

    def show_forecast(self, found: Forecast | None) -> None:
        """Show this forecast, or that there is none."""
        if found == self._found:
            return
        rows = self._row_count()
        self._found = found
        self._parts = forecast_segments(found) if found is not None else ()
        words = ", ".join(f"{part.label} {format_bytes(part.bytes)}" for part in self._parts)
        self.setAccessibleDescription(f"Forecast: {words}" if words else "No forecast")
        if self._row_count() != rows:
            self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        rows = max(2, len(self._rows(width)))
        return _BAR_HEIGHT + SPACE[1] + rows * self._small().height() + (rows - 1) * SPACE[0]

    def sizeHint(self) -> QSize:
        return QSize(640, self.heightForWidth(640))

    def minimumSizeHint(self) -> QSize:
        return QSize(240, self.heightForWidth(max(self.width(), 240)))

    def paintEvent(self, _event: QPaintEvent) -> None:
        colours = palette_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(0.5, 0.5, self.width() - 1, _BAR_HEIGHT - 1)
        shape = QPainterPath()
        shape.addRoundedRect(area, _CORNER, _CORNER)
        painter.fillPath(shape, QColor(colours.free))
        if self._found is not None:
            painter.setClipPath(shape)
            self._paint_parts(painter, area, self._found, colours)
            painter.setClipping(False)
        painter.setPen(QPen(QColor(colours.dim), 1, Qt.PenStyle.DashLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(shape)
        self._paint_figures(painter, colours)
        painter.end()

    def _paint_parts(self, painter: QPainter, area: QRectF, found: Forecast, colours: Palette) -> None:
        scale = area.width() / max(found.total, found.total - found.free, 1)
        left = area.left()
        for part in self._parts:
            if part.role in ("free", "danger"):
                continue
            width = part.bytes * scale
            # A line of the track shows between two parts.
            _fill(painter, QRectF(left, area.top(), max(width - 1, 0.5), area.height()), part, colours)
            left += width
        if found.free < 0:
            end = area.left() + found.total * scale
            painter.fillRect(QRectF(end - 1, area.top(), 3, area.height()), QColor(colours.danger))

    def _paint_figures(self, painter: QPainter, colours: Palette) -> None:
        metrics = self._small()
        painter.setFont(font_of(self, TYPE.small))
        top = _BAR_HEIGHT + SPACE[1]
        for row in self._rows(self.width()):
            x = 0
            for part, text in row:
                swatch = QRectF(x, top + (metrics.height() - _SWATCH) / 2, _SWATCH, _SWATCH)
                painter.fillRect(swatch, QColor(colours.free))
                _fill(painter, swatch, part, colours)
                painter.setPen(QColor(colours.danger if part.role == "danger" else colours.dim))
                painter.drawText(x + _SWATCH + SPACE[0], top + metrics.ascent(), text)
                x += self._width_of(text)
            top += metrics.height() + SPACE[0]

    def _rows(self, width: int) -> list[list[tuple[Segment, str]]]:
        rows: list[list[tuple[Segment, str]]] = []
        x = 0
        for part in self._parts:
            text = f"{part.label} {format_bytes(part.bytes)}"
            wide = self._width_of(text)
            if not rows or x + wide - SPACE[2] > width:
                rows.append([])
                x = 0
            rows[-1].append((part, text))
            x += wide
        return rows

    def _row_count(self) -> int:
        return len(self._rows(self.width()))

    def _width_of(self, text: str) -> int:
        return _SWATCH + SPACE[0] + self._small().horizontalAdvance(text) + SPACE[2]

    def _small(self) -> QFontMetrics:
        return QFontMetrics(font_of(self, TYPE.small))


def _fill(painter: QPainter, area: QRectF, part: Segment, colours: Palette) -> None:
    colour = QColor(getattr(colours, part.role))
    if part.label == _KEPT_FREE:
        painter.fillRect(area, QBrush(colour, Qt.BrushStyle.BDiagPattern))
    else:
        colour.setAlphaF(_STRENGTH if part.role not in ("free", "danger") else 1.0)
        painter.fillRect(area, colour)
