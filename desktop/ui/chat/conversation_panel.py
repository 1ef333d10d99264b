"""The list of conversations: new ones, folders, search, and the way back after a deletion."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QMenu,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.services.library import Library
from desktop.storage.search import SearchHit, TitleHit
from desktop.ui.chat.conversation_delegate import ConversationDelegate
from desktop.ui.chat.conversation_list_model import ConversationListModel, Kind, Role
from desktop.ui.chat.search_results import SearchResults
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE

WIDTH = 236

_DIALOG_WIDTH = 420
_UNDO_MILLISECONDS = 10_000
_TITLE = 24  # characters in the line about a deletion


class ConversationPanel(QFrame):
    """Signals:
    chosen: the id of the conversation the user went to.
    hit_chosen: conversation and message id of a place that was searched for.
    search_requested: the text to search for; "" ends the search.
    new_requested, import_requested: the buttons were clicked.
    export_requested: the id of a conversation; 0 for all.
    delete_requested: the id of a conversation. undo_requested: that of one that is to come back.
    """

    chosen = Signal(int)
    hit_chosen = Signal(int, int)
    search_requested = Signal(str)
    new_requested = Signal()
    import_requested = Signal()
    export_requested = Signal(int)
    delete_requested = Signal(int)
    undo_requested = Signal(int)

    def __init__(self, model: ConversationListModel, library: Library, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._library = library
        self._dialog_about: int | None = None
        self._current: int | None = None
        self._quiet = False
        self._deleted: list[tuple[int, str]] = []  # ids and titles, the last deleted at the end
        self.setObjectName("ConversationPanel")
        self.setFixedWidth(WIDTH)
        self.new_button = QPushButton("New chat", self)
        self.new_button.setIcon(icon("plus"))
        self.new_button.setIconSize(QSize(16, 16))
        self.new_button.setAccessibleName("New chat")
        self.new_button.setToolTip("New chat (Ctrl+N)")
        self.new_button.clicked.connect(self.new_requested)
        self._more = QToolButton(self)
        self._more.setIcon(icon("folder", Tint.PlaceholderText))
        self._more.setIconSize(QSize(18, 18))
        self._more.setToolTip("Folders, import and export")
        self._more.setAccessibleName("Folders, import and export")
        self._more.clicked.connect(self._on_more_clicked)
        self.search_field = QLineEdit(self)
        self.search_field.setPlaceholderText("Search (Ctrl+F)")
        self.search_field.setAccessibleName("Search all conversations")
        self.search_field.setClearButtonEnabled(True)
        for button in self.search_field.findChildren(QToolButton):
            button.setAccessibleName("Clear the search")
        self.search_field.textChanged.connect(self._on_search_edited)
        self._search_pause = QTimer(self)
        self._search_pause.setSingleShot(True)
        self._search_pause.setInterval(120)
        self._search_pause.timeout.connect(self._on_search_paused)
        self.list = self._make_list()
        self.results = SearchResults(self)
        self.results.chosen.connect(self.hit_chosen)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.list)
        self._stack.addWidget(self.results)
        self._undo_bar = self._make_undo_bar()
        down = QShortcut(QKeySequence(Qt.Key.Key_Down), self.search_field)
        down.setContext(Qt.ShortcutContext.WidgetShortcut)
        down.activated.connect(self.results.focus_first)
        self.search_field.returnPressed.connect(self.results.choose_first)
        leave = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.search_field)
        leave.setContext(Qt.ShortcutContext.WidgetShortcut)
        leave.activated.connect(self.search_field.clear)
        top = QHBoxLayout()
        top.setSpacing(SPACE[0])
        top.addWidget(self.new_button, 1)
        top.addWidget(self._more)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[1])
        column.addLayout(top)
        column.addWidget(self.search_field)
        column.addWidget(self._stack, 1)
        column.addWidget(self._undo_bar)
        # Last: with its rows in place, everything else about the list would cost a start what it costs with them.
        self.list.setModel(self._model)
        self.list.selectionModel().currentChanged.connect(self._on_current_changed)

    def _make_list(self) -> QListView:
        view = QListView(self)
        view.setItemDelegate(ConversationDelegate(view))
        view.setUniformItemSizes(True)
        view.setMouseTracking(True)
        view.setAccessibleName("Conversations")
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._on_menu_requested)
        view.clicked.connect(self._on_clicked)
        self._model.modelReset.connect(self._on_model_reset)
        for key, slot in (
            ("F2", self.rename_current),
            ("Del", self.delete_current),
            ("Ctrl+Z", self.undo_delete),
            ("Return", self._on_return_pressed),
        ):
            shortcut = QShortcut(QKeySequence(key), view)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(slot)
        return view

    def _make_undo_bar(self) -> QWidget:
        bar = QFrame(self)
        bar.setObjectName("UndoBar")
        self._undo_words = QLabel(bar)
        self._undo_words.setTextFormat(Qt.TextFormat.PlainText)
        self._undo_words.setWordWrap(True)
        self._undo = QPushButton("Undo", bar)
        self._undo.setAccessibleName("Undo the deletion")
        self._undo.clicked.connect(self.undo_delete)
        row = QHBoxLayout(bar)
        row.setContentsMargins(SPACE[1], SPACE[0], SPACE[0], SPACE[0])
        row.addWidget(self._undo_words, 1)
        row.addWidget(self._undo)
        self._undo_time = QTimer(self)
        self._undo_time.setSingleShot(True)
        self._undo_time.setInterval(_UNDO_MILLISECONDS)
        self._undo_time.timeout.connect(bar.hide)
        bar.hide()
        return bar

    def set_current(self, conversation_id: int | None) -> None:
        """Select the row of a conversation; None selects nothing. Does not emit chosen."""
        self._current = conversation_id
        if conversation_id is not None:
            self._model.reveal(conversation_id)
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
        row = self._model.row_of(self._current)
        row = row + by if row >= 0 else 0
        while 0 <= row < self._model.rowCount():
            index = self._model.index(row)
            if index.data(Role.KIND) == Kind.CONVERSATION:
                self.list.setCurrentIndex(index)
                return
            row += by

    @Slot()
    def focus_search(self) -> None:
        """Let the user type what to search for."""
        self.search_field.setFocus()
        self.search_field.selectAll()

    @Slot()
    def rename_current(self) -> None:
        """Ask for another title of the selected conversation, or another name of the selected folder."""
        index = self.list.currentIndex()
        kind = index.data(Role.KIND) if index.isValid() else None
        if kind == Kind.CONVERSATION:
            self._ask("Rename", "Title of the conversation", index, self._on_title_given)
        elif kind == Kind.FOLDER:
            self._ask("Rename the folder", "Name of the folder", index, self._on_folder_name_given)

    @Slot()
    def delete_current(self) -> None:
        """Delete the selected conversation, which can be undone; or the selected folder, whose conversations stay."""
        index = self.list.currentIndex()
        if not index.isValid():
            return
        if index.data(Role.KIND) == Kind.FOLDER:
            self._library.delete_folder(index.data(Role.ROW_ID))
        elif index.data(Role.KIND) == Kind.CONVERSATION:
            self._deleted.append((int(index.data(Role.ROW_ID)), str(index.data(Role.TITLE))))
            self.delete_requested.emit(self._deleted[-1][0])
            self._offer_undo()

    @Slot()
    def undo_delete(self) -> None:
        """Bring back the conversation that was deleted last; called again, the one before."""
        self._forget_what_is_back()
        if self._deleted:
            self.undo_requested.emit(self._deleted.pop()[0])
        self._offer_undo()

    @Slot()
    def show_trash(self) -> None:
        """List what was deleted, to be brought back."""
        from desktop.ui.chat.trash_dialog import TrashDialog

        self._undo_bar.hide()  # what it offers may not be there any more afterwards
        dialog = TrashDialog(self._library, self)
        dialog.restore_requested.connect(self.undo_requested)
        dialog.open()

    def _offer_undo(self) -> None:
        self._forget_what_is_back()
        if self._deleted:
            title = self._deleted[-1][1]
            self.say(f"Deleted “{title if len(title) <= _TITLE else title[: _TITLE - 1] + '…'}”", undo=True)
        else:
            self._undo_bar.hide()

    def _forget_what_is_back(self) -> None:
        """Or was deleted for good."""
        there = {conversation.id for conversation in self._library.trashed()} if self._deleted else set()
        self._deleted = [known for known in self._deleted if known[0] in there]

    @Slot()
    def toggle_pin(self) -> None:
        """Keep the open conversation at the top, or no longer."""
        if self._current is not None:
            pinned = self._library.conversation(self._current).pinned
            self._library.set_pinned(self._current, not pinned)

    @Slot()
    def add_folder(self) -> None:
        """Ask for the name of a new folder."""
        self._ask("New folder", "Name of the folder", QModelIndex(), self._on_new_folder_named)

    def say(self, words: str, *, undo: bool = False) -> None:
        """Say for a moment what was done. undo: a deletion, which can be taken back."""
        self._undo_words.setText(words)
        self._undo.setVisible(undo)
        self._undo_bar.show()
        self._undo_time.start()

    def _ask(self, title: str, words: str, index: QModelIndex, slot: object) -> None:
        from PySide6.QtWidgets import QInputDialog  # dialogs are not loaded before they are needed

        self._dialog_about = int(index.data(Role.ROW_ID)) if index.isValid() else None
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(title)
        dialog.setLabelText(words)
        dialog.setTextValue(str(index.data(Role.TITLE)) if index.isValid() else "")
        dialog.resize(_DIALOG_WIDTH, dialog.sizeHint().height())
        dialog.textValueSelected.connect(slot)
        dialog.open()

    @Slot(str)
    def _on_title_given(self, title: str) -> None:
        if self._dialog_about is not None and self._library.has(self._dialog_about):
            self._library.rename(self._dialog_about, title)

    @Slot(str)
    def _on_folder_name_given(self, name: str) -> None:
        if self._dialog_about is not None and self._library.folder_name(self._dialog_about):
            self._library.rename_folder(self._dialog_about, name)

    @Slot(str)
    def _on_new_folder_named(self, name: str) -> None:
        if name.strip():
            folder = self._library.add_folder(name)
            if self._dialog_about is not None and self._library.has(self._dialog_about):
                self._library.set_folder(self._dialog_about, folder)

    @Slot()
    def _on_more_clicked(self) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("New folder…", self.add_folder)
        menu.addAction("Recently deleted…", self.show_trash)
        menu.addSeparator()
        menu.addAction("Import…", self.import_requested.emit)
        menu.addAction("Export all conversations…", partial(self.export_requested.emit, 0))
        menu.popup(self._more.mapToGlobal(QPoint(0, self._more.height())))

    @Slot(QPoint)
    def _on_menu_requested(self, place: QPoint) -> None:
        index = self.list.indexAt(place)
        if not index.isValid() or index.data(Role.KIND) == Kind.HEADING:
            return
        self.list.setCurrentIndex(index)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Rename…", self.rename_current)
        if index.data(Role.KIND) == Kind.CONVERSATION:
            conversation = self._library.conversation(int(index.data(Role.ROW_ID)))
            menu.addAction("Unpin" if conversation.pinned else "Pin to the top", self.toggle_pin)
            folders = menu.addMenu("Move to a folder")
            for folder in self._library.folders():
                action = folders.addAction(folder.name, partial(self._library.set_folder, conversation.id, folder.id))
                _tick(action, folder.id == conversation.folder_id)
            if conversation.folder_id is not None:
                folders.addAction("No folder", partial(self._library.set_folder, conversation.id, None))
            folders.addSeparator()
            new = partial(self._ask, "New folder", "Name of the folder", QModelIndex(index), self._on_new_folder_named)
            folders.addAction("New folder…", new)
            menu.addAction("Export…", partial(self.export_requested.emit, conversation.id))
            menu.addAction("Delete", self.delete_current)
        else:
            menu.addAction("Delete the folder", self.delete_current)
        menu.popup(self.list.viewport().mapToGlobal(place))

    @Slot(QModelIndex, QModelIndex)
    def _on_current_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid() and not self._quiet and current.data(Role.KIND) == Kind.CONVERSATION:
            self.chosen.emit(int(current.data(Role.ROW_ID)))

    @Slot(QModelIndex)
    def _on_clicked(self, index: QModelIndex) -> None:
        if index.data(Role.KIND) == Kind.FOLDER:
            self._model.toggle(int(index.data(Role.ROW_ID)))

    @Slot()
    def _on_return_pressed(self) -> None:
        if self.list.currentIndex().isValid():
            self._on_clicked(self.list.currentIndex())

    @Slot()
    def _on_model_reset(self) -> None:
        self.set_current(self._current)

    @Slot()
    def _on_search_edited(self) -> None:
        if self.search_field.text().strip():
            self._search_pause.start()
        else:
            self._search_pause.stop()
            self._stack.setCurrentWidget(self.list)
            self.search_requested.emit("")

    @Slot()
    def _on_search_paused(self) -> None:
        if self._stack.currentWidget() is not self.results:
            self.results.show_searching()
            self._stack.setCurrentWidget(self.results)
        self.search_requested.emit(self.search_field.text())

    def show_hits(self, text: str, titles: list[TitleHit], hits: list[SearchHit]) -> None:
        """Show what was found, if it is still what is searched for."""
        if text == self.search_field.text():
            self.results.show_hits(titles, hits, self._library)


def _tick(action: QAction, checked: bool) -> None:
    action.setCheckable(True)
    action.setChecked(checked)
