"""Turns conversations in the style of OpenAI's chat requests into the lines of an export."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any, cast

from desktop.domain.conversation import Attachment, ChatSettings, title_of
from desktop.domain.errors import TurbodeskError
from desktop.domain.generation import Role, ToolCall
from desktop.storage.attachments import image_from_bytes
from desktop.storage.transfer_lines import AttachmentLine, ConversationLine, MessageLine

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "tool": "tool", "function": "tool"}
_TEXT_PARTS = frozenset(("text", "input_text", "output_text", "refusal"))
_DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,")
_IMAGE_NAME = "image"


def conversation_lines(value: Any) -> Iterator[ConversationLine | AttachmentLine | MessageLine]:
    """The lines of one conversation: a list of messages, or an object with such a list as "messages".

    System and developer messages become the conversation's system prompt. Pictures are taken from data: addresses
    only; another address stays as text, nothing is fetched. ValueError, with words for the user: it makes no sense.
    """
    entries = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise ValueError("it holds no list of messages")
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("a message is not an object")
    now = time.time()
    system: list[str] = []
    lines: list[AttachmentLine | MessageLine] = []
    count = 0
    for place, entry in enumerate(entries, 1):
        try:
            role = entry.get("role")
            if role in ("system", "developer"):
                system.append(_content(entry)[0])
                continue
            content, images = _content(entry)
            lines += (AttachmentLine(id=image.id, data=base64.b64encode(data).decode()) for image, data in images)
            lines.append(_message(entry, count, content, tuple(image for image, _ in images), now))
            count += 1
        except ValueError as problem:
            raise ValueError(f"message {place}: {problem}") from problem
    title = value.get("title") if isinstance(value, dict) else None
    chosen = isinstance(title, str) and bool(title.strip())
    texts = (line.content for line in lines if isinstance(line, MessageLine) and line.role == "user")
    yield ConversationLine(
        title=" ".join(cast("str", title).split()) if chosen else title_of(texts),
        created_at=now,
        updated_at=now,
        leaf=count or None,
        title_chosen=chosen,
        settings=ChatSettings(system_prompt="\n\n".join(system)) if system else None,
    )
    yield from lines


def _message(
    entry: dict[str, Any], count: int, content: str, images: tuple[Attachment, ...], now: float
) -> MessageLine:
    role = _ROLES.get(str(entry.get("role")))
    if role is None:
        raise ValueError(f"its role is {str(entry.get('role'))[:40]!r}, which is unknown")
    reasoning = entry.get("reasoning_content") or entry.get("reasoning")
    return MessageLine(
        parent=count or None,
        role=role,
        content=content,
        created_at=now,
        reasoning=reasoning if isinstance(reasoning, str) and role == "assistant" else "",
        tool_calls=_tool_calls(entry) if role == "assistant" else (),
        tool_call_id=str(entry.get("tool_call_id") or entry.get("name") or "") if role == "tool" else "",
        attachments=images,
    )


def _content(entry: dict[str, Any]) -> tuple[str, list[tuple[Attachment, bytes]]]:
    content = entry.get("content")
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise ValueError("its content is neither text nor a list of parts")
    texts: list[str] = []
    images: list[tuple[Attachment, bytes]] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind in _TEXT_PARTS:
            text = part.get("text", part.get("refusal"))
            if not isinstance(text, str):
                raise ValueError("a part of its content has no text")
            texts.append(text)
        elif kind in ("image_url", "input_image"):
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            if not isinstance(url, str):
                raise ValueError("a picture has no address")
            if url.startswith("data:"):
                images.append(_image(url))
            else:
                texts.append(f"[image: {url}]")
        else:
            raise ValueError(f"a part of its content is of type {str(kind)[:40]!r}, which cannot be imported")
    return "\n".join(texts), images


def _image(url: str) -> tuple[Attachment, bytes]:
    head = _DATA_URL.match(url[:1000])
    if head is None:
        raise ValueError("a picture is not in base64")
    try:
        data = base64.b64decode(re.sub(r"\s+", "", url[head.end() :]), validate=True)
    except ValueError as problem:
        raise ValueError("a picture is not in base64") from problem
    try:
        return image_from_bytes(data, _IMAGE_NAME)
    except TurbodeskError as problem:
        raise ValueError(problem.failure.message.rstrip(".")) from problem


def _tool_calls(entry: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = entry.get("tool_calls") or []
    if function := entry.get("function_call"):
        calls = [{"id": function.get("name", "") if isinstance(function, dict) else "", "function": function}]
    if not isinstance(calls, list):
        raise ValueError("its tool calls are not a list")
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValueError("a tool call names no function")
        arguments = function.get("arguments", "{}")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        found.append(ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=arguments))
    return tuple(found)
