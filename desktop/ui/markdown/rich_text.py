"""Runs of text as a QTextDocument, with formulas as pictures in it."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, Qt, QUrl
from PySide6.QtGui import (
    QAbstractTextDocumentLayout,
    QColor,
    QFont,
    QPainter,
    QPalette,
    QPixmap,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextImageFormat,
    QTextOption,
)

from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.pieces import BOLD, CODE, DIM, ITALIC, STRIKE, Line, Run, Runs
from desktop.ui.markdown.style import HEADING_SIZES, LINE_HEIGHT, Style
from desktop.ui.markdown.text import for_document

_PROPORTIONAL = QTextBlockFormat.LineHeightTypes.ProportionalHeight.value
_LINE_BREAK = "\u2028"


class RichText:
    """A document of lines. has_missing: a formula in it was not ready and stands as its source would: rebuild it then.

    A character of a line is a character of the document, and lines are one apart, whatever stands for a formula.
    """

    def __init__(self, style: Style, *, bold: bool = False, alignment: str = "") -> None:
        self.style = style
        self.has_missing = False
        self.document = QTextDocument()
        self.document.setUndoRedoEnabled(False)
        self.document.setDocumentMargin(0)
        font = QFont(style.font)
        font.setBold(bold)
        self.document.setDefaultFont(font)
        option = QTextOption(_ALIGNMENTS.get(alignment, _ALIGNMENTS["left"]))
        option.setTextDirection(Qt.LayoutDirection.LayoutDirectionAuto)
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.document.setDefaultTextOption(option)
        self._pictures = 0

    def fill(self, lines: tuple[Line, ...], *, spaced: bool = True) -> None:
        """Write the lines into the empty document."""
        cursor = QTextCursor(self.document)
        cursor.beginEditBlock()
        for index, line in enumerate(lines):
            shape = QTextBlockFormat()
            if spaced:
                height = 1.15 if line.heading else LINE_HEIGHT
                shape.setLineHeight(height * 100, _PROPORTIONAL)
            shape.setLeftMargin(line.left)
            shape.setTopMargin(line.gap)
            if index:
                cursor.insertBlock(shape)
            else:
                cursor.setBlockFormat(shape)
            self._insert(cursor, line.runs, line.heading)
            if line.left and is_right_to_left(cursor.block()):
                shape.setLeftMargin(0)
                shape.setRightMargin(line.left)
                cursor.setBlockFormat(shape)
        cursor.endEditBlock()

    def _insert(self, cursor: QTextCursor, runs: Runs, heading: int) -> None:
        for run in runs:
            if run.formula:
                self._insert_formula(cursor, run, heading)
            else:
                text = for_document(run.text).replace("\n", _LINE_BREAK)
                cursor.insertText(text, self._format(run.style, run.href, heading))

    def _format(self, look: int, href: str, heading: int) -> QTextCharFormat:
        style, form = self.style, QTextCharFormat()
        if look & CODE:
            form.setFont(style.code_font)
            form.setBackground(QColor(style.colours.panel))
        if heading:
            size = (style.code_font if look & CODE else style.font).pointSizeF()
            form.setFontPointSize(size * HEADING_SIZES[heading])
        if look & BOLD or heading:
            form.setFontWeight(QFont.Weight.DemiBold if heading else QFont.Weight.Bold)
        if look & ITALIC:
            form.setFontItalic(True)
        if look & STRIKE:
            form.setFontStrikeOut(True)
        if look & DIM or heading == 6:
            form.setForeground(QColor(style.colours.dim))
        if href:
            form.setAnchor(True)
            form.setAnchorHref(href)
            form.setForeground(QColor(style.colours.accent))
            form.setFontUnderline(True)
        return form

    def _insert_formula(self, cursor: QTextCursor, run: Run, heading: int) -> None:
        style = self.style
        size = style.formula_size * (HEADING_SIZES[heading] or 1.0)
        colour = style.colours.accent if run.href else style.colours.text
        # Finer than the screen: a line of text does not stand on whole pixels, and the picture is moved there.
        picture = formulas().pixmap(run.formula, False, size, colour, style.ratio * 2)
        formula = formulas().get(run.formula, False, size)
        form = QTextImageFormat()
        name = f"formula:{self._pictures}"
        self._pictures += 1
        form.setName(name)
        if picture is None or formula is None:
            self.has_missing |= formulas().is_coming(run.formula, False, size)
            picture, width, height, descent = _source_picture(run.text, style)
        else:
            width, height, descent = formula.width + 2, formula.ascent + formula.descent + 2, formula.descent + 1
        # Qt puts an AlignMiddle object half its height and a quarter of the x-height above the base line.
        half_x = style.metrics.xHeight() / 2
        total = math.ceil(max(2 * descent + half_x, 2 * (height - descent) - half_x))
        width = math.ceil(width)
        top = (total + half_x) / 2 - (height - descent)
        self.document.addResource(
            QTextDocument.ResourceType.ImageResource.value,
            QUrl(name),
            _padded(picture, width, total, top, style.ratio * 2),
        )
        form.setWidth(width)
        form.setHeight(total)
        form.setVerticalAlignment(QTextCharFormat.VerticalAlignment.AlignMiddle)
        if run.href:
            form.setAnchor(True)
            form.setAnchorHref(run.href)
        cursor.insertImage(form)


def is_right_to_left(block: QTextBlock) -> bool:
    """Whether the first letter of this line is written from right to left."""
    return block.textDirection() == Qt.LayoutDirection.RightToLeft


def paint_context(style: Style, document: QTextDocument, selected: tuple[int, int] | None):  # type: ignore[no-untyped-def]
    """What a document is drawn with: the text's colour, and the selection as the system shows it."""
    context = QAbstractTextDocumentLayout.PaintContext()
    palette = QPalette(context.palette)
    palette.setColor(QPalette.ColorRole.Text, QColor(style.colours.text))
    context.palette = palette
    if selected is not None and selected[1] > selected[0]:
        cursor = QTextCursor(document)
        last = document.characterCount() - 1
        cursor.setPosition(min(selected[0], last))
        cursor.setPosition(min(selected[1], last), QTextCursor.MoveMode.KeepAnchor)
        form = QTextCharFormat()
        form.setBackground(QColor(style.colours.accent))
        form.setForeground(QColor(style.colours.on_accent))
        selection = QAbstractTextDocumentLayout.Selection()
        selection.cursor = cursor
        selection.format = form
        context.selections = [selection]
    return context


