"""The chat page: the list of conversations, the one that is open, and the composer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from desktop.domain.conversation import Message, MessageState
from desktop.domain.errors import Action
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.chat.composer import Composer
from desktop.ui.chat.conversation_list_model import ConversationListModel
from desktop.ui.chat.conversation_panel import ConversationPanel
from desktop.ui.chat.conversation_view import COLUMN_WIDTH, ConversationView
from desktop.ui.chat.empty_state import EmptyState
from desktop.ui.chat.reply_meter import ReplyMeter
from desktop.ui.theme import SPACE
from desktop.ui.words import model_name, speed

if TYPE_CHECKING:
    from desktop.ui.failure_card import FailureCard

_COMPOSER_WIDTH = COLUMN_WIDTH + 40
_ABSENT = (EngineState.UNLOADED, EngineState.FAILED)


class ChatPage(QWidget):
    """Drives Chats; asks the window for everything that concerns the model.

    Signals:
        current_changed: another conversation is open, or none.
        demo_requested, folder_requested: which model to load.
        action_triggered: an Action that is not about one reply.
    """

    current_changed = Signal()
    demo_requested = Signal()
    folder_requested = Signal()
    action_triggered = Signal(object)

    def __init__(self, host: EngineHost, chats: Chats, demo_path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._host = host
        self._chats = chats
        self._demo_path = demo_path
        self._current: int | None = None
        self._drafts: dict[int | None, str] = {}
        self._failure_card: FailureCard | None = None
        self._meter = ReplyMeter(chats, self)
        self._list_model = ConversationListModel(chats, self._meter, self)
        self.panel = ConversationPanel(self._list_model, self)
        self.view = ConversationView(self)
        self.empty = EmptyState(self)
        self.composer = Composer(self)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.view)
        self._lay_out()
        self._connect()
        self._show_status()

    def _lay_out(self) -> None:
        self._card_place = QVBoxLayout()
        self._bottom = QVBoxLayout()
        self._bottom.setSpacing(SPACE[1])
        self._bottom.addLayout(self._card_place)
        self._bottom.addWidget(self.composer)
        chat = QVBoxLayout()
        chat.setContentsMargins(0, 0, 0, 0)
        chat.setSpacing(0)
        chat.addWidget(self._stack, 1)
        chat.addLayout(self._bottom)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.panel)
        row.addLayout(chat, 1)
        QWidget.setTabOrder(self.panel.new_button, self.panel.list)
        QWidget.setTabOrder(self.panel.list, self.view)
        QWidget.setTabOrder(self.view, self.composer.edit)
        QWidget.setTabOrder(self.composer.edit, self.composer.button)

    def _connect(self) -> None:
        self.panel.chosen.connect(self.open_conversation)
        self.panel.new_requested.connect(self.new_chat)
        self.panel.rename_requested.connect(self._chats.rename)
        self.panel.delete_requested.connect(self._chats.delete)
        self.view.continue_requested.connect(self._on_continue_requested)
        self.view.action_triggered.connect(self._on_action_triggered)
        self.view.link_activated.connect(self._on_link_activated)
        self.empty.question_chosen.connect(self.send)
        self.empty.demo_requested.connect(self.demo_requested)
        self.empty.folder_requested.connect(self.folder_requested)
        self.composer.send_requested.connect(self._on_send_requested)
        self.composer.stop_requested.connect(self.stop)
        self._chats.message_added.connect(self._on_message_added)
        self._chats.message_changed.connect(self._on_message_changed)
        self._chats.text_appended.connect(self.view.append_text)
        self._chats.conversation_changed.connect(self._on_conversation_changed)
        self._chats.conversation_removed.connect(self._on_conversation_removed)
        self._host.status_changed.connect(self._on_status_changed)
        self._meter.ticked.connect(self._on_ticked)

    @property
    def current(self) -> int | None:
        """The id of the open conversation; None for a chat that is not begun yet."""
        return self._current

    @property
    def is_generating(self) -> bool:
        """Whether a reply of the open conversation is being written."""
        return self._current is not None and self._chats.is_generating(self._current)

    @property
    def last_reply(self) -> str:
        """The text of the last reply of the open conversation; "" when there is none."""
        messages = self._chats.messages(self._current) if self._current is not None else []
        return next((m.content for m in reversed(messages) if m.role == "assistant" and m.content), "")

    @Slot(int)
    def open_conversation(self, conversation_id: int) -> None:
        """Show a conversation. What is generated elsewhere goes on."""
        if conversation_id == self._current:
            return
        self._keep_draft()
        self._current = conversation_id
        self.view.show_messages(self._chats.messages(conversation_id))
        self._after_switch()

    @Slot()
    def new_chat(self) -> None:
        """Show the empty page; the conversation begins with its first message."""
        self._keep_draft()
        self._current = None
        self.view.show_messages([])
        self._after_switch()
        self.composer.edit.setFocus()

    @Slot(str)
    def send(self, text: str) -> None:
        """Send a message in the open conversation, or begin one. Without a model it waits for one to be loaded."""
        sent_to = self._chats.send(self._current, text)
        if self._current is None and sent_to is not None:
            self.open_conversation(sent_to)

    @Slot()
    def stop(self) -> None:
        """Stop the replies of the open conversation."""
        if self._current is not None:
            self._chats.stop(self._current)

    def _keep_draft(self) -> None:
        self._drafts[self._current] = self.composer.text

    def _after_switch(self) -> None:
        self.composer.set_text(self._drafts.get(self._current, ""))
        self.panel.set_current(self._current)
        self._stack.setCurrentWidget(self.empty if self._current is None else self.view)
        self._show_status()
        self._on_ticked()
        self.current_changed.emit()

    def _show_status(self) -> None:
        """Everything on the page that depends on the engine or on what is open."""
        status = self._host.status
        is_demo = status.path in ("", self._demo_path)
        name = "the demo model" if is_demo else model_name(status)
        self.empty.show_status(status, name, is_demo=is_demo)
        self.composer.set_model_name(name)
        self.composer.set_generating(self.is_generating)
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
            self._failure_card.action_triggered.connect(self.action_triggered)
            self._card_place.addWidget(self._failure_card)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        room = self.width() - self.panel.width()
        side = max((room - _COMPOSER_WIDTH) // 2, SPACE[2])
        self._bottom.setContentsMargins(side, SPACE[0], side, SPACE[2])

    @Slot(str)
    def _on_send_requested(self, text: str) -> None:
        self.composer.set_text("")
        self._drafts.pop(self._current, None)
        self.send(text)

    @Slot(int)
    def _on_continue_requested(self, message_id: int) -> None:
        if self._current is not None:
            self._chats.continue_reply(self._current, message_id)
            self.composer.edit.setFocus()

    @Slot(object)
    def _on_action_triggered(self, action: Action) -> None:
        if action is Action.NEW_CHAT:
            self.new_chat()
        else:
            self.action_triggered.emit(action)
            self.composer.edit.setFocus()

    @Slot(str)
    def _on_link_activated(self, address: str) -> None:
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

    @Slot(object)
    def _on_conversation_changed(self, conversation: object) -> None:
        if getattr(conversation, "id", None) == self._current:
            self._show_status()

    @Slot(int)
    def _on_conversation_removed(self, conversation_id: int) -> None:
        self._drafts.pop(conversation_id, None)
        if conversation_id == self._current:
            self._current = None
            self.new_chat()

    @Slot(object)
    def _on_status_changed(self, _status: EngineStatus) -> None:
        self._show_status()

    @Slot()
    def _on_ticked(self) -> None:
        last = self.view.last_message
        if last is None or last.state is not MessageState.STREAMING or not self.view.isVisible():
            return
        tokens, rate = self._meter.reply(last.id)
        words = f"{tokens:,} tokens · {speed(rate)}" if tokens else "generating"
        if not self._host.is_ready:
            words = "waiting for the model"
        self.view.set_progress(last.id, words)
