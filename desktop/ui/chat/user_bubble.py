"""What the user wrote: a bubble on the right, as wide as its text."""

from __future__ import annotations

from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from desktop.domain.conversation import Message
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import SPACE

_SHARE = 0.85  # of the column, at most
_MEASURED_LINES = 50


class UserBubble(MessageView):
    """Plain text, never Markdown: it shows what was sent."""

    def __init__(self, message: Message, width: int, parent: QWidget | None = None) -> None:
        super().__init__(message, parent)
        self.setAccessibleName("You wrote")
        self._bubble = QFrame(self)
        self._bubble.setObjectName("UserBubble")
        most = int(width * _SHARE)
        padding = 2 * SPACE[2]
        self._ideal_width = min(self._text_width(message.content) + padding, 4 * width)
        self._text = PlainTextView(min(most, self._ideal_width) - padding, self._bubble)
        self._text.setAccessibleName("Your message")
        self._text.set_text(message.content)
        inside = QHBoxLayout(self._bubble)
        inside.setContentsMargins(SPACE[2], SPACE[1], SPACE[2], SPACE[1])
        inside.addWidget(self._text)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addStretch(1)
        row.addWidget(self._bubble)
        self.take_width(width)

    def take_width(self, width: int) -> None:
        """Fit into a column of this width."""
        self._bubble.setFixedWidth(min(int(width * _SHARE), self._ideal_width))

    def _text_width(self, text: str) -> int:
        metrics = QFontMetricsF(self.font())
        lines = clean(text[:20_000]).split("\n")[:_MEASURED_LINES]
        # A character is at least some 2 pixels wide: what is longer fills the bubble anyway.
        return int(max(metrics.horizontalAdvance(line[:1_000]) for line in lines)) + SPACE[0]
