"""The tool read_file: text files that the user has picked, a part at a time."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from desktop.domain.generation import ToolSpec
from desktop.tools.tool import Tool, ToolContext, ToolError

MAX_CHARACTERS = 100_000
_BLOCK_BYTES = 1 << 18
# Enough for any text; a larger file would take long to walk through.
_MAX_BYTES = 1 << 28

SPEC = ToolSpec(
    name="read_file",
    description="Read a text file that the user has attached, by its name.",
    parameters={
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The file's name."},
            "offset": {"type": "integer", "minimum": 0, "description": "Characters to skip; 0 when left out."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_CHARACTERS,
                "description": f"Characters to read; {MAX_CHARACTERS} when left out.",
            },
        },
        "required": ["name"],
        "additionalProperties": False,
    },
)


def _run(arguments: dict[str, Any], context: ToolContext) -> str:
    name = arguments["name"]
    path = context.allowed_files.get(name)
    if path is None:
        known = ", ".join(sorted(context.allowed_files)) or "none"
        raise ToolError(f"The user has not attached a file named {name[:200]!r}. Attached: {known}.")
    offset, limit = int(arguments.get("offset", 0)), int(arguments.get("limit", MAX_CHARACTERS))
    text, total = _read(name, path, offset, limit)
    end = offset + len(text)
    if offset > total:
        raise ToolError(f"The file has only {total} characters.")
    if total > end:
        left = total - end
        return f"{text}\n\n[{left} characters are left; read on with offset {end}.]"
    return text


def _read(name: str, path: Path, offset: int, limit: int) -> tuple[str, int]:
    """The part of the file, and how many characters the whole has. Holds one block and the part in memory."""
    parts: list[str] = []
    total = 0
    try:
        if not path.is_file():  # a pipe or a device could block for ever
            raise ToolError(f"{name!r} is not there any more, or is no file.")
        if path.stat().st_size > _MAX_BYTES:
            raise ToolError(f"{name!r} is larger than {_MAX_BYTES >> 20} MB.")
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            decoder = codecs.getincrementaldecoder(_encoding(head))("strict")
            while True:
                block = file.read(_BLOCK_BYTES)
                text = decoder.decode(block, final=not block)
                if "\0" in text:
                    raise ToolError(f"{name!r} is not a text file.")
                start, stop = max(offset - total, 0), max(offset + limit - total, 0)
                parts.append(text[start:stop])
                total += len(text)
                if not block:
                    break
    except UnicodeDecodeError as problem:
        raise ToolError(f"{name!r} is not a text file in UTF-8 or UTF-16.") from problem
    except OSError as problem:
        raise ToolError(f"{name!r} cannot be read: {problem.strerror or 'unknown error'}.") from problem
    return "".join(parts), total


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


TOOL = Tool(SPEC, _run)
