"""Gathers the text that arrives for replies and gives it out at most once a frame."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Slot

_FRAME_MILLISECONDS = 16
_BUSY_SHARE = 4  # painting more text takes at most one part in so many of the thread's time


class FrameTexts(QObject):
    """What waits stays until there is a frame: there is none while it is paused, as it is at first."""

    def __init__(self, show: Callable[[dict[int, tuple[str, str]]], None], parent: QObject) -> None:
        """show: is given, by message id, more text and more reasoning."""
        super().__init__(parent)
        self._show = show
        self._waiting: dict[int, tuple[list[str], list[str]]] = {}
        self._paused = True
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_timeout)

    def add(self, message_id: int, text: str = "", reasoning: str = "") -> None:
        """More for a message."""
        texts, reasonings = self._waiting.setdefault(message_id, ([], []))
        texts.append(text)
        reasonings.append(reasoning)
        if not self._paused and not self._timer.isActive():
            self._timer.start(_FRAME_MILLISECONDS)

    def forget(self, message_id: int) -> None:
        """What waits for this message was shown in another way."""
        self._waiting.pop(message_id, None)

    def pause(self) -> None:
        """Give nothing out for now."""
        self._paused = True
        self._timer.stop()

    def resume(self) -> None:
        """Give out what waits, soon, and from then on with every frame."""
        self._paused = False
        if self._waiting:
            self._timer.start(0)

    @Slot()
    def _on_timeout(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            started = time.perf_counter()
            self._show({known: ("".join(texts), "".join(more)) for known, (texts, more) in waiting.items()})
            spent = (time.perf_counter() - started) * 1_000
            # Text that arrives meanwhile waits: other work of this thread goes first.
            self._timer.start(max(_FRAME_MILLISECONDS, round(spent * _BUSY_SHARE)))
