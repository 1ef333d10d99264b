"""Carries the user's answers to tool calls from the cards to the desk, and the state of the calls back."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.conversation import Message
from desktop.services.chats import Chats
from desktop.services.tool_desk import ToolState
from desktop.ui.chat.conversation_view import ConversationView
from desktop.ui.chat.tool_card import ToolAnswer


class ToolAnswers(QObject):
    """Works for the open conversation.

    Signals:
        always_allowed: the name of a tool that is never to ask again.
    """

    always_allowed = Signal(str)

    def __init__(self, chats: Chats, view: ConversationView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._view = view
        self._current: int | None = None
        view.set_tool_source(self.states)
        view.tool_answered.connect(self._on_tool_answered)
        chats.tools.state_changed.connect(self._on_state_changed)
        chats.library.message_added.connect(self._on_message_added)

    def set_conversation(self, conversation_id: int | None) -> None:
        """Which conversation is open."""
        self._current = conversation_id

    def states(self, message: Message) -> dict[str, ToolState]:
        """What each call of a reply of the open conversation that has no result waits for."""
        return self._chats.tool_states(message) if message.conversation_id == self._current else {}

    @Slot(object)
    def _on_tool_answered(self, answer: ToolAnswer) -> None:
        message = answer.message
        if answer.declined:
            self._chats.tools.decline(message, answer.call)
        elif answer.result is not None:
            self._chats.answer_tool(message.conversation_id, message.id, answer.call.id, answer.result, failed=False)
        elif self.states(message).get(answer.call.id) is ToolState.CONSENT:
            if answer.always:
                self.always_allowed.emit(answer.call.name)
            self._chats.allow_tool(message, answer.call)

    @Slot(int)
    def _on_state_changed(self, message_id: int) -> None:
        self._view.refresh_tools(message_id)

    @Slot(object)
    def _on_message_added(self, message: Message) -> None:
        if message.conversation_id == self._current:
            # The calls that it answers, or leaves behind, are in the reply before it and its results.
            tree = self._chats.library.tree(self._current)
            before = tree.get(message.parent_id or 0)
            while before is not None and before.role == "tool":
                before = tree.get(before.parent_id or 0)
            if before is not None and before.tool_calls:
                self._view.refresh_tools(before.id)
