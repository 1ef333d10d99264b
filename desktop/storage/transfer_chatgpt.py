"""Turns the conversations of ChatGPT's own export (conversations.json) into the lines of an export.

A conversation there is a "mapping" from ids to nodes, each with its parent, its children and at most one message. Nodes
without a message for people are left out, and what follows them stands after the node before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from desktop.domain.conversation import ChatSettings, title_of
from desktop.domain.generation import Role, ToolCall
from desktop.storage.transfer_lines import ConversationLine, MessageLine

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "tool": "tool"}
_LATEST = 253402300800.0  # the year 10000
_TEXTS = ("text", "result", "content", "model_set_context")  # where content that has no parts has its text
_CONTEXTS = ("user_editable_context", "model_editable_context")  # custom instructions, and what was remembered


def is_chatgpt(value: Any) -> bool:
    """Whether this is a conversation of such an export."""
    return isinstance(value, dict) and "mapping" in value


def chatgpt_lines(value: dict[str, Any]) -> Iterator[ConversationLine | MessageLine]:
    """The lines of one conversation, with all its branches.

    System messages and custom instructions become the conversation's system prompt, thoughts the reasoning of the reply
    that follows them. What is not text is named in brackets. ValueError, with words for the user: it makes no sense.
    """
    nodes = value.get("mapping")
    if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
        raise ValueError("its mapping holds no messages")
    reader = _Reader(nodes, _time(value.get("create_time"), time.time()))
    reader.read()
    title = value.get("title")
    chosen = isinstance(title, str) and bool(title.strip())
    updated = _time(value.get("update_time"), max([reader.begun, *(line.created_at for line in reader.lines)]))
    yield ConversationLine(
        title=" ".join(str(title).split())
        if chosen
        else title_of(line.content for line in reader.lines if line.role == "user"),
        created_at=reader.begun,
        updated_at=updated,
        leaf=reader.number_of(value.get("current_node")),
        title_chosen=chosen,
        settings=ChatSettings(system_prompt="\n\n".join(reader.system)) if reader.system else None,
    )
    yield from reader.lines


class _Reader:
    """Goes through the nodes from the roots on. begun: the time of what has none."""

    def __init__(self, nodes: dict[str, dict[str, Any]], begun: float) -> None:
        self._nodes = nodes
        self.begun = begun
        self.lines: list[MessageLine] = []
        self.system: list[str] = []
        self._numbers: dict[str, int | None] = {}  # node id -> the number of its message, or of the one before it
        self._thoughts: dict[str, str] = {}  # node id -> what was thought up to there for the reply to come

    def number_of(self, node_id: object) -> int | None:
        """The number of this node's message, or of the one before it; of the last one when there is no such node."""
        if isinstance(node_id, str) and node_id in self._numbers:
            return self._numbers[node_id]
        return len(self.lines) or None

    def read(self) -> None:
        """Fill lines and system."""
        followers = self._followers()
        waiting = [node_id for node_id in reversed(self._nodes) if self._parent(node_id) is None]
        while waiting:
            node_id = waiting.pop()
            try:
                self._take(node_id, is_last=node_id not in followers)
            except ValueError as problem:
                raise ValueError(f"message {node_id[:40]!r}: {problem}") from problem
            waiting += reversed(followers.get(node_id, ()))
        if len(self._numbers) < len(self._nodes):
            raise ValueError("some of its messages follow each other in a circle")

    def _parent(self, node_id: str) -> str | None:
        parent = self._nodes[node_id].get("parent")
        return parent if isinstance(parent, str) and parent in self._nodes else None

    def _followers(self) -> dict[str, list[str]]:
        """By their parents; the order is that of the parent's list, where it names them."""
        found: dict[str, list[str]] = {}
        for node_id in self._nodes:
            if (parent := self._parent(node_id)) is not None:
                found.setdefault(parent, []).append(node_id)
        for parent, ids in found.items():
            listed = self._nodes[parent].get("children")
            if len(ids) > 1 and isinstance(listed, list):
                places = {child: place for place, child in enumerate(listed) if isinstance(child, str)}
                ids.sort(key=lambda child: places.get(child, len(places)))
        return found

    def _take(self, node_id: str, *, is_last: bool) -> None:
        parent = self._parent(node_id)
        before = None if parent is None else self._numbers[parent]
        thoughts = "" if parent is None else self._thoughts.get(parent, "")
        self._numbers[node_id] = before
        message = self._nodes[node_id].get("message")
        if message is None:
            return
        if not isinstance(message, dict):
            raise ValueError("it is not an object")
        text, kind = _text(message), _content(message).get("content_type")
        role = _role(message)
        if role == "system" or kind in _CONTEXTS:
            if text.strip() and text.strip() not in self.system:
                self.system.append(text.strip())
            return
        if kind == "thoughts":
            thoughts = "\n\n".join(filter(None, (thoughts, text)))
        is_thinking = kind in ("thoughts", "reasoning_recap")
        calls = _calls(node_id, message, text) if role == "assistant" else ()
        if is_thinking or calls:
            text = ""
        says_something = text.strip() or calls or (is_thinking and is_last and thoughts)
        if not says_something or _metadata(message).get("is_visually_hidden_from_conversation") is True:
            self._thoughts[node_id] = thoughts
            return
        self.lines.append(
            MessageLine(
                parent=before,
                role=_ROLES[role],
                content=text,
                created_at=_time(message.get("create_time"), self.begun),
                model=_model(message) if role == "assistant" else "",
                reasoning=thoughts if role == "assistant" else "",
                tool_calls=calls,
                tool_call_id=self._answered(before) if role == "tool" else "",
            )
        )
        self._numbers[node_id] = len(self.lines)

    def _answered(self, before: int | None) -> str:
        """The call that a result after this message belongs to; "" when there is none."""
        while before is not None and self.lines[before - 1].role == "tool":
            before = self.lines[before - 1].parent
        calls = self.lines[before - 1].tool_calls if before is not None else ()
        return calls[0].id if calls else ""


