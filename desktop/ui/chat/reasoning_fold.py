"""What the model thought before it answered, folded under a line with the time it took."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer, Slot
from PySide6.QtWidgets import QWidget

from desktop.ui.chat.fold import Fold
from desktop.ui.chat.long_text import LongText


class ReasoningFold(Fold):
    """Closed at first; the text gets a widget when it is opened."""

    def __init__(self, width: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._width = width
        self._chunks: list[str] = []
        self._view: LongText | None = None
        self._began = time.monotonic()
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._on_clock)
        self.toggled.connect(self._on_opened)

    def set_text(self, text: str) -> None:
        """All of it; what is shown of it already stays."""
        shown = "".join(self._chunks)
        if text.startswith(shown):
            if rest := text[len(shown) :]:
                self.append_text(rest)
            return
        self._chunks = [text]
        if self._view is not None:
            self._view.set_text(text)

    def append_text(self, text: str) -> None:
        """More of it, while the model thinks."""
        self._chunks.append(text)
        if self._view is not None:
            self._view.append_text(text)

    def set_running(self) -> None:
        """The model is thinking; counts the seconds."""
        if not self._clock.isActive():
            self._began = time.monotonic()
            self._clock.start()
            self._on_clock()

    def set_done(self, seconds: float) -> None:
        """The model has thought this long; 0 when it was not measured."""
        self._clock.stop()
        self.set_line(f"Thought for {_duration(seconds)}" if seconds else "What the model thought")

    @Slot()
    def _on_clock(self) -> None:
        self.set_line(f"Thinking for {_duration(time.monotonic() - self._began)}")

    @Slot(bool)
    def _on_opened(self, is_open: bool) -> None:
        if is_open and self._view is None:
            self._view = LongText(self._width, "What the model thought", self)
            self._view.setProperty("dim", True)
            self._view.set_text("".join(self._chunks))
            self.set_content(self._view)
        elif not is_open and self._view is not None:
            self._view = None
            self.set_content(None)


def _duration(seconds: float) -> str:
    """'0.8 s', '12 s', '3 min 5 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
