"""A conversation is a tree of messages; the branch on screen is the path from the root to its leaf."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import count, groupby
from typing import Literal

import msgspec

from desktop.domain.errors import Failure
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationStats,
    ImagePart,
    Role,
    SamplingParams,
    ToolCall,
)

TITLE_LENGTH = 60


class MessageState(StrEnum):
    """What became of a message. Only the assistant's are ever anything but COMPLETE."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"  # by the user
    INTERRUPTED = "interrupted"  # by a crash or an error, after or before some text


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a user's message; its bytes are stored apart, under id, their SHA-256 in hexadecimal.

    kind "image": an encoded picture of width x height pixels; "text": UTF-8 text that was taken out of the file.
    name: the file's own. size: bytes as stored.
    """

    id: str
    name: str
    kind: Literal["image", "text"]
    media_type: str
    size: int
    width: int = 0
    height: int = 0


class WhenFull(StrEnum):
    """What is done about a conversation that the model's context cannot hold any more."""

    LEAVE_OUT = "leave_out"  # the oldest turns, see context_window; they stay where they are stored
    STOP = "stop"  # and say so


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one conversation talks to the model. preset: the name of the preset they were taken from, "" for none.

    as_recommended: sample as the checkpoint recommends, where it does; params then gives the length, the seed and the
    stop words. json_schema, thinking: see GenerationRequest. tools: the names of those the model may call. files: the
    paths that the tool read_file may read.
    """

    preset: str = ""
    system_prompt: str = ""
    as_recommended: bool = True
    params: SamplingParams = SamplingParams()
    json_schema: str = ""
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    thinking: bool | None = None
    when_full: WhenFull = WhenFull.LEAVE_OUT

    def sampling(self, recommended: SamplingParams | None) -> SamplingParams:
        """The sampling to use with a checkpoint that recommends this."""
        if not self.as_recommended or recommended is None:
            return self.params
        mine = self.params
        return msgspec.structs.replace(recommended, max_new_tokens=mine.max_new_tokens, seed=mine.seed, stop=mine.stop)


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of conversations."""

    id: int
    name: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Times are seconds since the epoch. model: the name of the checkpoint that wrote a reply.

    reasoning, tool_calls: the assistant's. Role "tool": the result, or with tool_failed the error, of the call
    tool_call_id of the assistant's message before it.
    """

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
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    tool_failed: bool = False
    attachments: tuple[Attachment, ...] = ()


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its messages. leaf_id: the last message of the branch on screen.

    title_chosen: by the user, so that no proposal may replace it. settings None: those of the settings page.
    deleted_at: in the trash since then.
    """

    id: int
    title: str
    created_at: float
    updated_at: float
    leaf_id: int | None = None
    title_chosen: bool = False
    folder_id: int | None = None
    pinned: bool = False
    settings: ChatSettings | None = None
    deleted_at: float | None = None


def branch(messages: Mapping[int, Message], leaf_id: int | None) -> list[Message]:
    """The messages from the root to leaf_id, in order; a missing parent or a loop ends the walk."""
    path: list[Message] = []
    seen: set[int] = set()
    while leaf_id is not None and leaf_id in messages and leaf_id not in seen:
        seen.add(leaf_id)
        path.append(messages[leaf_id])
        leaf_id = messages[leaf_id].parent_id
    return path[::-1]


def children(messages: Mapping[int, Message], parent_id: int | None) -> list[int]:
    """The ids of the messages that follow parent_id (None: of those that begin the conversation), oldest first."""
    return sorted(message.id for message in messages.values() if message.parent_id == parent_id)


def siblings(messages: Mapping[int, Message], message_id: int) -> list[int]:
    """The ids of a message and of those that stand in its place on other branches, oldest first."""
    return children(messages, messages[message_id].parent_id)


def newest_leaf(messages: Mapping[int, Message], message_id: int) -> int:
    """The last message of the branch that goes through message_id and then always on to the newest."""
    newest: dict[int, int] = {}  # parent id -> its newest child
    for message in messages.values():
        if message.parent_id is not None:
            newest[message.parent_id] = max(message.id, newest.get(message.parent_id, 0))
    seen: set[int] = set()
    while message_id in newest and message_id not in seen:
        seen.add(message_id)
        message_id = newest[message_id]
    return message_id


def unanswered(messages: Mapping[int, Message], message_id: int) -> tuple[list[ToolCall], int]:
    """The tool calls of a message that have no result yet, and the last of its results (or itself) to go on from."""
    answered = set()
    last = message_id
    while results := [child for child in children(messages, last) if messages[child].role == "tool"]:
        last = results[-1]
        answered.add(messages[last].tool_call_id)
    return [call for call in messages[message_id].tool_calls if call.id not in answered], last


NO_RESULT = "No result: the call was not made."


def prompt_of(path: Sequence[Message], data_of: Callable[[Attachment], bytes]) -> tuple[ChatMessage, ...]:
    """The branch as the engine wants it. data_of: gives the bytes of an attachment.

    The results of a reply's calls come in the order of the calls, since most chat templates say nothing else of which
    result is whose; on the branch they stand in the order in which they came.

    Replies without text are left out, so that roles alternate; a tool call without a result gets one that says so.
    The reasoning goes with the last message only: a reply that was cut while it thought thinks on. Lone surrogates,
    which no tokenizer takes, are replaced by U+FFFD.
    """
    prompt: list[ChatMessage] = []
    open_calls: list[ToolCall] = []
    for message in _in_call_order(path):
        if message.role == "tool":
            open_calls = [call for call in open_calls if call.id != message.tool_call_id]
        else:
            prompt += [ChatMessage("tool", NO_RESULT, tool_call_id=call.id) for call in open_calls]
            open_calls = list(message.tool_calls)
        reasoning = message.reasoning if message is path[-1] else ""
        if message.role == "assistant" and not (message.content or message.tool_calls or reasoning):
            continue
        content, images = _with_attachments(message, data_of)
        prompt.append(
            ChatMessage(
                message.role,
                _encodable(content),
                reasoning=_encodable(reasoning),
                tool_calls=message.tool_calls,
                tool_call_id=message.tool_call_id,
                images=images,
            )
        )
    return tuple(prompt)


def _in_call_order(path: Sequence[Message]) -> Iterator[Message]:
    places: dict[str, int] = {}
    for is_result, group in groupby(path, lambda message: message.role == "tool"):
        if is_result:
            yield from sorted(group, key=lambda message: places.get(message.tool_call_id, len(places)))
        else:
            messages = list(group)
            places = {call.id: place for place, call in enumerate(messages[-1].tool_calls)}
            yield from messages


def _with_attachments(message: Message, data_of: Callable[[Attachment], bytes]) -> tuple[str, tuple[ImagePart, ...]]:
    images = tuple(ImagePart(data_of(a), a.media_type) for a in message.attachments if a.kind == "image")
    texts = [
        f"File {attachment.name}:\n\n{data_of(attachment).decode(errors='replace')}"
        for attachment in message.attachments
        if attachment.kind == "text"
    ]
    return "\n\n".join([*texts, message.content]), images


def _encodable(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def title_of_copy(title: str, taken: Collection[str]) -> str:
    """The title with the next free number, from 2; taken: all there are. That of a copy gets no second number."""
    base, _, number = title.rpartition(" (")
    if base not in taken or not re.fullmatch(r"[1-9][0-9]*\)", number):
        base = title
    return next(found for n in count(2) if (found := f"{base} ({n})") not in taken)


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
