"""A conversation as Markdown for people to read: the branch on screen, who said what and when."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping

from desktop.domain.conversation import Conversation, Message, MessageState, branch
from desktop.domain.counting import counted

_STATES = {
    MessageState.STREAMING: "not finished",
    MessageState.STOPPED: "stopped",
    MessageState.INTERRUPTED: "interrupted",
}


def markdown_of(conversation: Conversation, messages: Mapping[int, Message]) -> Iterator[str]:
    """The conversation piece by piece; messages: all of its, by id."""
    yield f"# {' '.join(conversation.title.split())}\n\n{_time(conversation.created_at)}\n"
    if conversation.settings and conversation.settings.system_prompt:
        yield f"\n{_quote('System prompt', conversation.settings.system_prompt)}"
    for message in branch(messages, conversation.leaf_id):
        yield _message(message)


def _message(message: Message) -> str:
    who = {"user": "You", "system": "System", "tool": "Tool"}.get(message.role) or message.model or "Assistant"
    state = _STATES.get(message.state)
    parts = [f"\n## {who}\n\n*{_time(message.created_at)}{', ' + state if state else ''}*\n"]
    if message.reasoning:
        parts.append(_quote("Reasoning", message.reasoning))
    if message.role == "tool":
        parts.append(f"**{'Error' if message.tool_failed else 'Result'}**\n\n{_fence(message.content)}")
    elif message.content:
        parts.append(message.content.rstrip("\n") + "\n")
    for attachment in message.attachments:
        size = f"{attachment.width} × {attachment.height} pixels" if attachment.kind == "image" else "text"
        name = " ".join(attachment.name.split()).replace("`", "'")
        parts.append(f"Attached: `{name}` ({size}, {counted(attachment.size, 'byte')})\n")
    for call in message.tool_calls:
        name = " ".join(call.name.split()).replace("`", "'")
        parts.append(f"**Calls** `{name}`\n\n{_fence(_pretty(call.arguments), 'json')}")
    if message.failure:
        parts.append(_quote("Failed", message.failure.message))
    return "\n".join(parts)


def _quote(title: str, text: str) -> str:
    return "".join(f"> {line}".rstrip() + "\n" for line in (f"**{title}**", "", *text.splitlines()))


def _fence(text: str, language: str = "") -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _pretty(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return arguments


def _time(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):  # a damaged row's
        return "at an unknown time"
