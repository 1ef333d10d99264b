"""What a server streams of one reply, as events."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desktop.domain.generation import FinishReason, GenerationRequest, ReasoningDelta, TextDelta, ToolCall, ToolCalled
from desktop.engine.parser_choice import ParserChoice
from desktop.engine.reply_reader import ReplyReader

if TYPE_CHECKING:
    from desktop.engine.reply_parser import ParserFactory

Event = TextDelta | ReasoningDelta | ToolCalled
MakeParsers = Callable[[], "ParserFactory"]

# The server's model is known by name only: these marks, which most families write, say that nobody has parsed a reply.
RAW = ParserChoice(reasoning="default", tools="qwen3")
_THINKS, _CALLS = "<think>", "<tool_call>"


class RemoteReply:
    """Reads one reply's deltas, of OpenAI's form and what LMDeploy, vLLM and others have added to it.

    A server that was started without its parsers streams reasoning and calls as text, marks and all. A reply that
    begins with such a mark is read by LMDeploy's parsers here. make_parsers: imports LMDeploy, so it is called in a
    thread, and only then.
    """

    def __init__(self, request: GenerationRequest, make_parsers: MakeParsers) -> None:
        self.calls = 0
        self.pieces = 0  # what came with text in it: about as many tokens
        self._id = request.request_id
        self._tools = request.tools
        self._make_parsers = make_parsers
        self._marks = (_THINKS, _CALLS) if request.tools else (_THINKS,)
        self._begins = request.messages[-1].role != "assistant"  # else it goes on, and began before
        self._start = ""  # the beginning, until it is clear whether it is a mark
        self._reader: ReplyReader | None = None
        self._open_calls: dict[int, dict[str, str]] = {}
        self._thinking_since: float | None = None
        self._seconds = 0.0

    @property
    def reasoning_seconds(self) -> float:
        """How long it thought."""
        return self._seconds + (self._reader.reasoning_seconds if self._reader is not None else 0.0)

    async def read(self, delta: Any) -> list[Event]:
        """The events of one delta."""
        events: list[Event] = []
        if reasoning := _extra(delta, "reasoning_content") or _extra(delta, "reasoning"):
            self.pieces += 1
            self._begins = False
            if self._thinking_since is None:
                self._thinking_since = time.monotonic()
            events.append(ReasoningDelta(self._id, reasoning, 1))
        if delta.content:
            self.pieces += 1
            self._end_thinking()
            events += await self._text(delta.content)
        for call in delta.tool_calls or ():
            self._end_thinking()
            self._take(call)
        return events

    async def finish(self, reason: FinishReason) -> list[Event]:
        """The events that were held back until the end."""
        self._end_thinking()
        events: list[Event] = []
        if self._start:
            start, self._start = self._start, ""
            events.append(TextDelta(self._id, start, 1))
        if self._reader is not None:
            events += self._reader.read("", (), 0, reason)
            self.calls += self._reader.calls
        whole = reason not in (FinishReason.LENGTH, FinishReason.ABORT)
        for call in self._open_calls.values():
            if whole and call["name"]:
                self.calls += 1
                call_id = call["id"] or f"call-{uuid.uuid4().hex}"
                events.append(ToolCalled(self._id, ToolCall(id=call_id, name=call["name"], arguments=call["text"])))
            elif half := call["name"] + call["text"]:  # it must not be run
                events.append(TextDelta(self._id, half, 1))
        self._open_calls.clear()
        return events

    async def _text(self, text: str) -> list[Event]:
        if self._reader is not None:
            return list(self._reader.read(text, (), 1))
        if not self._begins:
            return [TextDelta(self._id, text, 1)]
        self._start += text
        seen = self._start.lstrip()
        if any(mark.startswith(seen) and mark != seen for mark in self._marks):
            return []  # nothing yet, or a part of a mark
        text, self._start, self._begins = self._start, "", False
        if not seen.startswith(self._marks):
            return [TextDelta(self._id, text, 1)]
        parsers = await asyncio.to_thread(self._make_parsers)
        self._reader = ReplyReader(self._id, parsers.make(self._tools), parsers.bare_calls, parsers.marks)
        return list(self._reader.read(seen, (), 1))

    def _take(self, delta: Any) -> None:
        call = self._open_calls.setdefault(delta.index or 0, {"id": "", "name": "", "text": ""})
        call["id"] = call["id"] or delta.id or ""
        if delta.function is not None:
            call["name"] += delta.function.name or ""
            call["text"] += delta.function.arguments or ""

    def _end_thinking(self) -> None:
        if self._thinking_since is not None:
            self._seconds += time.monotonic() - self._thinking_since
            self._thinking_since = None


def _extra(delta: Any, name: str) -> str:
    """A field that OpenAI's own servers do not have."""
    found = getattr(delta, name, None)
    return found if isinstance(found, str) else ""
