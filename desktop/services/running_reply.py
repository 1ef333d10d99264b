"""A reply while it is being written."""

from __future__ import annotations

import msgspec

from desktop.domain.conversation import Message
from desktop.domain.generation import FinishReason, GenerationRequest, GenerationStats
from desktop.domain.json_schema import is_json


class GrowingText:
    """All of a text so far, and the part not yet handed to the writer."""

    def __init__(self, text: str) -> None:
        self._chunks = [text] if text else []
        self._unsaved: list[str] = []

    def append(self, text: str) -> None:
        """Add to the end."""
        self._chunks.append(text)
        self._unsaved.append(text)

    @property
    def text(self) -> str:
        """All of it."""
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    def take_unsaved(self) -> str:
        """What came since this was asked before."""
        text = "".join(self._unsaved)
        self._unsaved.clear()
        return text


class RunningReply:
    """The message grows here, without a new Message a token. sent_again: it has met no model once."""

    def __init__(self, message: Message, request: GenerationRequest) -> None:
        self._message = message
        self.request = request
        self.content = GrowingText(message.content)
        self.reasoning = GrowingText(message.reasoning)
        self.tool_calls = list(message.tool_calls)
        self.sent_again = False

    @property
    def id(self) -> int:
        """Of the message."""
        return self._message.id

    @property
    def conversation_id(self) -> int:
        """Where the message belongs."""
        return self._message.conversation_id

    def end_reason(self, reason: FinishReason) -> FinishReason:
        """Why the reply ended. reason: what the engine says, which does not look at the text."""
        if reason is FinishReason.LENGTH and self.request.json_schema and not is_json(self.content.text):
            return FinishReason.CUT_JSON
        return reason

    def whole_stats(self, piece: GenerationStats | None) -> GenerationStats | None:
        """The reply's statistics. piece: what was measured since it began or went on.

        None when some of it was not measured: a part is not to be taken for the whole.
        """
        before = self._message.stats
        if piece is None or before is None:
            return None if self._message.content or self._message.reasoning else piece
        return before.then(piece)

    @property
    def message(self) -> Message:
        """With the text up to now."""
        return msgspec.structs.replace(
            self._message,
            content=self.content.text,
            reasoning=self.reasoning.text,
            tool_calls=tuple(self.tool_calls),
        )
