"""The line beneath a message: what is measured about it, its buttons, and the arrows through its siblings."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

from desktop.ui.controls import ElidedLabel
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of


class MessageFooter(QWidget):
    """Signals:
    sibling_requested: -1 for the one before, 1 for the one after.
    """

    sibling_requested = Signal(int)

    def __init__(self, *, right: bool = False, parent: QWidget | None = None) -> None:
        """right: flush right, as beneath what the user wrote."""
        super().__init__(parent)
        self.arrows: SiblingArrows | None = None  # built with the first sibling, which most messages never get
        self._status = ElidedLabel(self)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(SPACE[0])
        if right:
            self._row.addStretch(1)
        self._arrows_at = self._row.count()
        self._row.addWidget(self._status)
        self._buttons_at = self._row.count()
        if not right:
            self._row.addStretch(1)
        self.set_status("")

    def add(self, icon_name: str, words: str) -> QToolButton:
        """Add a button after the others."""
        button = small_button(icon_name, words, self)
        self._row.insertWidget(self._buttons_at, button)
        self._buttons_at += 1
        return button

    def set_status(self, words: str) -> None:
        """What is measured, or how the writing goes."""
        if words != self._status.text() or not words:
            self._status.show_words(words)
            self._status.setVisible(bool(words))

    def set_place(self, position: int, count: int) -> None:
        """Which version this is of how many; the arrows show when there are several."""
        if self.arrows is None:
            if count < 2:
                return
            self.arrows = SiblingArrows(self)
            self.arrows.requested.connect(self.sibling_requested)
            self._row.insertWidget(self._arrows_at, self.arrows)
            self._buttons_at += 1
        self.arrows.set_place(position, count)


class SiblingArrows(QWidget):
    """The arrows through the versions of a message, and which of them is shown.

    requested: -1 for the one before, 1 for the one after.
    """

    requested = Signal(int)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.before = small_button("left", "The version before", self)
        self.before.clicked.connect(self._on_before_clicked)
        self.place = QLabel(self)
        self.place.setProperty("dim", True)
        self.place.setFont(font_of(self.place, TYPE.small))
        self.after = small_button("right", "The version after", self)
        self.after.clicked.connect(self._on_after_clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE[0])
        for widget in (self.before, self.place, self.after):
            row.addWidget(widget)

    def set_place(self, position: int, count: int) -> None:
        """Show them when there are several versions."""
        self.place.setText(f"{position}/{count}")
        self.place.setAccessibleName(f"Version {position} of {count}")
        self.before.setEnabled(position > 1)
        self.after.setEnabled(position < count)
        self.setVisible(count > 1)

    @Slot()
    def _on_before_clicked(self) -> None:
        self.requested.emit(-1)

    @Slot()
    def _on_after_clicked(self) -> None:
        self.requested.emit(1)


def small_button(icon_name: str, words: str, parent: QWidget) -> QToolButton:
    """A button beneath a message, not yet laid out."""
    button = QToolButton(parent)
    button.setIcon(icon(icon_name, Tint.PlaceholderText))
    button.setIconSize(QSize(16, 16))
    button.setToolTip(words)
    button.setAccessibleName(words)
    return button
