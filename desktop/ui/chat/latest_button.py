"""The button over the foot of a conversation that goes to its end."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QPushButton, QWidget

from desktop.ui.icons import icon
from desktop.ui.theme import SPACE


class LatestButton(QPushButton):
    """Floats over its parent; hidden at first."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Latest", parent)
        self.setIcon(icon("down"))
        self.setIconSize(QSize(16, 16))
        self.setAccessibleName("Jump to the latest message")
        self.hide()

    def offer(self, wanted: bool) -> None:
        """Show it in its place, or hide it."""
        self.setVisible(wanted)
        over = self.parentWidget()
        if wanted and over is not None:
            self.adjustSize()
            self.move((over.width() - self.width()) // 2, over.height() - self.height() - SPACE[1])
