"""Turns Markdown into a document that loads nothing: raw HTML stays text, an image becomes its description."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontDatabase,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrame,
    QTextFrameFormat,
    QTextLength,
    QTextOption,
    QTextTable,
    QTextTableFormat,
)

from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import Palette

_FRONT_MATTER = QTextDocument.MarkdownFeature(0x100000)  # would hide what stands between "---" lines at the start
_DIALECT = (
    QTextDocument.MarkdownFeature.MarkdownDialectGitHub & ~_FRONT_MATTER
) | QTextDocument.MarkdownFeature.MarkdownNoHTML
_LINE_HEIGHT = 118  # percent
_PROPORTIONAL = QTextBlockFormat.LineHeightTypes.ProportionalHeight.value
_FENCE = QTextFormat.Property.BlockCodeFence.value
_LANGUAGE = QTextFormat.Property.BlockCodeLanguage.value
_GAP = 9  # pixels between paragraphs
_ITEM_GAP = 3
_HEADING_GROWTH = {1: 2, 2: 1}  # steps of Qt's font sizes; the others are bold only


class InertDocument(QTextDocument):
    """A document that never reads a file or an address."""

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        return None


def render(markdown: str, font: QFont, colours: Palette, parent: QObject | None = None) -> QTextDocument:
    """The document of a finished text, not yet laid out."""
    document = InertDocument(parent)
    document.setUndoRedoEnabled(False)
    document.setDocumentMargin(0)
    document.setDefaultFont(font)
    document.setDefaultTextOption(_wrapping())
    document.setMarkdown(clean(markdown), _DIALECT)
    cursor = QTextCursor(document)
    cursor.beginEditBlock()
    # Before any layout: an image that is laid out is looked for, as a local file too.
    _replace_images(document)
    _style_blocks(document, colours)
    _style_tables(document.rootFrame(), colours)
    _flatten_empty_blocks(document)
    cursor.endEditBlock()
    return document


def _wrapping() -> QTextOption:
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    return option


def _replace_images(document: QTextDocument) -> None:
    spans: list[tuple[int, int, str]] = []
    block = document.begin()
    while block.isValid():
        if "\ufffc" in block.text():
            for fragment in _fragments(block):
                if fragment.charFormat().isImageFormat():
                    image = fragment.charFormat().toImageFormat()
                    alt = str(image.property(QTextFormat.Property.ImageAltText.value) or "").strip()
                    words = f"[image: {alt}, {image.name()}]" if alt else f"[image: {image.name()}]"
                    spans.append((fragment.position(), fragment.position() + fragment.length(), words))
        block = block.next()
    italic = QTextCharFormat()
    italic.setFontItalic(True)
    for start, end, words in reversed(spans):
        _span(document, start, end).insertText(words, italic)


def _fragments(block: QTextBlock) -> list[Any]:
    found = []
    iterator = block.begin()
    while not iterator.atEnd():
        found.append(iterator.fragment())
        iterator += 1
    return found


def _style_blocks(document: QTextDocument, colours: Palette) -> None:
    whole = QTextCursor(document)
    whole.select(QTextCursor.SelectionType.Document)
    shape = QTextBlockFormat()
    shape.setLineHeight(_LINE_HEIGHT, _PROPORTIONAL)
    whole.mergeBlockFormat(shape)
    inline_code = _code_format()
    inline_code.setBackground(QColor(colours.panel))
    link = QTextCharFormat()
    link.setForeground(QColor(colours.accent))
    code_runs: list[tuple[int, int]] = []
    language = None
    block = document.begin()
    while block.isValid():
        shape = block.blockFormat()
        if shape.hasProperty(_FENCE):
            start, end = block.position(), block.position() + block.length() - 1
            # Qt marks no border between two code blocks; a change of language is all there is to see.
            if code_runs and code_runs[-1][1] == start - 1 and shape.property(_LANGUAGE) == language:
                code_runs[-1] = (code_runs[-1][0], end)
            else:
                code_runs.append((start, end))
            language = shape.property(_LANGUAGE)
        else:
            for fragment in _fragments(block):
                style = fragment.charFormat()
                if style.isAnchor() or style.fontFixedPitch():
                    _span(document, fragment.position(), fragment.position() + fragment.length()).mergeCharFormat(
                        link if style.isAnchor() else inline_code
                    )
            _style_prose(block, shape, colours)
        block = block.next()
    for start, end in reversed(code_runs):
        _frame_code(_span(document, start, end), colours)


def _style_prose(block: QTextBlock, shape: QTextBlockFormat, colours: Palette) -> None:
    if shape.hasProperty(QTextFormat.Property.BlockTrailingHorizontalRulerWidth.value):
        shape.setBackground(QBrush(QColor(colours.line)))
        QTextCursor(block).setBlockFormat(shape)
    elif level := shape.headingLevel():
        cursor = QTextCursor(block)
        growth = QTextCharFormat()
        growth.setProperty(QTextFormat.Property.FontSizeAdjustment.value, _HEADING_GROWTH.get(level, 0))
        cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock, QTextCursor.MoveMode.KeepAnchor)
        cursor.mergeCharFormat(growth)
        shape.setTopMargin(_GAP * 1.5 if block.position() else 0)
        shape.setBottomMargin(_GAP)
        cursor.setBlockFormat(shape)
    elif shape.topMargin() or shape.bottomMargin():
        cursor = QTextCursor(block)
        gap = 0 if cursor.currentTable() is not None else _ITEM_GAP if block.textList() is not None else _GAP
        shape.setTopMargin(gap if block.position() else 0)
        shape.setBottomMargin(gap if block.next().isValid() else 0)
        cursor.setBlockFormat(shape)


def _code_format() -> QTextCharFormat:
    style = QTextCharFormat()
    style.setFontFamilies([QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont).family()])
    style.setFontFixedPitch(True)
    return style


def _span(document: QTextDocument, start: int, end: int) -> QTextCursor:
    cursor = QTextCursor(document)
    cursor.setPosition(start)
    cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
    return cursor


def _frame_code(cursor: QTextCursor, colours: Palette) -> None:
    cursor.mergeCharFormat(_code_format())
    lines = QTextBlockFormat()
    lines.setNonBreakableLines(False)
    cursor.mergeBlockFormat(lines)
    shape = QTextFrameFormat()
    shape.setBackground(QColor(colours.panel))
    shape.setBorder(1)
    shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
    shape.setBorderBrush(QColor(colours.line))
    shape.setPadding(10)
    shape.setTopMargin(_GAP / 2)
    shape.setBottomMargin(_GAP)
    shape.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
    cursor.insertFrame(shape)


def _flatten_empty_blocks(document: QTextDocument) -> None:
    """Qt needs a block before and after each frame; an empty one must not look like an empty line."""
    flat = QTextBlockFormat()
    flat.setLineHeight(1, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
    for frame in document.rootFrame().childFrames():
        for block in (document.findBlock(frame.firstPosition() - 1), document.findBlock(frame.lastPosition() + 1)):
            if block.isValid() and block.length() == 1:
                QTextCursor(block).setBlockFormat(flat)


def _style_tables(frame: QTextFrame, colours: Palette) -> None:
    for child in frame.childFrames():
        if isinstance(child, QTextTable):
            shape = QTextTableFormat(child.format())
            shape.setBorder(1)
            shape.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
            shape.setBorderBrush(QColor(colours.line))
            shape.setBorderCollapse(True)
            shape.setCellPadding(6)
            shape.setCellSpacing(0)
            shape.setTopMargin(_GAP / 2)
            shape.setBottomMargin(_GAP)
            child.setFormat(shape)
        _style_tables(child, colours)
