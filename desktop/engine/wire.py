"""The typed frames between the window's process and an engine's child process.

A frame is a 4-byte big-endian length and a MessagePack body; the body is one of the messages below. A frame that does
not decode is an error for the whole connection, never a guess.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TypeVar

import msgspec

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
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress

MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")


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
    """The answer to CountTokens `number`: the count, or why there is none."""

    number: int
    tokens: int = 0
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

Message = TypeVar("Message")

_encoder = msgspec.msgpack.Encoder()
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


class FrameError(Exception):
    """Bytes on the wire are not a frame of this protocol."""


class TruncatedFrameError(FrameError):
    """The stream ended inside a frame, as it does when the writer dies."""


def encode(message: ToChild | FromChild) -> bytes:
    """One message as a frame. ValueError when it is larger than MAX_FRAME_BYTES or holds what cannot be sent."""
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as problem:  # its own words repeat the whole text
        raise ValueError("the text has half of a surrogate pair in it") from problem
    except (OverflowError, TypeError, RecursionError) as problem:  # numbers of over 64 bits in a tool's schema, say
        raise ValueError(str(problem)) from problem
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes does not fit in a frame")
    return _LENGTH.pack(len(body)) + body


async def _read_body(reader: asyncio.StreamReader) -> bytes | None:
    """The next frame's body; None at the end of the stream. FrameError when the stream ends inside a frame."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME_BYTES:
            raise FrameError(f"a frame claims {length} bytes")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as stop:
        if stop.partial or stop.expected != _LENGTH.size:
            raise TruncatedFrameError("the stream ended inside a frame") from stop
        return None


async def read_from_child(reader: asyncio.StreamReader) -> FromChild | None:
    """The child's next message; None at the end of the stream. Raises FrameError."""
    body = await _read_body(reader)
    return None if body is None else _decode(_from_child, body)


async def read_to_child(reader: asyncio.StreamReader) -> ToChild | None:
    """The parent's next message; None at the end of the stream. Raises FrameError."""
    body = await _read_body(reader)
    return None if body is None else _decode(_to_child, body)


def _decode(decoder: msgspec.msgpack.Decoder[Message], body: bytes) -> Message:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # ValueError: text that is not UTF-8, whose message repeats all of it.
        raise FrameError(str(error)[:200]) from error
