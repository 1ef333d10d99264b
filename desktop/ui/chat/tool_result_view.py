"""The result of a tool call as a message of its own, beneath the reply that asked for it."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.domain.conversation import Message
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.tool_card import ToolResultCard


class ToolResultView(MessageView):
    """A card of one line that opens."""

    def __init__(self, message: Message, tool: str, width: int, parent: QWidget | None = None) -> None:
        """tool: its name; "" when it is not known."""
        super().__init__(message, parent)
        card = ToolResultCard(message.content, tool, failed=message.tool_failed, width=width, parent=self)
        self.setAccessibleName(card.accessibleName())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(card)
