"""How full the model's context is with the open conversation."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from desktop.domain.counting import counted
from desktop.ui.theme import SPACE, TYPE, current_palette, font_of

_NEARLY_FULL = 0.85
_BAR = QSize(64, 6)


class ContextMeter(QWidget):
    """A thin bar and two numbers; hidden while nothing is known."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = _Bar(self)
        self._label = QLabel(self)
        self._label.setProperty("dim", True)
        self._label.setFont(font_of(self._label, TYPE.small))
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE[1])
        row.addWidget(self._bar)
        row.addWidget(self._label)
        self.hide()

    def show_tokens(self, used: int, running: int, limit: int, left_out: int = 0) -> None:
        """used: tokens of the conversation and of what is being typed; running: of the reply that is being written.

        limit 0: no model is loaded, or nobody knows its context. left_out: messages of the conversation that do not fit
        and are not part of used.
        """
        self.setVisible(limit > 0)
        if not limit:
            return
        total = used + running
        left_out_words = f" · {left_out:,} left out" if left_out else ""
        self._label.setText(f"{total:,} / {limit:,}{left_out_words}")
        left = max(limit - total, 0)
        words = f"Context: {total:,} of {counted(limit, 'token')}."
        if left_out:
            words += f" {_oldest(left_out)} left out of what the model reads, so that the rest and a reply fit."
        if total >= limit:
            words += " It is full: a message will be refused. Begin a new chat, or shorten a message by editing it."
        elif total >= _NEARLY_FULL * limit:
            words += (
                f" A reply longer than {counted(left, 'token')} will be cut off there."
                " A new chat begins with an empty context."
            )
        self._bar.show_share(used / limit, running / limit, warn=total >= _NEARLY_FULL * limit)
        self.setToolTip(f"<qt>{words}</qt>")
        self.setAccessibleName(words)


def _oldest(count: int) -> str:
    return "The oldest message is" if count == 1 else f"The oldest {count:,} messages are"


class _Bar(QWidget):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._used = self._running = 0.0
        self._warn = False
        # Where there is little room, the numbers keep theirs.
        self.setFixedHeight(_BAR.height())
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return _BAR

    def show_share(self, used: float, running: float, *, warn: bool) -> None:
        self._used, self._running, self._warn = min(used, 1.0), min(running, 1.0), warn
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        colours = current_palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(0, 0, 0, 0))
        strong = QColor(colours.danger if self._warn else colours.accent)
        pale = QColor(strong)
        pale.setAlphaF(0.4)
        width = self.width()
        for share, colour in (
            (1.0, QColor(colours.free)),
            (min(self._used + self._running, 1.0), pale),
            (self._used, strong),
        ):
            if share > 0:
                painter.setBrush(colour)
                painter.drawRoundedRect(QRectF(0, 0, max(width * share, 4), self.height()), 3, 3)
        painter.end()
