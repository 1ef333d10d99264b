"""A formula on a line of its own, a picture's place, a rule."""

from __future__ import annotations

import base64
import binascii
import math
from functools import lru_cache

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QImageReader, QPainter, QPen, QPixmap, QTextLayout, QTextOption

from desktop.ui.markdown.box import Box, Span
from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.pieces import FormulaPiece, ImagePiece, RulePiece
from desktop.ui.markdown.style import Style
from desktop.ui.markdown.text import for_document
from desktop.ui.theme import RADIUS, SPACE

_SOURCE_LIMIT = 5_000  # characters of a formula's source that are shown
_IMAGE_BYTES = 2_000_000  # of a data: address; and
_IMAGE_PIXELS = 4_000_000  # what it may unfold to


class RuleBox(Box):
    """A thin line."""

    piece: RulePiece

    def lay_out(self, width: float) -> None:
        self.width, self.height = width, SPACE[3] + 1.0

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        middle = self.height / 2
        painter.fillRect(QRectF(0, middle - 0.5, self.width, 1), QColor(self.style.colours.line))
        if selected:
            _tint(painter, QRectF(0, 0, self.width, self.height), self.style)


class FormulaBox(Box):
    """Centred, made smaller where it is too wide. Until it is ready, and if it cannot be drawn, its source as code."""

    piece: FormulaPiece

    def __init__(self, piece: FormulaPiece, style: Style) -> None:
        super().__init__(piece, style)
        self._size = style.formula_size
        self._source: QTextLayout | None = None
        formulas().get(piece.source, True, self._size)
        self.has_missing = formulas().is_coming(piece.source, True, self._size)

    def lay_out(self, width: float) -> None:
        self.width = width
        pixmap, formula = self._pixmap(), formulas().get(self.piece.source, True, self._size)
        if pixmap is None or formula is None:
            self._source = _source_layout(self.piece.source, self.style, width)
            height = self._source.boundingRect().height()
        else:
            self._source = None
            height = (formula.ascent + formula.descent + 2) * min(1.0, width / (formula.width + 2))
        self.height = math.ceil(height) + 2.0 * SPACE[1]

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        if self._source is not None:
            painter.setPen(QColor(self.style.colours.dim))
            left = max(0.0, (self.width - self._source.maximumWidth()) / 2)
            self._source.draw(painter, QPointF(left, SPACE[1]))
        elif (pixmap := self._pixmap()) is not None:
            size = pixmap.deviceIndependentSize()
            scale = min(1.0, self.width / size.width())
            target = QRectF(0, SPACE[1], size.width() * scale, size.height() * scale)
            target.moveLeft((self.width - target.width()) / 2)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 1)
            painter.drawPixmap(target, pixmap, QRectF(pixmap.rect()))
        if selected:
            _tint(painter, QRectF(0, 0, self.width, self.height), self.style)

    def _pixmap(self) -> QPixmap | None:
        return formulas().pixmap(self.piece.source, True, self._size, self.style.colours.text, self.style.ratio)


class ImageBox(Box):
    """A frame with the picture's words and address. Nothing is fetched; only a small data: address is shown."""

    piece: ImagePiece

    def lay_out(self, width: float) -> None:
        self.width = width
        picture = _picture_in(self.piece.address)
        if picture is None:
            self.height = math.ceil(2 * self.style.metrics.lineSpacing()) + 2.0 * SPACE[2]
        else:
            scale = min(1.0, width / picture.width(), 480 / picture.height())
            self.height = math.ceil(picture.height() * scale)

    def paint(self, painter: QPainter, clip: QRectF, selected: Span | None) -> None:
        style, picture = self.style, _picture_in(self.piece.address)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if picture is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            width = picture.width() * self.height / picture.height()
            area = QRectF(0, 0, width, self.height)
            painter.drawPixmap(area, picture, QRectF(picture.rect()))
        else:
            area = QRectF(0.5, 0.5, min(self.width, 420.0) - 1, self.height - 1)
            painter.setPen(QPen(QColor(style.colours.line), 1))
            painter.setBrush(QColor(style.colours.panel))
            painter.drawRoundedRect(area, RADIUS, RADIUS)
            self._paint_words(painter, area)
        if selected:
            _tint(painter, area, style)

    def link_at(self, x: float, y: float) -> str:
        return "" if self.piece.address.startswith("data:") else self.piece.address

    def _paint_words(self, painter: QPainter, area: QRectF) -> None:
        style = self.style
        words, _, address = self.piece.words.rpartition(", ")
        room = area.width() - 2 * SPACE[2] - 32
        painter.setPen(QPen(QColor(style.colours.dim), 1.4))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        left, middle = SPACE[2] + 1.0, area.center().y()
        painter.drawRoundedRect(QRectF(left, middle - 9, 22, 18), 3, 3)
        painter.drawPolyline([QPointF(left + x, middle + y) for x, y in ((2, 6), (8, -1), (13, 5), (16, 2), (20, 6))])
        elide = Qt.TextElideMode.ElideRight
        x, step = left + 32, style.metrics.lineSpacing()
        y = SPACE[2] + style.metrics.ascent()
        painter.setFont(style.font)
        painter.setPen(QColor(style.colours.text))
        painter.drawText(QPointF(x, y), style.metrics.elidedText(words or "Image", elide, room))
        painter.setPen(QColor(style.colours.dim))
        painter.drawText(QPointF(x, y + step), style.metrics.elidedText(address, Qt.TextElideMode.ElideMiddle, room))


def _source_layout(source: str, style: Style, width: float) -> QTextLayout:
    """The source as code, with its own lines, wrapped at this width; of a very long one the beginning."""
    if len(source) > _SOURCE_LIMIT:
        source = source[:_SOURCE_LIMIT] + "…"
    layout = QTextLayout(for_document(source).replace("\n", "\u2028"), style.code_font)
    option = QTextOption()
    option.setTextDirection(Qt.LayoutDirection.LeftToRight)
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    layout.beginLayout()
    y = 0.0
    while (line := layout.createLine()).isValid():
        line.setLineWidth(width)
        line.setPosition(QPointF(0, y))
        y += style.code_metrics.lineSpacing()
    layout.endLayout()
    return layout


@lru_cache(maxsize=8)
def _picture_in(address: str) -> QPixmap | None:
    """The picture that a data: address holds; None when it is none, too large or broken."""
    head, comma, data = address.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64") or len(data) > _IMAGE_BYTES:
        return None
    try:
        content = QByteArray(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
    buffer = QBuffer(content)
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    kind = head.removeprefix("data:image/").removesuffix(";base64")
    if kind not in ("png", "jpeg", "gif", "webp", "bmp"):
        return None
    reader = QImageReader(buffer, QByteArray(kind.encode()))
    size: QSize = reader.size()
    if not size.isValid() or size.width() * size.height() > _IMAGE_PIXELS:
        return None
    image: QImage = reader.read()
    return None if image.isNull() else QPixmap.fromImage(image)


def _tint(painter: QPainter, area: QRectF, style: Style) -> None:
    colour = QColor(style.colours.accent)
    colour.setAlpha(60)
    painter.fillRect(area, colour)
