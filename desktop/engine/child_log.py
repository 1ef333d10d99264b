"""What a child process prints: the last lines, kept, and each line passed on, but no flood."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from desktop.domain.counting import counted

LOG_LINES = 400
LOG_LINE_BYTES = 4000
LOG_LINES_A_SECOND = 500  # are passed on; a flood must not drown the window


class ChildLog:
    """on_log: called with each line."""

    def __init__(self, on_log: Callable[[str], None] | None = None) -> None:
        self._on_log = on_log
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._second, self._count = 0, 0

    @property
    def lines(self) -> list[str]:
        """The last lines, oldest first."""
        return list(self._lines)

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Take all lines of the child's stderr, to its end."""
        rest = b""
        while chunk := await stream.read(65536):
            # Progress bars end their lines with a carriage return.
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            if len(rest) > LOG_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._take(line)
        self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line[:LOG_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if not text:
            return
        self._lines.append(text)
        if self._on_log is None:
            return
        second = int(time.monotonic())
        if second != self._second:
            if (left_out := self._count - LOG_LINES_A_SECOND) > 0:
                self._on_log(f"… {counted(left_out, 'line')} left out")
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= LOG_LINES_A_SECOND:
            self._on_log(text)
