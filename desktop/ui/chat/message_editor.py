"""Where a message is written anew, in its own place: the text, Save and Cancel."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from desktop.ui.chat.message_edit import MessageEdit
from desktop.ui.theme import SPACE

LONGEST = 100_000  # characters that can be edited: more would take longer to lay out than a window may stand still


class MessageEditor(QFrame):
    """Signals:
    saved: the new text. cancelled: nothing is to change.
    """

    saved = Signal(str)
    cancelled = Signal()

    def __init__(self, text: str, save_words: str, parent: QWidget | None = None) -> None:
        """save_words: what saving does, "Send" for the user's own message."""
        super().__init__(parent)
        self.setObjectName("UserBubble")
        self.edit = MessageEdit(self)
        self.edit.setAccessibleName("Edit the message")
        self.edit.setPlainText(text)
        self.edit.moveCursor(self.edit.textCursor().MoveOperation.End)
        self.edit.submitted.connect(self._on_save_clicked)
        self.edit.textChanged.connect(self._on_text_changed)
        cancel = QPushButton("Cancel", self)
        cancel.setAccessibleName("Cancel the edit")
        cancel.clicked.connect(self.cancelled)
        self._save = QPushButton(save_words, self)
        self._save.setProperty("primary", True)
        self._save.setAccessibleName(save_words)
        self._save.clicked.connect(self._on_save_clicked)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._save)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[2], SPACE[2], SPACE[2], SPACE[2])
        column.addWidget(self.edit)
        column.addLayout(buttons)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_text_changed(self) -> None:
        self._save.setEnabled(bool(self.edit.toPlainText().strip()))

    @Slot()
    def _on_save_clicked(self) -> None:
        if text := self.edit.toPlainText().strip():
            self.saved.emit(text)
