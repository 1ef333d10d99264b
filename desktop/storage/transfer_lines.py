"""The lines of an export in JSON Lines, and how any JSON of an unknown hand is read.

A file is a header, the folders, then conversation by conversation its messages, an attachment before the first message
that has it, and a line that says that the file is whole. Folders count from 1 through the file and messages from 1
through their conversation; that is how they are referred to, so that a file says nothing of the database's numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn

import msgspec

from desktop.domain.conversation import Attachment, ChatSettings, MessageState
from desktop.domain.errors import Failure
from desktop.domain.generation import FinishReason, GenerationStats, Role, ToolCall

FORMAT = "turbodesk-conversations"
VERSION = 1

LONGEST_FILE = 2 << 30  # bytes
LONGEST_LINE = 256 << 20  # bytes
DEEPEST = 1000  # lists and objects in each other

Time = Annotated[float, msgspec.Meta(ge=0, lt=253402300800)]  # up to the year 9999
_Number = Annotated[int, msgspec.Meta(ge=1)]


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A line; what it leaves out has its default."""


class HeaderLine(_Line, frozen=True, kw_only=True, tag="header"):
    """The first line."""

    format: str
    version: int


class FolderLine(_Line, frozen=True, kw_only=True, tag="folder"):
    """The next folder."""

    name: str


class ConversationLine(_Line, frozen=True, kw_only=True, tag="conversation"):
    """A conversation, whose messages follow. folder, leaf: their numbers."""

    title: str
    created_at: Time
    updated_at: Time
    leaf: _Number | None = None
    title_chosen: bool = False
    folder: _Number | None = None
    pinned: bool = False
    settings: ChatSettings | None = None


class AttachmentLine(_Line, frozen=True, kw_only=True, tag="attachment"):
    """The bytes of an attachment in base64; id: their SHA-256 in hexadecimal."""

    id: str
    data: str


class MessageLine(_Line, frozen=True, kw_only=True, tag="message"):
    """The next message of the conversation. parent: the number of an earlier one."""

    parent: _Number | None = None
    role: Role
    content: str
    state: MessageState = MessageState.COMPLETE
    created_at: Time
    model: str = ""
    finish_reason: FinishReason | None = None
    stats: GenerationStats | None = None
    failure: Failure | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    tool_failed: bool = False
    attachments: tuple[Attachment, ...] = ()


class EndLine(_Line, frozen=True, kw_only=True, tag="end"):
    """The last line; what the file holds."""

    folders: int
    conversations: int
    messages: int


Line = HeaderLine | FolderLine | ConversationLine | AttachmentLine | MessageLine | EndLine


def encode_line(line: Line) -> bytes:
    """The line with its end."""
    fields = msgspec.to_builtins(line)
    try:
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(fields).encode() + b"\n"


def decode_line(value: object) -> Line:
    """The line that a JSON value stands for. ValueError, with words for the user, when it stands for none."""
    found: Line = msgspec.convert(value, Line)
    return found


class NotJson(ValueError):
    """Text that is not JSON, in words for the user; line: counted from the text's first, which is 1."""

    def __init__(self, words: str, line: int = 1) -> None:
        super().__init__(words)
        self.line = line


_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)


def read_json(text: bytes) -> Any:
    """The value of a JSON text from anywhere. Raises NotJson."""
    _check_depth(text)
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        raise NotJson(f"it is not JSON ({problem.msg}, character {problem.colno})", problem.lineno) from problem
    except UnicodeDecodeError as problem:
        line = text.count(b"\n", 0, problem.start) + 1
        raise NotJson("it is not UTF-8 text", line) from problem
    except RecursionError as problem:
        raise NotJson("it is nested too deeply") from problem
    except ValueError as problem:  # a number of thousands of digits, or NaN
        raise NotJson(str(problem)) from problem


def _check_depth(text: bytes) -> None:
    # Python's own limit depends on its version and on how deep the caller stands.
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return
    depth = 0
    for match in _TOKEN.finditer(text):
        if match[0] in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise NotJson("it is nested too deeply", text.count(b"\n", 0, match.start()) + 1)
        elif match[0] in b"]}":
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers, from where the file stands, which is its beginning.

    Raises NotJson for a line that is too long.
    """
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise NotJson(f"it is longer than {LONGEST_LINE >> 20} MB", number)
        if line.strip():
            yield number, line


def too_large(path: Path) -> str:
    """Why the file is too large to be read; "" when it is not. Raises OSError."""
    return f"it is larger than {LONGEST_FILE >> 30} GB" if path.stat().st_size > LONGEST_FILE else ""