def _padded(picture: QPixmap, width: float, total: float, top: float, ratio: float) -> QPixmap:
    """The picture in one of this height, top pixels from its upper edge."""
    whole = QPixmap(max(1, math.ceil(width * ratio)), max(1, math.ceil(total * ratio)))
    whole.setDevicePixelRatio(ratio)
    whole.fill(Qt.GlobalColor.transparent)
    painter = QPainter(whole)
    painter.drawPixmap(QPointF(0, top), picture)
    painter.end()
    return whole


def _source_picture(source: str, style: Style) -> tuple[QPixmap, float, float, float]:
    """The source of a formula as code: picture, width, height, descent. The end of a long one is left out."""
    metrics = style.code_metrics
    text = metrics.elidedText(source.replace("\n", " "), Qt.TextElideMode.ElideRight, _SOURCE_WIDTH)
    width, height = metrics.horizontalAdvance(text) + 8, metrics.height()
    picture = QPixmap(max(1, math.ceil(width * style.ratio)), max(1, math.ceil(height * style.ratio)))
    picture.setDevicePixelRatio(style.ratio)
    picture.fill(QColor(style.colours.panel))
    painter = QPainter(picture)
    painter.setFont(style.code_font)
    painter.setPen(QColor(style.colours.text))
    painter.drawText(QPointF(4, metrics.ascent()), text)
    painter.end()
    return picture, width, height, metrics.descent()


_ALIGNMENTS = {
    "left": Qt.AlignmentFlag.AlignLeading | Qt.AlignmentFlag.AlignTop,
    "center": Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop,
    "right": Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop,
}
_SOURCE_WIDTH = 320.0  # pixels
