"""Gathers the text of each request for about a frame, so that a fast model does not send one message a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from desktop.domain.generation import GenerationEvent, ReasoningDelta, TextDelta

FRAME_SECONDS = 0.016


class TextCoalescer:
    """Passes events on in batches: at once after a quiet frame, otherwise at the end of the frame.

    Texts of one request that follow each other and wait together become one delta, and so does reasoning; the order
    within a request is kept.
    Belongs to one asyncio loop.
    """

    def __init__(self, emit: Callable[[list[GenerationEvent]], None], interval: float = FRAME_SECONDS) -> None:
        self._emit = emit
        self._interval = interval
        self._waiting: list[GenerationEvent] = []
        self._open_text: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def put(self, event: GenerationEvent) -> None:
        """Take one event."""
        if isinstance(event, TextDelta | ReasoningDelta):
            at = self._open_text.get(event.request_id)
            before = None if at is None else self._waiting[at]
            if at is not None and isinstance(before, TextDelta | ReasoningDelta) and type(before) is type(event):
                self._waiting[at] = type(event)(
                    event.request_id, before.text + event.text, before.tokens + event.tokens
                )
            else:
                self._open_text[event.request_id] = len(self._waiting)
                self._waiting.append(event)
        else:
            self._open_text.pop(event.request_id, None)
            self._waiting.append(event)
        if self._timer is None:
            self._flush_and_rest()

    def flush(self) -> None:
        """Pass on what waits, now."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            self._open_text.clear()
            self._emit(batch)

    def close(self) -> None:
        """Pass on what waits and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _flush_and_rest(self) -> None:
        """Flush; the next batch waits for a frame, and a frame without events ends the waiting."""
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._flush_and_rest)
            self.flush()
        else:
            self._timer = None
