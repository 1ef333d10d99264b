"""Counts the tokens of running replies as they arrive; tells a few times a second how fast they come."""

from __future__ import annotations

import time

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from desktop.domain.conversation import Message, MessageState
from desktop.services.chats import Chats

_TICK_MILLISECONDS = 300
_SMOOTHING = 0.35  # weight of the newest tick


class _Count(msgspec.Struct):
    conversation_id: int
    tokens: int = 0
    tokens_before: int = 0
    speed: float = 0.0


class ReplyMeter(QObject):
    """The speed of every reply that is being written, in tokens per second.

    Signals:
        ticked: there are new figures; only while something is being written, and once after.
    """

    ticked = Signal()

    def __init__(self, chats: Chats, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._counts: dict[int, _Count] = {}
        self._ticked_at = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MILLISECONDS)
        self._timer.timeout.connect(self._on_timeout)
        chats.text_appended.connect(self._on_text_appended)
        chats.reasoning_appended.connect(self._on_text_appended)
        chats.library.message_added.connect(self._on_message_changed)
        chats.library.message_changed.connect(self._on_message_changed)
        chats.library.branch_changed.connect(self._on_branch_changed)

    def conversation_speed(self, conversation_id: int) -> float:
        """Of all replies of a conversation together; 0 before the first tokens."""
        return sum(count.speed for count in self._counts.values() if count.conversation_id == conversation_id)

    def reply(self, message_id: int) -> tuple[int, float]:
        """Tokens so far and the speed of one reply."""
        count = self._counts.get(message_id)
        return (count.tokens, count.speed) if count else (0, 0.0)

    @property
    def message_ids(self) -> list[int]:
        """The replies that are being written."""
        return list(self._counts)

    @Slot(int, str, int)
    def _on_text_appended(self, message_id: int, _text: str, tokens: int) -> None:
        if (count := self._counts.get(message_id)) is not None:
            count.tokens += tokens

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if message.state is MessageState.STREAMING:
            self._counts.setdefault(message.id, _Count(message.conversation_id))
            if not self._timer.isActive():
                self._ticked_at = time.monotonic()
                self._timer.start()
        else:
            self._counts.pop(message.id, None)

    @Slot(int)
    def _on_branch_changed(self, conversation_id: int) -> None:
        """Another reply begun on a branch of its own is not announced as added."""
        for message in self._chats.messages(conversation_id)[-1:]:
            self._on_message_changed(message)

    @Slot()
    def _on_timeout(self) -> None:
        now = time.monotonic()
        elapsed, self._ticked_at = max(now - self._ticked_at, 1e-3), now
        for count in self._counts.values():
            latest = (count.tokens - count.tokens_before) / elapsed
            first = count.tokens_before == 0
            count.speed = latest if first else count.speed + _SMOOTHING * (latest - count.speed)
            count.tokens_before = count.tokens
        if not self._counts:
            self._timer.stop()
        self.ticked.emit()
