"""Frames read from a file that gives little at a time, whole or not at all."""

from __future__ import annotations

import io
from typing import BinaryIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.engine.framing import (
    LENGTH,
    MAX_FRAME_BYTES,
    FrameError,
    TruncatedFrameError,
    encode,
    read_message_blocking,
)


class Note(msgspec.Struct, tag="note"):
    text: str


DECODER = msgspec.msgpack.Decoder(Note)


class Slow(io.BytesIO):
    """Gives at most three bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size and size > 0 else size)


def read_all(file: BinaryIO) -> list[str]:
    found = []
    while (message := read_message_blocking(file, DECODER)) is not None:
        found.append(message.text)
    return found


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=4))
def test_messages_survive(texts: list[str]) -> None:
    assert read_all(Slow(b"".join(encode(Note(text)) for text in texts))) == texts


@given(st.integers(1, 20))
def test_a_frame_that_is_cut_off_is_an_error(cut: int) -> None:
    data = encode(Note("a text of some length"))
    with pytest.raises(TruncatedFrameError):
        read_all(Slow(data[:-cut]))


def test_what_is_no_message_is_an_error() -> None:
    for data in (LENGTH.pack(MAX_FRAME_BYTES + 1), LENGTH.pack(1) + b"\xc1", encode({"type": "other"})):
        with pytest.raises(FrameError):
            read_all(io.BytesIO(data))