def _role(message: dict[str, Any]) -> str:
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else None
    if role not in (*_ROLES, "system"):
        raise ValueError(f"its role is {str(role)[:40]!r}, which is unknown")
    return str(role)


def _content(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return content if isinstance(content, dict) else {}


def _text(message: dict[str, Any]) -> str:
    """All text of a message; what is no text is named in brackets."""
    content = _content(message)
    kind = str(content.get("content_type") or "content")
    found: list[str] = []
    if isinstance(parts := content.get("parts"), list):
        found += map(_part, parts)
    elif isinstance(thoughts := content.get("thoughts"), list):
        found += (_string(thought.get("content")) for thought in thoughts if isinstance(thought, dict))
    elif kind == "user_editable_context":
        found += (_string(content.get(name)) for name in ("user_profile", "user_instructions"))
    else:
        texts = [content[name] for name in _TEXTS if isinstance(content.get(name), str)]
        found.append(texts[0] if texts else f"[{_named(kind)}]" if content else "")
    for name in _files(message):
        found.append(f"[file: {name}]")
    return "\n".join(filter(None, found))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return "" if part is None else "[content]"
    if isinstance(part.get("text"), str):
        return str(part["text"])
    return f"[{_named(str(part.get('content_type') or 'content'))}]"


def _named(kind: str) -> str:
    """'image' for image_asset_pointer, 'tether quote' for tether_quote."""
    for word in ("image", "audio", "video"):
        if word in kind:
            return word
    return kind[:40].replace("_", " ")


def _files(message: dict[str, Any]) -> list[str]:
    """The names of what was attached; pictures are among the parts."""
    files = _metadata(message).get("attachments")
    found = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    names = [_string(file.get("name")) for file in found if not _string(file.get("mime_type")).startswith("image/")]
    return [" ".join(name.split())[:200] for name in names if name.strip()]


def _calls(node_id: str, message: dict[str, Any], text: str) -> tuple[ToolCall, ...]:
    """What is said to a tool and not to the user is a call of it; its text, often a program, is the argument."""
    recipient = message.get("recipient")
    if not isinstance(recipient, str) or recipient in ("", "all"):
        return ()
    return (ToolCall(id=node_id, name=recipient, arguments=text),)


def _metadata(message: dict[str, Any]) -> dict[str, Any]:
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _model(message: dict[str, Any]) -> str:
    return _string(_metadata(message).get("model_slug"))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any, otherwise: float) -> float:
    """A time in seconds since the epoch that makes sense, or the other one."""
    sensible = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LATEST
    return float(value) if sensible else otherwise
