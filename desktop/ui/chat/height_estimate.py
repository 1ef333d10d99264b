"""Guesses the height of a message that was never laid out, from a look at its text."""

from __future__ import annotations

import msgspec

from desktop.domain.conversation import Message, MessageState
from desktop.ui.chat.long_text import FIRST

_BUBBLE_SHARE = 0.8  # of the column, for the text of a user's message
_SHORT_LINES = 0.4  # how many of the ends of lines leave a row behind that is not full
_SAMPLE = 64  # characters that are looked at for wide ones
_FIRST_WIDE = "\u2e80"
_ATTACHMENT_ROWS = 4
_FOLD_ROWS = 2  # of a line that opens, and of a tool's card
_FAILURE_ROWS = 6
_MOST_ROWS = 500_000


class HeightEstimate(msgspec.Struct, frozen=True):
    """For one width and one font, all in pixels. Takes about a microsecond a message."""

    width: int
    line_height: int
    character_width: float

    def of(self, message: Message) -> int:
        """The likely height of the message, without the space around it."""
        is_user = message.role == "user"
        text = message.content
        if is_user and len(text) > FIRST:
            text = text[:FIRST]
        elif message.role == "tool":
            text = ""
        length: float = len(text)
        if not text.isascii():
            sample = text[:_SAMPLE]
            length *= 1 + sum(map(_FIRST_WIDE.__le__, sample)) / len(sample)
        full = length * self.character_width / (self.width * (_BUBBLE_SHARE if is_user else 1.0))
        lines = text.count("\n") + 1
        rows = max(full, lines) + _SHORT_LINES * min(full, lines)
        rows += 1 if is_user else 2  # the bubble's edge, the line beneath a reply
        if message.attachments:
            rows += _ATTACHMENT_ROWS
        if message.reasoning:
            rows += _FOLD_ROWS
        if message.tool_calls:
            rows += _FOLD_ROWS * len(message.tool_calls)
        if message.failure is not None or message.state is MessageState.INTERRUPTED:
            rows += _FAILURE_ROWS
        return int(min(rows, _MOST_ROWS) * self.line_height)
