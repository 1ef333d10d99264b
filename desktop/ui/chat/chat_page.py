"""The chat page: the list of conversations, the one that is open, its settings, and the composer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from desktop.domain.conversation import ChatSettings, Conversation, Message, MessageState
from desktop.domain.counting import counted
from desktop.domain.errors import Action
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.chat.branch_actions import BranchActions
from desktop.ui.chat.composer import Composer
from desktop.ui.chat.context_watch import ContextWatch
from desktop.ui.chat.conversation_list_model import ConversationListModel
from desktop.ui.chat.conversation_panel import ConversationPanel
from desktop.ui.chat.conversation_view import COLUMN_WIDTH, ConversationView
from desktop.ui.chat.draft_files import DraftFiles
from desktop.ui.chat.empty_state import EmptyState
from desktop.ui.chat.reply_meter import ReplyMeter
from desktop.ui.chat.tool_answers import ToolAnswers
from desktop.ui.theme import SPACE
from desktop.ui.words import model_name, speed

if TYPE_CHECKING:
    from desktop.ui.chat.chat_settings_panel import ChatSettingsPanel
    from desktop.ui.failure_card import FailureCard

_COMPOSER_WIDTH = COLUMN_WIDTH + 40
_WIDTH_FOR_BOTH = 960
_DRAFT_MILLISECONDS = 1_000
_COMPOSER_PART = 6  # of the page's height, at most, for the text that is being written: one part in so many
_ABSENT = (EngineState.UNLOADED, EngineState.FAILED)


class ChatPage(QWidget):
    """Drives Chats; asks the window for everything that concerns the model or files.

    Signals:
        current_changed: another conversation is open, or none.
        demo_requested, folder_requested, server_requested: which model to load.
        settings_panel_built: the ChatSettingsPanel, when it is first wanted.
        action_triggered: an Action that is not about one reply.
        setting_chosen: see FailureCard.
    """

    current_changed = Signal()
    demo_requested = Signal()
    folder_requested = Signal()
    server_requested = Signal()
    settings_panel_built = Signal(object)
    action_triggered = Signal(object)
    setting_chosen = Signal(object)

    def __init__(self, host: EngineHost, chats: Chats, demo_path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._host = host
        self._chats = chats
        self._library = chats.library
        self._demo_path = demo_path
        self._current: int | None = None
        self._edits: dict[int | None, dict[int, str]] = {}  # of messages that were being edited, by their ids
        self._new_settings: ChatSettings | None = None  # of the chat that is not begun yet
        self._failure_card: FailureCard | None = None
        self._settings_panel: ChatSettingsPanel | None = None
        self._meter = ReplyMeter(chats, self)
        self._list_model = ConversationListModel(chats, self._meter, self)
        self.panel = ConversationPanel(self._list_model, self._library, self)
        self.view = ConversationView(self)
        self.view.set_data_source(self._library.data)
        self.empty = EmptyState(self)
        self.composer = Composer(self)
        self.files = DraftFiles(chats, host, self.composer, self)
        self._context = ContextWatch(chats, host, self._meter, self.files, self.composer.meter, self)
        self.branches = BranchActions(chats, self.view, self)
        self.tool_answers = ToolAnswers(chats, self.view, self)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.view)
        self._draft_pause = QTimer(self)
        self._draft_pause.setSingleShot(True)
        self._draft_pause.setInterval(_DRAFT_MILLISECONDS)
        self._draft_pause.timeout.connect(self.keep_draft)
        self.setAcceptDrops(True)
        self._lay_out()
        self.composer.set_text(self._library.draft(None))
        self._connect()
        self._show_status()

    def _lay_out(self) -> None:
        self._card_place = QVBoxLayout()
        self._bottom = QVBoxLayout()
        self._bottom.setSpacing(SPACE[1])
        self._bottom.addLayout(self._card_place)
        self._bottom.addWidget(self.composer)
        self._bottom.setContentsMargins(0, SPACE[0], 0, SPACE[2])
        # As wide as the column of messages, or less where there is less room.
        middle = QHBoxLayout()
        middle.setContentsMargins(SPACE[2], 0, SPACE[2], 0)
        middle.addStretch(1)
        middle.addLayout(self._bottom, 1_000)
        middle.addStretch(1)
        self.composer.setMaximumWidth(_COMPOSER_WIDTH)
        chat = QVBoxLayout()
        chat.setContentsMargins(0, 0, 0, 0)
        chat.setSpacing(0)
        chat.addWidget(self._stack, 1)
        chat.addLayout(middle)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addWidget(self.panel)
        self._row.addLayout(chat, 1)
        QWidget.setTabOrder(self.panel.new_button, self.panel.search_field)
        QWidget.setTabOrder(self.panel.search_field, self.panel.list)
        QWidget.setTabOrder(self.panel.list, self.view)
        QWidget.setTabOrder(self.view, self.composer.edit)
        QWidget.setTabOrder(self.composer.edit, self.composer.button)

    def _connect(self) -> None:
        self.panel.chosen.connect(self.open_conversation)
        self.panel.hit_chosen.connect(self._on_hit_chosen)
        self.panel.new_requested.connect(self.new_chat)
        self.panel.delete_requested.connect(self._chats.trash)
        self.panel.undo_requested.connect(self._on_undo_requested)
        self.branches.forked.connect(self.open_conversation)
        self.branches.asked.connect(self.composer.edit.setFocus)
        self.branches.refused.connect(self.composer.bar.say)
        self.branches.setting_chosen.connect(self.setting_chosen)
        self.view.edit_ended.connect(self.composer.edit.setFocus)
        self.view.action_triggered.connect(self._on_action_triggered)
        self.view.link_activated.connect(self.ask_about_link)
        self.empty.question_chosen.connect(self.send)
        self.empty.demo_requested.connect(self.demo_requested)
        self.empty.folder_requested.connect(self.folder_requested)
        self.empty.server_requested.connect(self.server_requested)
        self.composer.send_requested.connect(self._on_send_requested)
        self.composer.stop_requested.connect(self.stop)
        self.composer.settings_requested.connect(self.toggle_settings)
        self.composer.edit.textChanged.connect(self._on_draft_changed)
        self._context.left_out_changed.connect(self.view.set_left_out)
        self._library.message_added.connect(self._on_message_added)
        self._library.message_changed.connect(self._on_message_changed)
        self._library.branch_changed.connect(self._on_branch_changed)
        self._library.conversation_changed.connect(self._on_conversation_changed)
        self._library.conversation_removed.connect(self._on_conversation_removed)
        self._chats.text_appended.connect(self.view.append_text)
        self._chats.reasoning_appended.connect(self.view.append_reasoning)
        self._host.status_changed.connect(self._show_status)
        self._meter.ticked.connect(self._on_ticked)

    @property
    def current(self) -> int | None:
        """The id of the open conversation; None for a chat that is not begun yet."""
        return self._current

    @property
    def is_generating(self) -> bool:
        """Whether a reply of the open conversation is being written."""
        return self._current is not None and self._chats.is_generating(self._current)

    @Slot(int)
    def open_conversation(self, conversation_id: int) -> None:
        """Show a conversation. What is generated elsewhere goes on."""
        if conversation_id == self._current:
            return
        self._leave()
        self._set_current(conversation_id)
        self.view.show_messages(self._chats.messages(conversation_id))
        self._after_switch()

    @Slot()
    def new_chat(self) -> None:
        """Show the empty page; the conversation begins with its first message."""
        self._leave()
        self._set_current(None)
        self.view.show_messages([])
        self._after_switch()
        self.composer.edit.setFocus()

    @Slot(str)
    def send(self, text: str) -> None:
        """Send a message in the open conversation, or begin one. Without a model it waits for one to be loaded."""
        if self._settings_panel is not None:
            self._settings_panel.flush()
        settings = self._new_settings if self._current is None else None
        sent_to = self._chats.send(self._current, text, self.files.take(), settings)
        if self._current is None and sent_to is not None:
            self._new_settings = None
            self.open_conversation(sent_to)

    def prepare(self) -> None:
        """What can wait until the window is there, and what the first message would otherwise wait for."""
        self._list_model.show_all()
        # The first widget that Qt and not Python made has PySide build every widget class, to find the right one.
        self.view.verticalScrollBar().parentWidget()

    @Slot()
    def stop(self) -> None:
        """Stop the replies of the open conversation."""
        if self._current is not None:
            self._chats.stop(self._current)

    @Slot()
    def toggle_settings(self) -> None:
        """Show the settings of this conversation, or hide them."""
        if self._settings_panel is None:
            from desktop.ui.chat.chat_settings_panel import ChatSettingsPanel

            self._settings_panel = ChatSettingsPanel(self)
            self._settings_panel.hide()
            self._settings_panel.closed.connect(self.toggle_settings)
            self._settings_panel.settings_changed.connect(self._on_settings_edited)
            self._row.addWidget(self._settings_panel)
            self.settings_panel_built.emit(self._settings_panel)
        panel = self._settings_panel
        panel.flush()
        panel.setVisible(panel.isHidden())
        self._share_room()
        self._show_settings()
        (panel if panel.isVisible() else self.composer.edit).setFocus()

    def _set_current(self, conversation_id: int | None) -> None:
        """Before its messages are shown: the view asks about them."""
        self._current = conversation_id
        self.branches.set_conversation(conversation_id)
        self.tool_answers.set_conversation(conversation_id)

    def _leave(self) -> None:
        """Keep what belongs to the conversation that is left."""
        if self._settings_panel is not None:
            self._settings_panel.flush()
        self.keep_draft()
        self._edits[self._current] = self.view.edits
        self.files.keep(self._current)

    def _after_switch(self) -> None:
        self.composer.set_text(self._library.draft(self._current))
        self.files.bring_back(self._current)
        self.panel.set_current(self._current)
        self._stack.setCurrentWidget(self.empty if self._current is None else self.view)
        for message_id, text in self._edits.pop(self._current, {}).items():
            self.view.edit(message_id, text)
        self._context.set_conversation(self._current)
        self._show_settings()
        self._show_status()
        self._on_ticked()
        self.current_changed.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.composer.edit.set_most_height(self.height() // _COMPOSER_PART)
        self._share_room()

    def _share_room(self) -> None:
        """In a narrow window the settings of a conversation take the place of the list."""
        settings = self._settings_panel is not None and not self._settings_panel.isHidden()
        self.panel.setVisible(not settings or self.width() >= _WIDTH_FOR_BOTH)

    def _show_settings(self) -> None:
        if self._settings_panel is not None and self._settings_panel.isVisible():
            mine = self._new_settings
            if self._current is not None:
                mine = self._library.conversation(self._current).settings
            self._settings_panel.show_settings(mine, self._chats.defaults)

    @Slot()
    def _show_status(self) -> None:
        """Everything on the page that depends on the engine or on what is open."""
        status = self._host.status
        is_demo = status.path in ("", self._demo_path)
        name = "the demo model" if is_demo else model_name(status)
        self.empty.show_status(status, name, is_demo=is_demo)
        self.composer.set_model_name(name)
        self.composer.set_generating(self.is_generating)
        self.files.check()
        if status.state in _ABSENT:
            self.composer.set_hint(f"{name[:1].upper()}{name[1:]} loads first")
        elif status.state is EngineState.LOADING:
            self.composer.set_hint("Sent as soon as the model is ready")
        else:
            self.composer.set_hint("Enter sends · Shift+Enter makes a new line")
        self._show_failure(status)

    def _show_failure(self, status: EngineStatus) -> None:
        last = self.view.last_message
        # A reply that was cut by the same failure says so itself, with the better button.
        said = last is not None and last.failure is not None
        problem = None if said else status.failure
        if self._failure_card is not None and self._failure_card.failure is not problem:
            self._card_place.removeWidget(self._failure_card)
            self._failure_card.hide()
            self._failure_card.deleteLater()
            self._failure_card = None
        if problem is not None and self._failure_card is None:
            from desktop.ui.failure_card import FailureCard

            self._failure_card = FailureCard(problem, parent=self)
            self._failure_card.setMaximumWidth(_COMPOSER_WIDTH)
            self._failure_card.setting_chosen.connect(self.setting_chosen)
            self._failure_card.action_triggered.connect(self.action_triggered)
            self._card_place.addWidget(self._failure_card)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.files.add([url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()])
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()

    @Slot(str)
    def _on_send_requested(self, text: str) -> None:
        self.composer.set_text("")
        self.keep_draft()
        self.send(text)

    @Slot()
    def _on_draft_changed(self) -> None:
        self._context.set_draft(self.composer.text)
        if not self._draft_pause.isActive():
            self._draft_pause.start()

    @Slot()
    def keep_draft(self) -> None:
        """Save what is written in the composer, which otherwise happens once a second."""
        self._draft_pause.stop()
        self._library.set_draft(self._current, self.composer.text)

    @Slot(object)
    def _on_settings_edited(self, settings: ChatSettings | None) -> None:
        if self._current is None:
            self._new_settings = settings
        elif self._library.has(self._current):
            self._library.set_settings(self._current, settings)
        self._context.recount()

    @Slot(int, int)
    def _on_hit_chosen(self, conversation_id: int, message_id: int) -> None:
        if not self._library.has(conversation_id):
            return
        self.open_conversation(conversation_id)
        if message_id in self._library.tree(conversation_id):
            if all(message.id != message_id for message in self._library.branch(conversation_id)):
                self._library.select(conversation_id, message_id)
            self.view.jump_to(message_id)

    @Slot(int)
    def _on_undo_requested(self, conversation_id: int) -> None:
        self._library.restore(conversation_id)
        if self._library.has(conversation_id):
            self.open_conversation(conversation_id)

    @Slot(object)
    def _on_action_triggered(self, action: Action) -> None:
        if action is Action.NEW_CHAT:
            self.new_chat()
        else:
            self.action_triggered.emit(action)
            self.composer.edit.setFocus()

    @Slot(str)
    def ask_about_link(self, address: str) -> None:
        """Show where a link leads, and open it if the user wants that."""
        from desktop.ui.chat.link_question import LinkQuestion

        LinkQuestion(address, self).open()

    @Slot(object)
    def _on_message_added(self, message: Message) -> None:
        if message.conversation_id == self._current:
            self.view.add_message(message)

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if message.conversation_id == self._current:
            self.view.change_message(message)

    @Slot(int)
    def _on_branch_changed(self, conversation_id: int) -> None:
        if conversation_id == self._current:
            self.view.show_messages(self._chats.messages(conversation_id))
            self.view.refresh_siblings()
            self._show_status()

    @Slot(object)
    def _on_conversation_changed(self, conversation: Conversation) -> None:
        if conversation.id == self._current:
            self._show_status()

    @Slot(int)
    def _on_conversation_removed(self, conversation_id: int) -> None:
        if conversation_id == self._current:
            self.new_chat()

    @Slot()
    def _on_ticked(self) -> None:
        last = self.view.last_message
        if last is None or last.state is not MessageState.STREAMING or not self.view.isVisible():
            return
        tokens, rate = self._meter.reply(last.id)
        words = f"{counted(tokens, 'token')} · {speed(rate)}" if tokens else "generating"
        if not self._host.is_ready:
            words = "waiting for the model"
        self.view.set_progress(last.id, words)
