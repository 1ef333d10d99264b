"""Reads a file to import, whatever its form, as the lines of an export."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from desktop.storage.errors import storage_errors
from desktop.storage.refusals import import_broken
from desktop.storage.transfer_chatgpt import chatgpt_lines, is_chatgpt
from desktop.storage.transfer_lines import (
    FORMAT,
    LONGEST_LINE,
    VERSION,
    AttachmentLine,
    ConversationLine,
    EndLine,
    FolderLine,
    HeaderLine,
    MessageLine,
    NotJson,
    decode_line,
    numbered_lines,
    read_json,
    too_large,
)
from desktop.storage.transfer_openai import conversation_lines

Content = FolderLine | ConversationLine | AttachmentLine | MessageLine


class ReadLine(NamedTuple):
    """What was read, and in which line of the file."""

    number: int
    content: Content


def read_lines(path: Path) -> Iterator[ReadLine]:
    """What is in the file, in the order of an export. Raises TurbodeskError with the line and the reason."""
    with storage_errors(path):
        if not path.is_file():
            raise import_broken(path.name, "it is not a file")
        if reason := too_large(path):
            raise import_broken(path.name, reason)
        with path.open("rb") as file:
            try:
                yield from _read(file)
            except NotJson as problem:
                raise import_broken(path.name, f"line {problem.line}: {problem}") from problem


def _read(file: BinaryIO) -> Iterator[ReadLine]:
    lines = numbered_lines(file)
    try:
        number, text = next(lines)
    except StopIteration:
        raise NotJson("it is empty") from None
    try:
        first = _json(number, text)
    except NotJson:
        first = None
    if isinstance(first, dict) and first.get("format") == FORMAT:
        yield from _export(number, first, lines)
        return
    second = next(lines, None) if first is not None else None
    if second is None:
        yield from _document(file)
        return
    yield from _conversations(number, first)
    for number, text in chain([second], lines):
        yield from _conversations(number, _json(number, text))


def _export(number: int, first: Any, lines: Iterator[tuple[int, bytes]]) -> Iterator[ReadLine]:
    version = first.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NotJson(f"a newer Turbodesk wrote it (its format is {version}, this one knows {VERSION})", number)
    if not isinstance(_line(number, first), HeaderLine):
        raise NotJson("it is no header of an export", number)
    folders = conversations = messages = 0
    for number, text in lines:
        line = _line(number, _json(number, text))
        if isinstance(line, EndLine):
            if (line.folders, line.conversations, line.messages) != (folders, conversations, messages):
                raise NotJson("the file does not hold what it says; a part of it is missing", number)
            if next(lines, None) is not None:
                raise NotJson("there is more after the last line of the export", number)
            return
        if isinstance(line, HeaderLine):
            raise NotJson("there is a second header", number)
        folders += isinstance(line, FolderLine)
        conversations += isinstance(line, ConversationLine)
        messages += isinstance(line, MessageLine)
        yield ReadLine(number, line)
    raise NotJson("the file ends too early; its last part is missing", number)


def _document(file: BinaryIO) -> Iterator[ReadLine]:
    file.seek(0)
    text = file.read(LONGEST_LINE + 1)
    if len(text) > LONGEST_LINE:
        raise NotJson(f"it is longer than {LONGEST_LINE >> 20} MB")
    value = read_json(text)
    if isinstance(value, list) and any(
        isinstance(entry, dict) and entry.keys() & {"messages", "mapping"} for entry in value
    ):
        for entry in value:
            yield from _conversations(1, entry)
    else:
        yield from _conversations(1, value)


def _conversations(number: int, value: Any) -> Iterator[ReadLine]:
    try:
        for line in chatgpt_lines(value) if is_chatgpt(value) else conversation_lines(value):
            yield ReadLine(number, line)
    except ValueError as problem:
        raise NotJson(str(problem), number) from problem


def _json(number: int, text: bytes) -> Any:
    try:
        return read_json(text)
    except NotJson as problem:
        raise NotJson(str(problem), number) from problem


def _line(
    number: int, value: Any
) -> HeaderLine | FolderLine | ConversationLine | AttachmentLine | MessageLine | EndLine:
    try:
        return decode_line(value)
    except ValueError as problem:
        raise NotJson(str(problem), number) from problem
