"""What was deleted not long ago: brought back, or deleted for good."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.services.library import Library
from desktop.storage.trash import KEPT_SECONDS
from desktop.ui.chat.conversation_list_model import moment_in_words
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.format import counted
from desktop.ui.theme import SPACE

_ID = Qt.ItemDataRole.UserRole
_SHOWN = 200  # characters of a title
_KEPT = f"{KEPT_SECONDS / 86_400:.0f} days"


class TrashDialog(QDialog):
    """Enter restores what is selected, Delete deletes it for good after a question.

    Signals:
        restore_requested: the id of a conversation.
    """

    restore_requested = Signal(int)

    def __init__(self, library: Library, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._library = library
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Recently deleted")
        self.empty = QLabel(f"Nothing was deleted in the last {_KEPT}.", self)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._words = QLabel(f"Deleted conversations are kept for {_KEPT}.", self)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Deleted conversations")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setUniformItemSizes(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemSelectionChanged.connect(self._on_selection_changed)
        self.list.itemDoubleClicked.connect(self._on_restore_clicked)
        self.restore = QPushButton("Restore", self)
        self.restore.setAccessibleName("Restore the selected conversations")
        self.restore.setProperty("primary", True)
        self.restore.setDefault(True)
        self.restore.clicked.connect(self._on_restore_clicked)
        self.delete = QPushButton("Delete for good…", self)
        self.delete.setAccessibleName("Delete the selected conversations for good")
        self.delete.setAutoDefault(False)
        self.delete.clicked.connect(self._on_delete_clicked)
        delete_key = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        delete_key.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete_key.activated.connect(self._on_delete_clicked)
        self.close_button = QPushButton("Close", self)
        self.close_button.setAccessibleName("Close")
        self.close_button.setAutoDefault(False)
        self.close_button.clicked.connect(self.accept)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self.delete)
        buttons.addStretch(1)
        buttons.addWidget(self.close_button)
        buttons.addWidget(self.restore)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        column.setSpacing(SPACE[1])
        column.addWidget(self._words)
        column.addWidget(self.list, 1)
        column.addWidget(self.empty, 1)
        column.addLayout(buttons)
        self.resize(460, 420)
        self._fill()

    def _fill(self) -> None:
        row = max(self.list.currentRow(), 0)
        self.list.clear()
        for conversation in self._library.trashed():
            title = clean(conversation.title[:_SHOWN])
            item = QListWidgetItem(f"{title}\ndeleted {moment_in_words(conversation.deleted_at or 0.0)}", self.list)
            item.setData(_ID, conversation.id)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, item.text().replace("\n", ", "))
        count = self.list.count()
        self.list.setCurrentRow(min(row, count - 1))
        self._words.setVisible(count > 0)
        self.list.setVisible(count > 0)
        self.empty.setVisible(count == 0)
        (self.list if count else self.close_button).setFocus()
        self._on_selection_changed()

    def _selected(self) -> list[int]:
        return [int(item.data(_ID)) for item in self.list.selectedItems()]

    @Slot()
    def _on_selection_changed(self) -> None:
        for button in (self.restore, self.delete):
            button.setEnabled(bool(self.list.selectedItems()))

    @Slot()
    def _on_restore_clicked(self) -> None:
        for conversation_id in self._selected():
            self.restore_requested.emit(conversation_id)
        self._fill()

    @Slot()
    def _on_delete_clicked(self) -> None:
        selected = self.list.selectedItems()
        if not selected:
            return
        title = selected[0].text().split("\n")[0]
        what = f"“{title}”" if len(selected) == 1 else counted(len(selected), "conversation")
        question = QMessageBox(self)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.setWindowTitle("Delete for good")
        question.setIcon(QMessageBox.Icon.Warning)
        question.setTextFormat(Qt.TextFormat.PlainText)
        question.setText(f"Delete {what} for good? This cannot be undone.")
        delete = question.addButton("Delete for good", QMessageBox.ButtonRole.DestructiveRole)
        delete.clicked.connect(self._on_deletion_confirmed)
        question.setDefaultButton(question.addButton(QMessageBox.StandardButton.Cancel))
        question.open()

    @Slot()
    def _on_deletion_confirmed(self) -> None:
        for conversation_id in self._selected():
            self._library.delete_for_good(conversation_id)
        self._fill()
