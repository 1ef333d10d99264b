"""What every message on screen has in common; ConversationView knows no more of them than this."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.domain.conversation import Message


class MessageView(QWidget):
    """One message.

    Signals:
        continue_requested: go on with this reply (its message id).
        action_triggered: an Action that is not about this reply alone.
        link_activated: the address of a clicked link.
    """

    continue_requested = Signal(int)
    action_triggered = Signal(object)
    link_activated = Signal(str)

    def __init__(self, message: Message, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.message = message

    def set_message(self, message: Message) -> None:
        """Show what the message has become."""
        self.message = message

    def append_text(self, text: str) -> None:
        """Show more of a reply that is being written."""

    def set_progress(self, words: str) -> None:
        """Say how the writing goes."""

    def set_last(self, is_last: bool) -> None:
        """Whether this is the last message of the conversation."""

    def take_width(self, width: int) -> None:
        """Fit into a column of this width, in pixels."""
