"""What was deleted not long ago: brought back, or deleted for good."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMessageBox,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.counting import counted
from desktop.services.library import Library
from desktop.storage.trash import KEPT_SECONDS
from desktop.ui.chat.conversation_list_model import moment_in_words
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import SPACE

_ID = Qt.ItemDataRole.UserRole
_ROW = 34  # pixels high
_SHOWN = 200  # characters of a title
_KEPT = counted(round(KEPT_SECONDS / 86_400), "day")


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
        self.list = QTreeWidget(self)
        self.list.setHeaderLabels(["Title", "Deleted"])
        self.list.setHeaderHidden(True)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.list.header().setStretchLastSection(False)
        self.list.setRootIsDecorated(False)
        self.list.setAllColumnsShowFocus(True)
        self.list.setAccessibleName("Deleted conversations")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setUniformRowHeights(True)
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
        row = self.list.currentIndex().row()
        self.list.clear()
        items: list[QTreeWidgetItem] = []
        for conversation in self._library.trashed():
            title, when = clean(conversation.title[:_SHOWN]), moment_in_words(conversation.deleted_at or 0.0)
            item = QTreeWidgetItem(self.list, [title, when])
            items.append(item)
            item.setSizeHint(0, QSize(0, _ROW))
            item.setData(0, _ID, conversation.id)
            item.setData(0, Qt.ItemDataRole.AccessibleTextRole, f"{title}, deleted {when}")
        if items:
            self.list.setCurrentItem(items[max(0, min(row, len(items) - 1))])
        self._words.setVisible(bool(items))
        self.list.setVisible(bool(items))
        self.empty.setVisible(not items)
        (self.list if items else self.close_button).setFocus()
        self._on_selection_changed()

    def _selected(self) -> list[int]:
        return [int(item.data(0, _ID)) for item in self.list.selectedItems()]

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
        what = f"“{selected[0].text(0)}”" if len(selected) == 1 else counted(len(selected), "conversation")
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
