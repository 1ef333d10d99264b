"""A conversation is a tree of messages; the branch on screen is the path from the root to its leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from desktop.domain.errors import Failure
from desktop.domain.generation import ChatMessage, FinishReason, GenerationStats, Role

TITLE_LENGTH = 60


class MessageState(StrEnum):
    """What became of a message. Only the assistant's are ever anything but COMPLETE."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"  # by the user
    INTERRUPTED = "interrupted"  # by a crash or an error, after or before some text


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Times are seconds since the epoch. model: the name of the checkpoint that wrote a reply."""

    id: int
    conversation_id: int
    parent_id: int | None
    role: Role
    content: str
    state: MessageState = MessageState.COMPLETE
    created_at: float
    model: str = ""
    finish_reason: FinishReason | None = None
    stats: GenerationStats | None = None
    failure: Failure | None = None


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its messages. leaf_id: the last message of the branch on screen."""

    id: int
    title: str
    created_at: float
    updated_at: float
    leaf_id: int | None = None


def branch(messages: Mapping[int, Message], leaf_id: int | None) -> list[Message]:
    """The messages from the root to leaf_id, in order; a missing parent or a loop ends the walk."""
    path: list[Message] = []
    seen: set[int] = set()
    while leaf_id is not None and leaf_id in messages and leaf_id not in seen:
        seen.add(leaf_id)
        path.append(messages[leaf_id])
        leaf_id = messages[leaf_id].parent_id
    return path[::-1]


def prompt_of(path: Sequence[Message]) -> tuple[ChatMessage, ...]:
    """The branch as the engine wants it: replies without text are left out, so that roles alternate.

    Lone surrogates, which no tokenizer takes, are replaced by U+FFFD.
    """
    return tuple(ChatMessage(m.role, _encodable(m.content)) for m in path if m.content or m.role != "assistant")


def _encodable(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def title_of(texts: Iterable[str]) -> str:
    """A title from the first text: its first line, cut at a word, at most TITLE_LENGTH characters."""
    for text in texts:
        line = " ".join(text.split())
        if line:
            if len(line) <= TITLE_LENGTH:
                return line
            cut = line[: TITLE_LENGTH - 1]
            head, space, _ = cut.rpartition(" ")
            return (head if space and len(head) > TITLE_LENGTH // 2 else cut) + "…"
    return "New chat"
