"""The list of conversations with the button for a new one."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.ui.chat.conversation_delegate import ConversationDelegate
from desktop.ui.chat.conversation_list_model import ConversationListModel, Role
from desktop.ui.icons import icon
from desktop.ui.theme import SPACE

WIDTH = 236

_DIALOG_WIDTH = 420


class ConversationPanel(QFrame):
    """Signals:
    chosen: the id of the conversation the user went to.
    new_requested: the button was clicked.
    rename_requested: id and new title. delete_requested: id, after a question.
    """

    chosen = Signal(int)
    new_requested = Signal()
    rename_requested = Signal(int, str)
    delete_requested = Signal(int)

    def __init__(self, model: ConversationListModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._dialog_about: int | None = None
        self._quiet = False
        self.setObjectName("ConversationPanel")
        self.setFixedWidth(WIDTH)
        self.new_button = QPushButton("New chat", self)
        self.new_button.setIcon(icon("plus"))
        self.new_button.setIconSize(QSize(16, 16))
        self.new_button.setAccessibleName("New chat")
        self.new_button.setToolTip("New chat (Ctrl+N)")
        self.new_button.clicked.connect(self.new_requested)
        self.list = QListView(self)
        self.list.setModel(model)
        self.list.setItemDelegate(ConversationDelegate(self.list))
        self.list.setUniformItemSizes(True)
        self.list.setMouseTracking(True)
        self.list.setAccessibleName("Conversations")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._on_menu_requested)
        self.list.selectionModel().currentChanged.connect(self._on_current_changed)
        for key, slot in (("F2", self.rename_current), ("Del", self.delete_current)):
            shortcut = QShortcut(QKeySequence(key), self.list)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(slot)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[1])
        column.addWidget(self.new_button)
        column.addWidget(self.list, 1)

    def set_current(self, conversation_id: int | None) -> None:
        """Select the row of a conversation; None selects nothing. Does not emit chosen."""
        selection = self.list.selectionModel()
        self._quiet = True
        row = self._model.row_of(conversation_id)
        if row < 0:
            selection.clear()
        else:
            index = self._model.index(row)
            selection.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
            self.list.scrollTo(index)
        self._quiet = False

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) conversation."""
        row = self.list.currentIndex().row() + by
        if self.list.currentIndex().row() < 0:
            row = 0
        if 0 <= row < self._model.rowCount():
            self.list.setCurrentIndex(self._model.index(row))

    @Slot()
    def rename_current(self) -> None:
        """Ask for another title of the selected conversation."""
        if (conversation_id := self._current_id()) is None:
            return
        from PySide6.QtWidgets import QInputDialog  # dialogs are not loaded before they are needed

        self._dialog_about = conversation_id
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Rename")
        dialog.setLabelText("Title of the conversation")
        dialog.setTextValue(str(self.list.currentIndex().data(Role.TITLE)))
        dialog.resize(_DIALOG_WIDTH, dialog.sizeHint().height())
        dialog.textValueSelected.connect(self._on_title_given)
        dialog.open()

    @Slot()
    def delete_current(self) -> None:
        """Delete the selected conversation, after a question."""
        if (conversation_id := self._current_id()) is None:
            return
        from PySide6.QtWidgets import QMessageBox

        self._dialog_about = conversation_id
        title = str(self.list.currentIndex().data(Role.TITLE))[:80]
        dialog = QMessageBox(
            QMessageBox.Icon.NoIcon,
            "Delete the conversation?",
            f"“{title}” and all its messages will be deleted.",
            QMessageBox.StandardButton.Cancel,
            self,
        )
        dialog.setTextFormat(Qt.TextFormat.PlainText)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        delete = dialog.addButton("Delete", QMessageBox.ButtonRole.DestructiveRole)
        delete.clicked.connect(self._on_delete_confirmed)
        dialog.setDefaultButton(QMessageBox.StandardButton.Cancel)
        dialog.setEscapeButton(QMessageBox.StandardButton.Cancel)
        dialog.open()

    def _current_id(self) -> int | None:
        index = self.list.currentIndex()
        return int(index.data(Role.CONVERSATION_ID)) if index.isValid() else None

    @Slot(str)
    def _on_title_given(self, title: str) -> None:
        if self._dialog_about is not None:
            self.rename_requested.emit(self._dialog_about, title)

    @Slot()
    def _on_delete_confirmed(self) -> None:
        if self._dialog_about is not None:
            self.delete_requested.emit(self._dialog_about)

    @Slot(QPoint)
    def _on_menu_requested(self, place: QPoint) -> None:
        index = self.list.indexAt(place)
        if not index.isValid():
            return
        self.list.setCurrentIndex(index)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Rename…", self.rename_current)
        menu.addAction("Delete…", self.delete_current)
        menu.popup(self.list.viewport().mapToGlobal(place))

    @Slot(QModelIndex, QModelIndex)
    def _on_current_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid() and not self._quiet:
            self.chosen.emit(int(current.data(Role.CONVERSATION_ID)))
