"""Turns conversations and messages into the columns of their rows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from desktop.domain.conversation import Attachment, ChatSettings, Conversation, Message, MessageState
from desktop.domain.errors import Failure
from desktop.domain.generation import FinishReason, GenerationStats, Role, ToolCall

CONVERSATION_COLUMNS = (
    "id, title, created_at, updated_at, leaf_id, title_chosen, folder_id, pinned, settings, deleted_at"
)

_RARE = "failure, reasoning, tool_calls, tool_call_id, tool_failed, attachments"

MESSAGE_COLUMNS = (
    f"id, conversation_id, parent_id, role, content, state, created_at, model, finish_reason, stats, {_RARE}"
)

INSERT_MESSAGE = f"INSERT INTO messages ({MESSAGE_COLUMNS}) VALUES (?{', ?' * 15})"

# One column says whether the rare ones hold anything, so that Python need not look at each.
SELECT_MESSAGES = (
    "SELECT id, parent_id, role, content, state, created_at, model, finish_reason, stats,"
    f" coalesce({_RARE}) IS NOT NULL, {_RARE} FROM messages WHERE conversation_id = ? ORDER BY id"
)

Stored = str | bytes
"""A text as SQLite holds it: its TEXT cannot hold a lone surrogate, so such a text is stored as a BLOB."""

_STATES = {state.value: state for state in MessageState}
_REASONS = {reason.value: reason for reason in FinishReason}
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_NOTHING: dict[str, Any] = {}
_decode_stats = msgspec.json.Decoder(GenerationStats).decode


def stored(text: str) -> Stored:
    """The text as SQLite can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def text_of(value: Stored) -> str:
    """The text that was stored. UnicodeDecodeError (a ValueError) when the row is damaged."""
    return value if isinstance(value, str) else value.decode(errors="surrogatepass")


def to_json(value: object) -> str:
    """A struct, or a sequence of them, as JSON text. ValueErrors when read back mean a damaged row."""
    # Not msgspec's JSON: it refuses lone surrogates, which the log lines of a failure can hold. It reads the numbers of
    # the statistics, though, and four times as fast.
    return json.dumps(msgspec.to_builtins(value))


def settings_json(settings: ChatSettings | None) -> str | None:
    """The column settings."""
    return None if settings is None else to_json(settings)


def conversation_row(conversation: Conversation) -> tuple[Any, ...]:
    """The values of CONVERSATION_COLUMNS, but without leaf and folder, whose rows may not be there."""
    return (
        conversation.id,
        stored(conversation.title),
        conversation.created_at,
        conversation.updated_at,
        None,
        conversation.title_chosen,
        None,
        conversation.pinned,
        settings_json(conversation.settings),
        conversation.deleted_at,
    )


def conversation_of(row: tuple[Any, ...]) -> Conversation:
    """The conversation of a row of CONVERSATION_COLUMNS. ValueError when it makes no sense."""
    id_, title, created_at, updated_at, leaf_id, chosen, folder_id, pinned, settings, deleted_at = row
    return Conversation(
        id=id_,
        title=text_of(title),
        created_at=created_at,
        updated_at=updated_at,
        leaf_id=leaf_id,
        title_chosen=bool(chosen),
        folder_id=folder_id,
        pinned=bool(pinned),
        settings=None if settings is None else _settings(settings),
        deleted_at=deleted_at,
    )


@lru_cache(maxsize=256)  # most conversations share a few presets
def _settings(text: str) -> ChatSettings:
    return msgspec.convert(json.loads(text), ChatSettings)


def outcome_row(message: Message) -> tuple[Any, ...]:
    """The columns content, state, model, finish_reason, stats, failure, reasoning, tool_calls: what a reply becomes."""
    return (
        stored(message.content),
        message.state.value,
        stored(message.model),
        message.finish_reason.value if message.finish_reason else None,
        None if message.stats is None else to_json(message.stats),
        None if message.failure is None else to_json(message.failure),
        stored(message.reasoning) if message.reasoning else None,
        to_json(message.tool_calls) if message.tool_calls else None,
    )


def message_row(message: Message) -> tuple[Any, ...]:
    """The values of MESSAGE_COLUMNS."""
    content, state, model, *outcome = outcome_row(message)
    return (
        message.id,
        message.conversation_id,
        message.parent_id,
        message.role,
        content,
        state,
        message.created_at,
        model,
        *outcome,
        stored(message.tool_call_id) if message.tool_call_id else None,
        1 if message.tool_failed else None,
        to_json(message.attachments) if message.attachments else None,
    )


def read_messages(
    rows: Iterable[tuple[Any, ...]], conversation_id: int, tails: Mapping[tuple[int, int], Sequence[str]]
) -> Iterator[Message]:
    """The messages of rows of SELECT_MESSAGES. tails: (id, 0) -> text, (id, 1) -> reasoning that has streamed since.

    ValueError or LookupError: a row is damaged. Written for speed: this is what opening a long conversation waits for.
    """
    models: dict[Stored, str] = {}  # equal names are kept once
    roles, states, reasons, decode_stats = _ROLES, _STATES, _REASONS, _decode_stats
    for (
        id_,
        parent_id,
        role,
        content,
        state,
        created_at,
        model,
        reason,
        stats,
        has_rare,
        r1,
        r2,
        r3,
        r4,
        r5,
        r6,
    ) in rows:
        if not isinstance(content, str):
            content = text_of(content)
        name = models.get(model)
        if name is None:
            name = models[model] = text_of(model)
        if has_rare or tails:
            if tail := tails.get((id_, 0)):
                content = "".join((content, *tail))
            rare = _rare((r1, r2, r3, r4, r5, r6), tails.get((id_, 1), ()))
        else:
            rare = _NOTHING
        if reason is None and stats is None:
            yield Message(
                id=id_,
                conversation_id=conversation_id,
                parent_id=parent_id,
                role=roles[role],
                content=content,
                state=states[state],
                created_at=created_at,
                model=name,
                **rare,
            )
        else:
            yield Message(
                id=id_,
                conversation_id=conversation_id,
                parent_id=parent_id,
                role=roles[role],
                content=content,
                state=states[state],
                created_at=created_at,
                model=name,
                finish_reason=None if reason is None else reasons[reason],
                stats=None if stats is None else decode_stats(stats),
                **rare,
            )


def _rare(columns: tuple[Any, ...], reasoning_tail: Sequence[str]) -> dict[str, Any]:
    failure, reasoning, tool_calls, tool_call_id, tool_failed, attachments = columns
    found: dict[str, Any] = {}
    if failure is not None:
        found["failure"] = msgspec.convert(json.loads(failure), Failure)
    if reasoning is not None or reasoning_tail:
        found["reasoning"] = "".join((text_of(reasoning or ""), *reasoning_tail))
    if tool_calls is not None:
        found["tool_calls"] = msgspec.convert(json.loads(tool_calls), tuple[ToolCall, ...])
    if tool_call_id is not None:
        found["tool_call_id"] = text_of(tool_call_id)
    if tool_failed:
        found["tool_failed"] = True
    if attachments is not None:
        found["attachments"] = msgspec.convert(json.loads(attachments), tuple[Attachment, ...])
    return found
