"""The box one types into: Enter sends, Shift+Enter makes a line, and it grows with what is written."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QInputMethodEvent, QKeyEvent, QResizeEvent, QTextOption
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QWidget

MOST_LINES = 8
LONGEST_TEXT = 20_000  # characters that are pasted; a box of a few lines is no place for more
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class MessageEdit(QPlainTextEdit):
    """Signals:
    submitted: Enter was pressed.
    focus_changed: whether it has the focus now.
    files_given: paths that were pasted or dropped. picture_given: a QImage that was.
    text_given: a text that was, and that is too long for this box.
    """

    submitted = Signal()
    focus_changed = Signal(bool)
    files_given = Signal(list)
    picture_given = Signal(object)
    text_given = Signal(str)

    def __init__(self, parent: QWidget | None = None, *, attaches: bool = False) -> None:
        """attaches: files, pictures and long texts are given out and not put in."""
        super().__init__(parent)
        self._attaches = attaches
        self._most_height = 1_000
        self._composing = False
        self.setProperty("bare", True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.document().setDocumentMargin(0)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabChangesFocus(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if event.key() in _ENTER and plain and not self._composing:
            self.submitted.emit()
            event.accept()
        else:
            super().keyPressEvent(event)

    def inputMethodEvent(self, event: QInputMethodEvent) -> None:
        # While a word is being composed, Enter belongs to the input method.
        self._composing = bool(event.preeditString())
        super().inputMethodEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.focus_changed.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._composing = False
        super().focusOutEvent(event)
        self.focus_changed.emit(False)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        attachable = self._attaches and (source.hasImage() or bool(_files(source)))
        return attachable or super().canInsertFromMimeData(source)

    def insertFromMimeData(self, source: QMimeData) -> None:
        # A picture from an office program comes with its text as well: then the text is meant.
        if not self._attaches:
            super().insertFromMimeData(source)
        elif files := _files(source):
            self.files_given.emit(files)
        elif source.hasImage() and not source.hasText():
            self.picture_given.emit(source.imageData())
        elif len(source.text()) > LONGEST_TEXT:
            self.text_given.emit(source.text())
        else:
            super().insertFromMimeData(source)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        return QSize(200, self.minimumHeight())

    def set_most_height(self, pixels: int) -> None:
        """Grow no higher than this, but at least two lines."""
        self._most_height = pixels
        self._fit()

    @Slot()
    def _fit(self) -> None:
        line = self._line_height()
        most = min(MOST_LINES, max(2, int(self._most_height / line)))
        height = round(min(max(int(self.document().size().height()), 1), most) * line) + 4
        if height != self.maximumHeight():
            self.setFixedHeight(height)

    def _line_height(self) -> float:
        """As it is laid out: the font's own figure is a part of a pixel less, which many lines add up."""
        first = self.document().firstBlock().layout()
        return first.lineAt(0).height() if first.lineCount() else self.fontMetrics().lineSpacing()


def _files(source: QMimeData) -> list[str]:
    return [url.toLocalFile() for url in source.urls() if url.isLocalFile()] if source.hasUrls() else []
