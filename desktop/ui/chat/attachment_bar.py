"""The files that go with the next message, as chips in a row."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.conversation import Attachment
from desktop.ui.chat.attachment_chip import AttachmentChip
from desktop.ui.theme import SPACE

_HEIGHT = 60


class AttachmentBar(QWidget):
    """Hidden while it is empty. Numbers are those of AttachmentReader.

    Signals:
        changed: a file was added, read, refused or removed.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chips: dict[int, AttachmentChip] = {}
        inside = QWidget(self)
        self._row = QHBoxLayout(inside)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(SPACE[1])
        self._row.addStretch(1)
        self._scroll = QScrollArea(self)
        self._scroll.setWidgetResizable(True)
        self._scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setFixedHeight(_HEIGHT)
        self._scroll.setWidget(inside)
        self._problem = QLabel(self)
        self._problem.setTextFormat(Qt.TextFormat.PlainText)
        self._problem.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[0])
        column.addWidget(self._problem)
        column.addWidget(self._scroll)
        self._show()

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Those that were read."""
        return tuple(chip.attachment for chip in self._chips.values() if chip.attachment is not None)

    @property
    def numbers(self) -> frozenset[int]:
        """Of all that are here, read or not."""
        return frozenset(self._chips)

    @property
    def is_reading(self) -> bool:
        """Whether a file is still being read."""
        return any(chip.attachment is None for chip in self._chips.values())

    def begin(self, number: int, name: str) -> None:
        """A file of this name is being read."""
        self._problem.clear()
        chip = AttachmentChip(name, removable=True, parent=self)
        chip.removed.connect(partial(self.remove, number))
        self._chips[number] = chip
        self._row.insertWidget(self._row.count() - 1, chip)
        self._show()
        self.changed.emit()

    def show_attachment(self, number: int, attachment: Attachment, data: bytes) -> None:
        """The file was read; ignored when it was removed meanwhile."""
        if (chip := self._chips.get(number)) is not None:
            chip.show_attachment(attachment, data)
            self.changed.emit()

    def show_cost(self, number: int, words: str) -> None:
        """What the file costs."""
        if (chip := self._chips.get(number)) is not None:
            chip.show_cost(words)

    def fail(self, number: int, words: str) -> None:
        """The file cannot be used, for this reason."""
        if number in self._chips:
            self.remove(number)
            self.say(words)

    def say(self, words: str) -> None:
        """Say what is wrong with what is attached; "" takes it back."""
        self._problem.setText(words)
        self._show()

    @Slot(int)
    def remove(self, number: int) -> None:
        """Take a file away again."""
        chip = self._chips.pop(number, None)
        if chip is not None:
            self._row.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
            self._problem.clear()
            self._show()
            self.changed.emit()

    def clear(self) -> None:
        """Take all files away."""
        for number in list(self._chips):
            self.remove(number)
        self.say("")

    def _show(self) -> None:
        self._scroll.setVisible(bool(self._chips))
        self._problem.setVisible(bool(self._problem.text()))
        self.setVisible(bool(self._chips) or bool(self._problem.text()))
