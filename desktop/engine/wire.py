"""The messages between the window's process and an engine's child process, each in a frame (framing.py)."""

from __future__ import annotations

import asyncio

import msgspec

from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.generation import (
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ReasoningDelta,
    TextDelta,
    ToolCalled,
)
from desktop.engine import framing
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress


class Load(msgspec.Struct, frozen=True, tag="load"):
    """First message to the child: what to load."""

    checkpoint: str
    config: EngineConfig


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Start a request; its events come back in any mix with those of others."""

    request: GenerationRequest


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop a request."""

    request_id: str


class ReadStatistics(msgspec.Struct, frozen=True, tag="read_statistics"):
    """Ask for StatisticsRead; answers come in the order of the questions."""


class CountTokens(msgspec.Struct, frozen=True, tag="count_tokens"):
    """Ask for TokensCounted. number: of the question, since several may be open and one may overtake another."""

    number: int
    request: GenerationRequest


class Close(msgspec.Struct, frozen=True, tag="close"):
    """End all requests, give the memory back, exit."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The load succeeded."""

    info: EngineInfo


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The load failed; the child exits after this."""

    failure: Failure


class StatisticsRead(msgspec.Struct, frozen=True, tag="statistics"):
    """The answer to ReadStatistics; None when nothing is loaded."""

    statistics: EngineStatistics | None


class TokensCounted(msgspec.Struct, frozen=True, tag="tokens_counted"):
    """The answer to CountTokens `number`: the size, or why there is none."""

    number: int
    size: PromptSize | None = None
    failure: Failure | None = None


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The engine inside the child went by itself; the child exits after this."""

    failure: Failure


ToChild = Load | Generate | Cancel | ReadStatistics | CountTokens | Close
FromChild = (
    LoadProgress
    | Loaded
    | LoadFailed
    | TextDelta
    | ReasoningDelta
    | ToolCalled
    | GenerationFinished
    | GenerationFailed
    | StatisticsRead
    | TokensCounted
    | Stopped
)

_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


def encode(message: ToChild | FromChild) -> bytes:
    """One message as a frame. ValueError when it is too large for one or holds what cannot be sent."""
    return framing.encode(message)


async def read_from_child(reader: asyncio.StreamReader) -> FromChild | None:
    """The child's next message; None at the end of the stream. Raises FrameError."""
    return await framing.read_message(reader, _from_child)


async def read_to_child(reader: asyncio.StreamReader) -> ToChild | None:
    """The parent's next message; None at the end of the stream. Raises FrameError."""
    return await framing.read_message(reader, _to_child)
