"""Reads calibration text in pieces, in bounded memory, and sets a tenth of the pieces aside for the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.calibration import (
    CalibrationMessage,
    CalibrationSource,
    Conversations,
    JsonLinesFile,
    ShippedText,
    TextFile,
)
from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.storage.paths import resources_dir

LINE_LIMIT = 8 << 20  # bytes
READ_LIMIT = 64 << 20  # bytes of one source; 128 samples of 2,048 tokens need about 1 MB
# Consecutive paragraphs are put together up to this length in UTF-8, so that a piece is worth reading.
PIECE_BYTES = 600
HELD_OUT_SHARE = 10  # one piece in so many
_REPEATED_CHARACTERS = 40  # of a paragraph; shorter ones, such as "Yes.", may come again
_SHIPPED = {"english": "english.txt", "chinese": "chinese.txt", "code": "code.txt"}
_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}

Conversation = tuple[CalibrationMessage, ...]


class Pieces(msgspec.Struct, frozen=True, kw_only=True):
    """All pieces of some sources, each a text or a conversation, in the order of reading.

    No piece is in both lists, whatever the samples, lengths or seeds: a hash of the piece decides. duplicates: pieces
    that were there before. cut: names of sources of which only the first READ_LIMIT bytes were read.
    """

    calibration: tuple[str | Conversation, ...]
    held_out: tuple[str | Conversation, ...]
    duplicates: int
    cut: tuple[str, ...] = ()


def read_pieces(sources: Sequence[CalibrationSource]) -> Pieces:
    """Read all sources. Raises TurbodeskError (calibration_unusable)."""
    kept: list[str | Conversation] = []
    held_out: list[str | Conversation] = []
    known = _Known()
    for source in sources:
        for piece in _read(source, known):
            digest = _digest(piece)
            if not known.is_new(b"piece" + digest):
                continue
            (held_out if digest[0] % HELD_OUT_SHARE == 0 else kept).append(piece)
    if not kept and not held_out:
        raise _unusable("The text", "it is empty")
    return Pieces(calibration=tuple(kept), held_out=tuple(held_out), duplicates=known.duplicates, cut=tuple(known.cut))


class _Known:
    """What was read so far, of all sources."""

    def __init__(self) -> None:
        self.duplicates = 0
        self.cut: list[str] = []
        self._digests: set[bytes] = set()

    def is_new(self, digest: bytes) -> bool:
        """Counts it as a duplicate where it is not."""
        if digest in self._digests:
            self.duplicates += 1
            return False
        self._digests.add(digest)
        return True


def _digest(piece: str | Conversation) -> bytes:
    """Pieces that differ in white space alone are the same."""
    texts = [piece] if isinstance(piece, str) else [part for one in piece for part in (one.role, one.content)]
    return hashlib.sha256("\0".join(" ".join(text.split()) for text in texts).encode("utf-8", "replace")).digest()


def _read(source: CalibrationSource, known: _Known) -> Iterator[str | Conversation]:
    if isinstance(source, Conversations):
        yield from (conversation for conversation in source.conversations if conversation)
    elif isinstance(source, JsonLinesFile):
        yield from _json_lines(Path(source.path), known)
    elif isinstance(source, TextFile):
        yield from _paragraphs(Path(source.path), known)
    elif isinstance(source, ShippedText):
        yield from _shipped(source, known)


def _shipped(source: ShippedText, known: _Known) -> Iterator[str]:
    for part in source.parts:
        if part not in _SHIPPED:
            raise _unusable(repr(part), "Turbodesk comes with no such text")
        yield from _paragraphs(resources_dir() / "calibration" / _SHIPPED[part], known)


def _paragraphs(path: Path, known: _Known) -> Iterator[str]:
    """Paragraphs put together to pieces; a paragraph that was there before is left out of its piece."""
    piece: list[str] = []
    length = 0
    paragraph: list[str] = []
    empty = True

    def finished() -> Iterator[str]:
        nonlocal length
        text = "\n".join(paragraph)
        paragraph.clear()
        if not text.strip() or (len(text) >= _REPEATED_CHARACTERS and not known.is_new(_digest(text))):
            return
        piece.append(text)
        length += len(text.encode())
        if length >= PIECE_BYTES:
            yield "\n\n".join(piece)
            piece.clear()
            length = 0

    for _, line in _lines(path, known):
        if line.strip():
            empty = False
            paragraph.append(line.rstrip())
            # Text without empty lines, as of a log, is cut at the ends of its lines.
            if sum(map(len, paragraph)) >= PIECE_BYTES:
                yield from finished()
        else:
            yield from finished()
    yield from finished()
    if piece:
        yield "\n\n".join(piece)
    if empty:
        raise _unusable(path.name, "it is empty")


def _json_lines(path: Path, known: _Known) -> Iterator[str | Conversation]:
    empty = True
    for number, line in _lines(path, known):
        if not line.strip():
            continue
        empty = False
        try:
            record = msgspec.json.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            raise _unusable(path.name, f"line {number} is not JSON ({str(problem)[:120]})") from problem
        if (piece := _piece(record)) is None:
            raise _unusable(path.name, f"line {number} has neither a text nor messages")
        if piece:
            yield piece
    if empty:
        raise _unusable(path.name, "it is empty")


def _piece(record: Any) -> str | Conversation | None:
    """What a line holds; empty where there is nothing to read, None where it is something else."""
    if not isinstance(record, dict):
        return None
    if isinstance(text := record.get("text"), str):
        return text.strip()
    for key, role, content in (("messages", "role", "content"), ("conversations", "from", "value")):
        if isinstance(found := record.get(key), list):
            messages = [_message(one, role, content) for one in found]
            return None if None in messages else tuple(one for one in messages if one is not None and one.content)
    return None


def _message(found: Any, role: str, content: str) -> CalibrationMessage | None:
    if not isinstance(found, dict) or not isinstance(name := found.get(role), str):
        return None
    said = found.get(content)
    if isinstance(said, list):  # parts in OpenAI's style, of which pictures are left out
        parts = [part.get("text") for part in said if isinstance(part, dict) and part.get("type") == "text"]
        said = "\n".join(part for part in parts if isinstance(part, str))
    if said is None:  # an answer that only calls tools
        said = ""
    return CalibrationMessage(_ROLES.get(name, name), said) if isinstance(said, str) else None


def _lines(path: Path, known: _Known) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, never more than LINE_LIMIT bytes of them in memory."""
    read = 0
    with _readable(path), path.open("rb") as file:
        if b"\0" in file.read(1 << 16):
            raise _unusable(path.name, "it is not text but binary data")
        file.seek(0)
        number = 0
        while line := file.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise _unusable(path.name, f"line {number} is longer than {LINE_LIMIT >> 20} MB")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as problem:
                raise _unusable(path.name, f"line {number} is not UTF-8 text") from problem
            yield number, text
            read += len(line)
            if read >= READ_LIMIT:
                known.cut.append(path.name)
                return


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise _unusable(path.name, f"it cannot be read ({reason})") from problem


def _unusable(what: str, reason: str) -> TurbodeskError:
    return error(FailureCode.CALIBRATION_UNUSABLE, what=what[:200], reason=reason)
