"""Frames between the window's process and a child: a 4-byte big-endian length and a MessagePack body.

What a body means is its protocol's business (wire.py for engines). A frame that is not whole or does not decode is an
error for the whole connection, never a guess.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, BinaryIO, TypeVar

import msgspec

MAX_FRAME_BYTES = 64 * 1024 * 1024
LENGTH = struct.Struct(">I")

Message = TypeVar("Message")

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """Bytes on the wire are not a frame of this protocol."""


class TruncatedFrameError(FrameError):
    """The stream ended inside a frame, as it does when the writer dies."""


def encode(message: Any) -> bytes:
    """One message as a frame. ValueError when it is larger than MAX_FRAME_BYTES or holds what cannot be sent."""
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as problem:  # its own words repeat the whole text
        raise ValueError("the text has half of a surrogate pair in it") from problem
    except (OverflowError, TypeError, RecursionError) as problem:  # numbers of over 64 bits in a tool's schema, say
        raise ValueError(str(problem)) from problem
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes does not fit in a frame")
    return LENGTH.pack(len(body)) + body


async def read_message(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[Message]) -> Message | None:
    """The next message; None at the end of the stream. Raises FrameError."""
    try:
        length = _length(await reader.readexactly(LENGTH.size))
        return _decode(decoder, await reader.readexactly(length))
    except asyncio.IncompleteReadError as stop:
        if stop.partial or stop.expected != LENGTH.size:
            raise TruncatedFrameError("the stream ended inside a frame") from stop
        return None


def read_message_blocking(file: BinaryIO, decoder: msgspec.msgpack.Decoder[Message]) -> Message | None:
    """The same from a file, waiting for it; file: unbuffered ones may give less than is asked for."""
    head = _read_up_to(file, LENGTH.size)
    if not head:
        return None
    if len(head) == LENGTH.size:
        length = _length(head)
        body = _read_up_to(file, length)
        if len(body) == length:
            return _decode(decoder, body)
    raise TruncatedFrameError("the stream ended inside a frame")


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (some := file.read(size - len(content))):
        content += some
    return bytes(content)


def _length(head: bytes) -> int:
    (length,) = LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame claims {length} bytes")
    return int(length)


def _decode(decoder: msgspec.msgpack.Decoder[Message], body: bytes) -> Message:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # ValueError: text that is not UTF-8, whose message repeats all of it.
        raise FrameError(str(error)[:200]) from error
