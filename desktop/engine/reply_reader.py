"""Turns the text of one reply into reasoning, answer and tool calls, through one of LMDeploy's parsers.

Nothing the model wrote is lost: a tool block that holds no call, and a call that the end of the reply cut in two, come
out as text. Only line breaks next to the marks of reasoning are left out.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from desktop.domain.generation import FinishReason, ReasoningDelta, TextDelta, ToolCall, ToolCalled
from desktop.engine.reply_parser import CUT_BLOCK, look_again

logger = logging.getLogger(__name__)

Event = TextDelta | ReasoningDelta | ToolCalled
_CUT = (FinishReason.LENGTH, FinishReason.ABORT)


class ReplyReader:
    """Reads one reply. parser: from ParserFactory.make(). bare_calls: a reply that begins with "{" may be a call.

    marks: texts that the parser must not get in pieces; LMDeploy's count on marks that are one token.
    """

    def __init__(self, request_id: str, parser: Any, bare_calls: bool = False, marks: Sequence[str] = ()) -> None:
        self.calls = 0
        self.reasoning_seconds = 0.0
        self._id = request_id
        self._parser = parser
        self._may_be_bare = bare_calls and getattr(parser, "_tool_open_tag", None) is not None
        self._marks = tuple(marks)
        self._piece = ""  # of what may become a mark
        self._start = ""  # white space before the first other character, while a bare call may come
        self._mark_written = True  # whether the model wrote the mark that opened the current block
        self._events: list[Event] = []
        self._tokens = 0  # that no event stands for yet
        self._reasoning_since: float | None = None
        self._line_breaks = ""  # at the end of the reasoning so far
        self._begun_reasoning = False
        self._skip_line_breaks = False  # at the beginning of the answer behind reasoning
        self._call: tuple[int, str, str, list[str]] | None = None  # number, id, name, arguments
        self._calls_of_block = 0
        self._known = ""  # text that was sent before and may come again
        self._reason: FinishReason | None = None

    def go_on_from(self, beginning: str, token_ids: Sequence[int] = ()) -> None:
        """Bring the parser where a cut reply stopped: its answer so far or, if it had none, its reasoning."""
        if not beginning:
            return
        self._may_be_bare = False
        self.read(beginning, token_ids, 0)
        if self._parser is not None and hasattr(self._parser, "_pending"):
            # Half a mark or half a call at the end is known to the reader of the reply already.
            self._known = self._open_block() + self._parser._pending + self._piece
        self.calls = 0
        self.reasoning_seconds = 0.0
        self._reasoning_since = None
        self._line_breaks = ""

    def read(self, text: str, token_ids: Sequence[int], tokens: int, reason: FinishReason | None = None) -> list[Event]:
        """The events of a step. text, token_ids: what is new; tokens: how many; reason: why it is the last one."""
        self._tokens += tokens
        self._reason = reason
        if self._may_be_bare:
            text = self._look_for_bare_call(text)
        text = self._keep_piece(self._piece + text)
        if self._parser is None:
            self._answer(text)
        else:
            before = self._open_block() + str(getattr(self._parser, "_pending", ""))
            try:
                deltas = self._parser.stream_chunk(text, list(token_ids), final=reason is not None)
            except Exception:
                logger.warning("LMDeploy's parser failed; the rest of the reply is shown as it is", exc_info=True)
                self._parser = None
                self._give_up(before, text)
            else:
                for delta, _ in deltas:
                    self._take(delta)
        if reason is not None:
            self._finish()
        events, self._events = self._events, []
        return events

    def _keep_piece(self, text: str) -> str:
        """The text without a piece of a mark at its end, which waits for the rest."""
        self._piece = ""
        at = text.rfind("<") if self._reason is None else -1
        if at >= 0 and any(len(mark) > len(text) - at and mark.startswith(text[at:]) for mark in self._marks):
            text, self._piece = text[:at], text[at:]
        return text

    def _look_for_bare_call(self, text: str) -> str:
        text = self._start + text
        if not text.strip() and self._reason is None:
            self._start = text
            return ""
        self._may_be_bare, self._start = False, ""
        if text.lstrip().startswith("{"):
            self._mark_written = False
            return str(self._parser._tool_open_tag) + text
        return text

    def _take(self, delta: Any) -> None:
        if delta.reasoning_content:
            self._think(delta.reasoning_content)
        if delta.content:
            self._answer(delta.content)
        for call in delta.tool_calls or ():
            if call.index < 0:
                self._end_block(call.index, call.id, call.function.arguments)
            else:
                self._take_call(call)

    def _open_block(self) -> str:
        """What the parser has taken of a tool block that is not over."""
        if getattr(self._parser, "_mode", "") != "tool":
            return ""
        return (str(self._parser._tool_open_tag) if self._mark_written else "") + str(self._parser._block)

    def _new(self, text: str) -> str:
        known, self._known = self._known, ""
        return text.removeprefix(known)

    def _think(self, text: str) -> None:
        self._end_call()
        text = self._new(text)
        if self._reasoning_since is None:
            self._reasoning_since = time.monotonic()
        self._skip_line_breaks = True
        if not self._begun_reasoning:
            text = text.lstrip("\n")
            self._begun_reasoning = bool(text)
        text = self._line_breaks + text
        said = text.rstrip("\n")
        self._line_breaks = text[len(said) :] if self._begun_reasoning else ""
        if said:
            self._emit(ReasoningDelta(self._id, said, self._tokens))

    def _answer(self, text: str) -> None:
        self._end_call()
        self._end_reasoning()
        text = self._new(text)
        if self._skip_line_breaks:
            text = text.lstrip("\n")
            self._skip_line_breaks = not text
        if text:
            self._emit(TextDelta(self._id, text, self._tokens))

    def _emit(self, event: Event) -> None:
        self._tokens = 0
        self._events.append(event)

    def _take_call(self, delta: Any) -> None:
        self._end_reasoning()
        if self._call is None or self._call[0] != delta.index:
            self._end_call()
            self._calls_of_block += 1
            self._call = (delta.index, delta.id or f"call-{uuid.uuid4().hex}", delta.function.name or "", [])
        if delta.function.arguments:
            self._call[3].append(delta.function.arguments)

    def _end_call(self) -> None:
        """Tell of the call that is being read, if any."""
        if self._call is None:
            return
        _, call_id, name, arguments = self._call
        self._call, self._known = None, ""
        self.calls += 1
        self._emit(ToolCalled(self._id, ToolCall(id=call_id, name=name, arguments=_unwrap("".join(arguments)))))

    def _end_block(self, end: int, channel: str, block: str) -> None:
        mark = str(self._parser._tool_open_tag) if self._mark_written else ""
        self._mark_written = True
        lost = ""
        if not self._calls_of_block:
            lost = mark + block
        elif end == CUT_BLOCK and self._reason in _CUT and self._calls_of_block == 1:
            # Half a call must not be run; as text, the reply can go on from it.
            self._call, lost = None, mark + block
        else:
            if self._call is not None and self._calls_of_block == 1:
                number, call_id, name, parts = self._call
                arguments, lost = look_again(self._parser.tool_parser, block, name, "".join(parts))
                self._call = (number, call_id, name, [arguments])
            self._end_call()
        self._calls_of_block = 0
        if lost:
            (self._think if channel == "reasoning" else self._answer)(lost)

    def _end_reasoning(self) -> None:
        if self._reasoning_since is not None:
            self.reasoning_seconds += time.monotonic() - self._reasoning_since
            self._reasoning_since = None
        self._begun_reasoning = False
        self._line_breaks = ""

    def _give_up(self, before: str, text: str) -> None:
        if self._call is not None and not before:  # gpt-oss, whose calls have no block
            before = self._call[2] + "".join(self._call[3])
        self._call = None
        self._answer(before + text)

    def _finish(self) -> None:
        if self._call is not None and self._reason in _CUT:  # only gpt-oss, whose calls have no block
            _, _, name, arguments = self._call
            self._call = None
            self._answer(name + "".join(arguments))
        self._end_call()
        inside = self._reasoning_since is not None
        if inside and self._line_breaks and self._reason in _CUT:
            self._emit(ReasoningDelta(self._id, self._line_breaks, self._tokens))
        self._end_reasoning()
        if self._tokens and not self.calls:
            self._emit((ReasoningDelta if inside else TextDelta)(self._id, "", self._tokens))


def _unwrap(arguments: str) -> str:
    """The arguments themselves where the model wrote them as a string of JSON, which is OpenAI's way."""
    if arguments.lstrip().startswith('"'):
        try:
            inner = json.loads(arguments)
        except ValueError:
            return arguments
        if isinstance(inner, str):
            return inner
    return arguments
