"""What can be done with the messages of the open conversation: edit, another reply, fork, step, go on."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.conversation import Message, siblings
from desktop.services.chats import Chats
from desktop.ui.chat.conversation_view import ConversationView


class BranchActions(QObject):
    """Does what the messages' buttons ask for, and the same for the last ones by keyboard.

    Signals:
        forked: the id of a conversation that was made of this one.
        asked: a reply begins; the composer may have the focus again.
        refused: why something cannot be done, in a sentence.
        setting_chosen: a Failure.setting with which the model is about to be loaded again.
    """

    forked = Signal(int)
    asked = Signal()
    refused = Signal(str)
    setting_chosen = Signal(object)

    def __init__(self, chats: Chats, view: ConversationView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._view = view
        self._current: int | None = None
        view.set_sibling_source(self._place)
        view.continue_requested.connect(self._on_continue_requested)
        view.reload_requested.connect(self._on_reload_requested)
        view.edit_requested.connect(self._on_edit_requested)
        view.regenerate_requested.connect(self._on_regenerate_requested)
        view.fork_requested.connect(self._on_fork_requested)
        view.sibling_requested.connect(self._on_sibling_requested)

    def set_conversation(self, conversation_id: int | None) -> None:
        """Which conversation is open; None for a chat that is not begun."""
        self._current = conversation_id

    @property
    def last_reply(self) -> Message | None:
        """The last reply with text."""
        return next((m for m in self._backwards() if m.role == "assistant" and m.content), None)

    @Slot()
    def regenerate_last(self) -> None:
        """Write another last reply."""
        last = next((message for message in self._backwards() if message.role == "assistant"), None)
        if last is not None:
            self._on_regenerate_requested(last.id)

    @Slot()
    def edit_last(self) -> None:
        """Let the user write their last message anew."""
        last = next((message for message in self._backwards() if message.role == "user"), None)
        if last is not None:
            self._view.jump_to(last.id)
            if not self._view.edit(last.id):
                self.refused.emit("This message is too long to be edited here. Copy it, and send it anew.")

    @Slot()
    def fork_last(self) -> None:
        """Copy the whole branch into a conversation of its own."""
        last = next(iter(self._backwards()), None)
        if last is not None:
            self._on_fork_requested(last.id)

    def _backwards(self) -> list[Message]:
        return self._chats.messages(self._current)[::-1] if self._current is not None else []

    def _place(self, message_id: int) -> tuple[int, int]:
        return (1, 1) if self._current is None else self._chats.library.place(self._current, message_id)

    @Slot(int)
    def _on_continue_requested(self, message_id: int) -> None:
        if self._current is not None:
            self._chats.continue_reply(self._current, message_id)
            self.asked.emit()

    @Slot(int, object)
    def _on_reload_requested(self, message_id: int, setting: dict[str, object]) -> None:
        if self._current is not None:
            self.setting_chosen.emit(setting)
            self._chats.continue_reply(self._current, message_id, reload=True)
            self.asked.emit()

    @Slot(int, str)
    def _on_edit_requested(self, message_id: int, text: str) -> None:
        if self._current is not None:
            self._chats.edit(self._current, message_id, text)
            self.asked.emit()

    @Slot(int)
    def _on_regenerate_requested(self, message_id: int) -> None:
        if self._current is not None:
            self._chats.regenerate(self._current, message_id)
            self.asked.emit()

    @Slot(int)
    def _on_fork_requested(self, message_id: int) -> None:
        if self._current is not None:
            self.forked.emit(self._chats.fork(self._current, message_id))

    @Slot(int, int)
    def _on_sibling_requested(self, message_id: int, step: int) -> None:
        if self._current is not None:
            library = self._chats.library
            alike = siblings(library.tree(self._current), message_id)
            place = alike.index(message_id) + step
            if 0 <= place < len(alike):
                library.select(self._current, alike[place])
