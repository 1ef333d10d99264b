"""Gives the messages of a long conversation a height each, a few hundred at a time."""

from __future__ import annotations

from collections.abc import Sequence

from desktop.domain.conversation import Message
from desktop.ui.chat.message_column import MessageColumn
from desktop.ui.chat.message_log import MessageLog

_AT_ONCE = 300  # about 3 ms
_SAMPLE = 30  # messages


class HeightGuesses:
    """Messages come with one height for all of them; afterwards each is looked at, the newest first."""

    def __init__(self, log: MessageLog, column: MessageColumn) -> None:
        self._log = log
        self._column = column
        self._unlooked = 0  # of the messages before this place, the heights are not estimated one by one

    @property
    def are_due(self) -> bool:
        """Whether there are messages that were not looked at."""
        return self._unlooked > 0

    def extend(self, messages: Sequence[Message]) -> None:
        """Add messages at the end of the log and the column, with the height of a few of them."""
        if messages:
            some = messages[:: len(messages) // _SAMPLE + 1]
            self._log.extend(messages)
            height = sum(map(self._column.estimate(), some)) // len(some)
            self._column.extend([message.id for message in messages], height)
            if len(messages) > 1:
                self.begin_anew()

    def begin_anew(self) -> None:
        """Look at every message again."""
        self._unlooked = len(self._log)

    def look(self) -> None:
        """Estimate the next few."""
        estimate = self._column.estimate()
        before = max(self._unlooked - _AT_ONCE, 0)
        for place in range(before, min(self._unlooked, len(self._log))):
            if not self._column.is_measured(place):
                self._column.guess(place, estimate(self._log[place]))
        self._unlooked = before
        self._column.settle()
