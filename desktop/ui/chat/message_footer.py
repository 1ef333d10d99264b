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
        self._status = ElidedLabel(self)
        self._before = self.button("left", "The version before")
        self._before.clicked.connect(self._on_before_clicked)
        self._place = QLabel(self)
        self._place.setProperty("dim", True)
        self._place.setFont(font_of(self._place, TYPE.small))
        self._after = self.button("right", "The version after")
        self._after.clicked.connect(self._on_after_clicked)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(SPACE[0])
        if right:
            self._row.addStretch(1)
        for widget in (self._before, self._place, self._after, self._status):
            self._row.addWidget(widget)
        self._buttons_at = self._row.count()
        if not right:
            self._row.addStretch(1)
        self.set_place(1, 1)
        self.set_status("")

    def add(self, icon_name: str, words: str) -> QToolButton:
        """Add a button after the others."""
        button = self.button(icon_name, words)
        self._row.insertWidget(self._buttons_at, button)
        self._buttons_at += 1
        return button

    def button(self, icon_name: str, words: str) -> QToolButton:
        """A small button of this footer, not yet laid out."""
        button = QToolButton(self)
        button.setIcon(icon(icon_name, Tint.PlaceholderText))
        button.setIconSize(QSize(16, 16))
        button.setToolTip(words)
        button.setAccessibleName(words)
        return button

    def set_status(self, words: str) -> None:
        """What is measured, or how the writing goes."""
        if words != self._status.text() or not words:
            self._status.show_words(words)
            self._status.setVisible(bool(words))

    def set_place(self, position: int, count: int) -> None:
        """Which version this is of how many; the arrows show when there are several."""
        self._place.setText(f"{position}/{count}")
        self._place.setAccessibleName(f"Version {position} of {count}")
        for widget in (self._before, self._place, self._after):
            widget.setVisible(count > 1)
        self._before.setEnabled(position > 1)
        self._after.setEnabled(position < count)

    @Slot()
    def _on_before_clicked(self) -> None:
        self.sibling_requested.emit(-1)

    @Slot()
    def _on_after_clicked(self) -> None:
        self.sibling_requested.emit(1)
