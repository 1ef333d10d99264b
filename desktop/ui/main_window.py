"""The window: lays out header, rail, pages and gauge, and connects them to the services."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QTimer, Signal, Slot
from PySide6.QtGui import QCloseEvent, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QVBoxLayout, QWidget

from desktop.domain.errors import Action
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.notices import Notices
from desktop.storage.settings import Settings
from desktop.ui.actions import Actions
from desktop.ui.chat.chat_page import ChatPage
from desktop.ui.header import Header
from desktop.ui.memory.memory_desk import MemoryDesk
from desktop.ui.model_menu import ModelMenu
from desktop.ui.models.models_pages import ModelsPages
from desktop.ui.notice_bar import NoticeBar
from desktop.ui.pages import Pages
from desktop.ui.preferences import Preferences
from desktop.ui.rail import Rail

if TYPE_CHECKING:
    from desktop.services.models import Models
    from desktop.ui.chat.compare_page import ComparePage
    from desktop.ui.chat.transfer_dialogs import TransferDialogs
    from desktop.ui.settings_page import SettingsPage

_SIZE = (1280, 800)
_SMALLEST = (760, 480)
_PREPARE_MILLISECONDS = 150
_LOADED_OR_LOADING = (EngineState.LOADING, EngineState.READY)
_PAGES = {Action.SHOW_MODELS: "Models", Action.SHOW_JOBS: "Quantize"}


class MainWindow(QMainWindow):
    """Signals:
    close_requested: the user wants to leave; nothing closes until allow_close() and close() are called.
    settings_changed: the new Settings, to be saved and brought into force.
    search_requested: the text to search all conversations for.
    export_requested: a path, and the id of a conversation or 0 for all. import_requested: a path.
    notice_action_triggered: the Action of a notice that the window cannot do by itself.
    """

    close_requested = Signal()
    settings_changed = Signal(object)
    search_requested = Signal(str)
    export_requested = Signal(str, int)
    import_requested = Signal(str)
    notice_action_triggered = Signal(object)

    def __init__(
        self,
        host: EngineHost,
        chats: Chats,
        notices: Notices,
        models: Callable[[], Models],
        gauge: QWidget,
        settings: Settings,
        demo_path: str,
        parent: QWidget | None = None,
    ) -> None:
        """models: builds what is known of the disk's models when that is first wanted. demo_path: the demo model's."""
        super().__init__(parent)
        self._host = host
        self._chats = chats
        self._models = models
        self.preferences = Preferences(settings, chats.tools, self)
        self._demo_path = demo_path
        self._memory = MemoryDesk(models, host, self.preferences, demo_path, self)
        self._may_close = False
        self.setWindowTitle("Turbodesk")
        self.setMinimumSize(*_SMALLEST)
        self.resize(*_SIZE)
        self._model_menu = ModelMenu([settings.checkpoint] if settings.checkpoint not in ("", demo_path) else [], self)
        self._header = Header(self._model_menu, demo_path, self)
        self._rail = Rail(self)
        self._pages = Pages(self)
        self._notice_bar = NoticeBar(notices, self)
        self.chat_page = ChatPage(host, chats, demo_path, self)
        self._settings_page: SettingsPage | None = None
        self._compare_page: ComparePage | None = None
        self._transfer_dialogs: TransferDialogs | None = None
        self._pages.add("Chat", lambda: self.chat_page)
        self._models_pages = ModelsPages(self._pages, models, host, self.preferences, demo_path, self)
        self._pages.add("Memory", self._memory.make_page)
        self._pages.add("Compare", self._make_compare_page)
        self._pages.add("Settings", self._make_settings_page)
        self._rail.add_page("Chat", "chat")
        self._rail.add_page("Models", "models")
        self._rail.add_page("Memory", "memory")
        self._rail.add_page("Quantize", "quantize")
        self._rail.add_page("Settings", "settings", at_bottom=True)
        self._lay_out(gauge)
        self.actions_registry = Actions(self)
        self._make_actions()
        self._model_menu.set_actions(
            [self._load_demo, self._open, self._server, self._to_models], [self._reload, self._unload]
        )
        self._connect()
        self._restore_geometry()
        self._on_status_changed(host.status)
        self.show_page("Chat")
        self.chat_page.composer.edit.setFocus()

    def allow_close(self) -> None:
        """From now on closing the window closes it."""
        self._may_close = True

    def geometry_text(self) -> str:
        """Where the window stands, as Settings keeps it."""
        return base64.b64encode(self.saveGeometry().data()).decode("ascii")

    def load(self, path: str) -> None:
        """Load a model folder; one that is known to bring its own program asks first."""
        entry = self._models().shelf.entries.get(path) if self._pages.is_built("Models") else None
        if entry is None:
            self._host.load(path)
        else:
            self._models().loader.load(entry)

    @Slot()
    def new_chat(self) -> None:
        """Go to the chat page and show an empty chat."""
        self.show_page("Chat")
        self.chat_page.new_chat()

    def type_message(self, text: str) -> None:
        """Put this text in the composer."""
        self.chat_page.composer.set_text(text)

    def press_send(self) -> None:
        """Press the composer's button, as long as it says Send."""
        self.chat_page.composer.submit()

    def show_page(self, name: str) -> None:
        """Go to the page of this name."""
        self._pages.show_page(name)

    @property
    def settings_page(self) -> SettingsPage:
        """The page, built when it is first wanted."""
        self._pages.page("Settings")
        assert self._settings_page is not None
        return self._settings_page

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        QTimer.singleShot(_PREPARE_MILLISECONDS, self._on_idle)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._may_close:
            event.accept()
        else:
            event.ignore()
            if self._settings_page is not None:
                self._settings_page.flush()
            self.close_requested.emit()

    def _make_settings_page(self) -> QWidget:
        from desktop.ui.settings_page import SettingsPage

        self._settings_page = SettingsPage(self.preferences.settings, self)
        self.preferences.serve_page(self._settings_page)
        return self._settings_page

    def _make_compare_page(self) -> QWidget:
        from desktop.ui.chat.compare_page import ComparePage

        self._compare_page = ComparePage(self._chats, self._host, self)
        self._compare_page.closed.connect(partial(self.show_page, "Chat"))
        return self._compare_page

    def _lay_out(self, gauge: QWidget) -> None:
        page = _column(self._notice_bar, self._pages, gauge)
        page.setStretch(1, 1)
        body = QHBoxLayout()
        body.setSpacing(0)
        body.addWidget(self._rail)
        body.addLayout(page, 1)
        centre = QWidget(self)
        whole = _column(self._header)
        whole.addLayout(body, 1)
        centre.setLayout(whole)
        self.setCentralWidget(centre)

    def _make_actions(self) -> None:
        add, chat = self.actions_registry.add, self.chat_page
        self._new = add("New chat", "Ctrl+N", self.new_chat)
        self._open = add("Open model folder…", "Ctrl+O", self._model_menu.ask_for_folder)
        self._server = add("Connect to a server…", "Ctrl+Shift+O", self._on_connect)
        self._get = add("Get models…", "Ctrl+G", self._models_pages.get_models)
        self._load_demo = add("Load the demo model", "", self._on_load_demo)
        self._reload = add("Reload the model", "Ctrl+Shift+R", self._host.reload)
        self._unload = add("Unload the model", "Ctrl+Shift+E", self._host.unload)
        self._send = add("Send the message", "Return", chat.composer.submit, only_in=chat.composer.edit)
        self._stop = add("Stop the reply", "Escape", chat.stop)
        self._attach = add("Attach files…", "Ctrl+U", chat.files.pick)
        self._again = add("Write another last reply", "Ctrl+R", chat.branches.regenerate_last)
        self._edit = add("Edit my last message", "Ctrl+E", chat.branches.edit_last)
        self._fork = add("Begin a new conversation from here", "", chat.branches.fork_last)
        self._copy_last = add("Copy the last reply", "Ctrl+Shift+C", self._on_copy_last)
        self._focus = add("Write a message", "Ctrl+L", self._on_focus_composer)
        self._search = add("Search all conversations", "Ctrl+F", self._on_search)
        self._previous = add("Previous conversation", "Ctrl+PgUp", self._on_previous)
        self._next = add("Next conversation", "Ctrl+PgDown", self._on_next)
        self._compare = add("Compare two settings", "Ctrl+D", self._on_compare)
        self._chat_settings = add("Settings of this conversation", "Ctrl+.", self._on_chat_settings)
        self._rename = add("Rename the conversation…", "", chat.panel.rename_current)
        self._pin = add("Pin or unpin the conversation", "", chat.panel.toggle_pin)
        self._delete = add("Delete the conversation", "", chat.panel.delete_current)
        self._undelete = add("Undo the deletion", "", chat.panel.undo_delete)
        self._trash = add("Recently deleted…", "", chat.panel.show_trash)
        self._folder = add("New folder…", "", chat.panel.add_folder)
        self._export = add("Export the conversation…", "", self._on_export_current)
        self._export_all = add("Export all conversations…", "", partial(self._on_export_requested, 0))
        self._import = add("Import conversations…", "", self._on_import_requested)
        self._to_chat = add("Go to Chat", "Ctrl+1", partial(self.show_page, "Chat"))
        self._to_models = add("Go to Models", "Ctrl+2", partial(self.show_page, "Models"))
        self._to_memory = add("Go to Memory", "Ctrl+3", partial(self.show_page, "Memory"))
        self._to_quantize = add("Go to Quantize", "Ctrl+4", partial(self.show_page, "Quantize"))
        self._to_settings = add("Go to Settings", "Ctrl+,", partial(self.show_page, "Settings"))
        self._quit = add("Quit", "Ctrl+Q", self.close)
        self._palette = add("Commands", "Ctrl+K", self._on_palette)

    def _connect(self) -> None:
        self._host.status_changed.connect(self._on_status_changed)
        self._chats.library.conversation_changed.connect(self._update_actions)
        self._rail.page_chosen.connect(self.show_page)
        self._pages.page_shown.connect(self._rail.set_page)
        self._header.stop_requested.connect(self._host.unload)
        self._models_pages.link_activated.connect(self.chat_page.ask_about_link)
        self._models_pages.settings_requested.connect(self._memory.load_with_settings)
        self._models_pages.chat_requested.connect(self._on_chat_requested)
        self._model_menu.load_requested.connect(self.load)
        self._memory.load_requested.connect(self.load)
        self._notice_bar.action_triggered.connect(self._on_action)
        self.chat_page.current_changed.connect(self._update_actions)
        self.chat_page.demo_requested.connect(self._on_load_demo)
        self.chat_page.folder_requested.connect(self._model_menu.ask_for_folder)
        self.chat_page.server_requested.connect(self._on_connect)
        self.chat_page.action_triggered.connect(self._on_action)
        self.chat_page.setting_chosen.connect(self.preferences.change_engine)
        self.chat_page.tool_answers.always_allowed.connect(self.preferences.allow_always)
        self.chat_page.settings_panel_built.connect(self.preferences.serve_panel)
        self.preferences.settings_changed.connect(self.settings_changed)
        self.chat_page.panel.search_requested.connect(self.search_requested)
        self.chat_page.panel.export_requested.connect(self._on_export_requested)
        self.chat_page.panel.import_requested.connect(self._on_import_requested)

    def _restore_geometry(self) -> None:
        if self.preferences.settings.geometry:
            try:
                self.restoreGeometry(QByteArray(base64.b64decode(self.preferences.settings.geometry, validate=True)))
            except (binascii.Error, ValueError):
                pass  # a window in its usual place is no loss

    @Slot()
    def _update_actions(self) -> None:
        state = self._host.status.state
        has_conversation = self.chat_page.current is not None
        loading = state is EngineState.LOADING
        self._unload.setText("Stop loading" if loading else "Unload the model")
        self._unload.setEnabled(state in _LOADED_OR_LOADING)
        self._reload.setEnabled(bool(self._host.status.path) and state is not EngineState.STOPPING)
        self._stop.setEnabled(self.chat_page.is_generating)
        for action in (
            self._copy_last,
            self._again,
            self._edit,
            self._fork,
            self._rename,
            self._pin,
            self._delete,
            self._export,
        ):
            action.setEnabled(has_conversation)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        self._header.set_status(status)
        if status.state is EngineState.READY and status.path != self._demo_path:
            self._model_menu.remember(status.path)
        self._update_actions()

    @Slot(object)
    def _on_action(self, action: Action) -> None:
        if action is Action.CHOOSE_MODEL:
            self._model_menu.ask_for_folder()
        elif action is Action.CONNECT:
            self._on_connect()
        elif action is Action.RELOAD:
            self._host.reload()
        elif action is Action.NEW_CHAT:
            self.new_chat()
        elif action in _PAGES:
            self.show_page(_PAGES[action])
        else:
            self.notice_action_triggered.emit(action)

    @Slot()
    def _on_idle(self) -> None:
        """What the first message would otherwise wait for."""
        from desktop.ui.chat import message_views
        from desktop.ui.markdown.preload import preload

        self.chat_page.prepare()
        threading.Thread(target=preload, name="preload", daemon=True).start()
        for number, step in enumerate((message_views.import_body, message_views.import_views), 1):
            QTimer.singleShot(number * _PREPARE_MILLISECONDS, step)

    @Slot()
    def _on_connect(self) -> None:
        self._models_pages.connect_to_server(self._model_menu.last_server)

    @Slot()
    def _on_load_demo(self) -> None:
        self.load(self._demo_path)

    @Slot(str)
    def _on_chat_requested(self, path: str) -> None:
        self.load(path)
        self.new_chat()

    @Slot()
    def _on_focus_composer(self) -> None:
        self.show_page("Chat")
        self.chat_page.composer.edit.setFocus()

    @Slot()
    def _on_copy_last(self) -> None:
        if (reply := self.chat_page.branches.last_reply) is not None:
            QGuiApplication.clipboard().setText(reply.content)

    @Slot()
    def _on_search(self) -> None:
        self.show_page("Chat")
        self.chat_page.panel.focus_search()

    @Slot()
    def _on_compare(self) -> None:
        """Not in the rail: it is a way of chatting, gone to and left again."""
        self.show_page("Compare")
        assert self._compare_page is not None
        self._compare_page.show_presets(self.preferences.settings.presets)
        self._compare_page.set_config(self.preferences.settings.engine)
        self._compare_page.edit.setFocus()

    @Slot()
    def _on_chat_settings(self) -> None:
        self.show_page("Chat")
        self.chat_page.toggle_settings()

    @Slot()
    def _on_export_current(self) -> None:
        if self.chat_page.current is not None:
            self._on_export_requested(self.chat_page.current)

    @Slot(int)
    def _on_export_requested(self, conversation_id: int) -> None:
        title = self._chats.library.conversation(conversation_id).title if conversation_id else "Conversations"
        self.transfer_dialogs.ask_where_to(conversation_id, title)

    @Slot()
    def _on_import_requested(self) -> None:
        self.transfer_dialogs.ask_what()

    @property
    def transfer_dialogs(self) -> TransferDialogs:
        """Built when they are first wanted: file dialogs are slow to import."""
        if self._transfer_dialogs is None:
            from desktop.ui.chat.transfer_dialogs import TransferDialogs

            self._transfer_dialogs = TransferDialogs(self)
            self._transfer_dialogs.export_requested.connect(self.export_requested)
            self._transfer_dialogs.import_requested.connect(self.import_requested)
        return self._transfer_dialogs

    @Slot()
    def _on_previous(self) -> None:
        self.show_page("Chat")
        self.chat_page.panel.step(-1)

    @Slot()
    def _on_next(self) -> None:
        self.show_page("Chat")
        self.chat_page.panel.step(1)

    @Slot()
    def _on_palette(self) -> None:
        from desktop.ui.command_palette import CommandPalette

        CommandPalette(self.actions_registry.all, self).open_over(self)


def _column(*widgets: QWidget) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for widget in widgets:
        column.addWidget(widget)
    return column
