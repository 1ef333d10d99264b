"""Text as it is, as high as it needs to be; appending costs the same however long it already is."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QMimeData, QSize, Qt
from PySide6.QtGui import QResizeEvent, QTextBlock, QTextCursor, QTextOption, QWheelEvent
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QWidget

from desktop.ui.chat.text_hygiene import clean

_PIECE = 1_000  # characters inserted at once
_LONG_BLOCK = 2_000  # Qt lays out a whole block at every change of it: a longer one is split where it wraps
_SPLIT = 1  # QTextBlock.userState of a block that goes on the line before


class PlainTextView(QPlainTextEdit):
    """Read-only, selectable, without scroll bars: it stands inside something that scrolls."""

    def __init__(self, width: int, parent: QWidget | None = None) -> None:
        """width: in pixels, what the layout will give it; saves laying out the text twice."""
        super().__init__(parent)
        self._settled_blocks = 0
        self._settled_height = 0.0
        self._wanted_height = 0
        self.setProperty("bare", True)
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.document().setDocumentMargin(0)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._take_width(width)

    def set_text(self, text: str) -> None:
        """Show this text instead."""
        self.clear()
        self._settled_blocks, self._settled_height = 0, 0.0
        self.append_text(text)

    def append_text(self, text: str) -> None:
        """Add to the end; the user's selection stays."""
        text = clean(text)
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        for start in range(0, len(text), _PIECE):
            cursor.insertText(text[start : start + _PIECE])
            self._split_last_block()
            cursor.movePosition(QTextCursor.MoveOperation.End)
        self._fit()

    def sizeHint(self) -> QSize:
        return QSize(100, self._wanted_height)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self._wanted_height)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self._settled_blocks, self._settled_height = 0, 0.0
            self._fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def createMimeDataFromSelection(self) -> QMimeData:
        """The selected text without the line ends that only this view put in."""
        cursor = self.textCursor()
        parts: list[str] = []
        block = self.document().findBlock(cursor.selectionStart())
        while block.isValid() and block.position() < cursor.selectionEnd():
            start = max(cursor.selectionStart() - block.position(), 0)
            parts.append("\n" if parts and block.userState() != _SPLIT else "")
            parts.append(block.text()[start : cursor.selectionEnd() - block.position()])
            block = block.next()
        data = QMimeData()
        data.setText("".join(parts))
        return data

    def _take_width(self, width: int) -> None:
        """Wrap at this width now: a widget that was not shown yet hears of its size only later."""
        size = QSize(width, self.fontMetrics().lineSpacing())
        self.resize(size)
        self.viewport().resize(size)
        QCoreApplication.sendEvent(self.viewport(), QResizeEvent(size, QSize(-1, -1)))

    def _split_last_block(self) -> None:
        block = self.document().lastBlock()
        if block.length() <= _LONG_BLOCK:
            return
        self._height_of(block)  # has it laid out
        layout = block.layout()
        if layout.lineCount() > 1:
            cursor = QTextCursor(block)
            cursor.setPosition(block.position() + layout.lineAt(layout.lineCount() - 1).textStart())
            cursor.insertBlock()
            cursor.block().setUserState(_SPLIT)

    def _height_of(self, block: QTextBlock) -> float:
        return self.document().documentLayout().blockBoundingRect(block).height()

    def _fit(self) -> None:
        """Take the height of the text. Blocks before the last do not change any more and are measured once."""
        last = self.document().blockCount() - 1
        block = self.document().findBlockByNumber(self._settled_blocks)
        while self._settled_blocks < last:
            self._settled_height += self._height_of(block)
            self._settled_blocks += 1
            block = block.next()
        height = round(self._settled_height + self._height_of(self.document().lastBlock()) + 0.5)
        if height != self._wanted_height:
            self._wanted_height = height
            self.setFixedHeight(height)
