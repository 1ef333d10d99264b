"""The messages of one conversation with all the text that has come for them, whether or not they are on screen."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from desktop.domain.conversation import Message, MessageState
from desktop.domain.generation import ToolCall

_ID = attrgetter("id")


class MessageLog:
    """Messages in order. Text that is added costs nothing until the message is asked for."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._places: dict[int, int] = {}
        self._contents: dict[int, list[str]] = {}  # message id -> what came after its Message
        self._reasonings: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, place: int) -> Message:
        """The message at this place, with all its text."""
        message = self._messages[place]
        content = self._contents.pop(message.id, None)
        reasoning = self._reasonings.pop(message.id, None)
        if content or reasoning:
            message = self._messages[place] = msgspec.structs.replace(
                message,
                content=message.content + "".join(content or ()),
                reasoning=message.reasoning + "".join(reasoning or ()),
            )
        return message

    def id_at(self, place: int) -> int:
        """The id of the message at this place."""
        return self._messages[place].id

    def state_at(self, place: int) -> MessageState:
        """The state of the message at this place."""
        return self._messages[place].state

    def call_of(self, place: int) -> ToolCall | None:
        """The call whose result the message at this place is; None when it is no result, or the call is not there."""
        wanted = self._messages[place].tool_call_id
        while place >= 0 and self._messages[place].role == "tool":
            place -= 1
        calls = self._messages[place].tool_calls if place >= 0 else ()
        return next((call for call in calls if call.id == wanted), None)

    def place(self, message_id: int) -> int | None:
        """Where the message is; None when it is not there."""
        return self._places.get(message_id)

    def shared(self, messages: Sequence[Message]) -> int:
        """How many messages at the beginning are the same ones, whatever they say by now."""
        count = 0
        for ours, theirs in zip(self._messages, messages, strict=False):
            if ours.id != theirs.id:
                break
            count += 1
        return count

    def is_of(self, messages: Sequence[Message]) -> bool:
        """Whether these messages are of the same conversation."""
        ours = self._messages
        return bool(ours) and bool(messages) and ours[0].conversation_id == messages[0].conversation_id

    def truncate(self, count: int) -> None:
        """Keep only the first messages."""
        if count == 0:
            for known in (self._places, self._contents, self._reasonings):
                known.clear()
        for message in self._messages[count:] if count else ():
            self._places.pop(message.id, None)
            self._contents.pop(message.id, None)
            self._reasonings.pop(message.id, None)
        del self._messages[count:]

    def extend(self, messages: Sequence[Message]) -> None:
        """Add messages at the end."""
        start = len(self._messages)
        self._messages.extend(messages)
        self._places.update(zip(map(_ID, messages), range(start, start + len(messages)), strict=True))

    def put(self, place: int, message: Message) -> None:
        """What a message has become; the text that had been added to it is part of that."""
        self._contents.pop(message.id, None)
        self._reasonings.pop(message.id, None)
        self._messages[place] = message

    def add_text(self, message_id: int, text: str) -> None:
        """More of a reply's text."""
        self._contents.setdefault(message_id, []).append(text)

    def add_reasoning(self, message_id: int, text: str) -> None:
        """More of a reply's reasoning."""
        self._reasonings.setdefault(message_id, []).append(text)
