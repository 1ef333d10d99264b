"""The rail on the left: one button a page."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of

WIDTH = 62


class Rail(QFrame):
    """Buttons of which one is checked.

    Signals:
        page_chosen: the name of the page whose button was clicked.
    """

    page_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("Rail")
        self.setAccessibleName("Pages")
        self.setFixedWidth(WIDTH)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QToolButton] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(SPACE[0] + 1, SPACE[1], SPACE[0] + 1, SPACE[1])
        self._column.setSpacing(SPACE[0])
        self._column.addStretch(1)
        self._above = 0

    def add_page(self, name: str, icon_name: str, *, at_bottom: bool = False) -> None:
        """Add a button below the others, or at the very bottom."""
        button = QToolButton(self)
        button.setText(name)
        button.setIcon(icon(icon_name, Tint.PlaceholderText))
        button.setIconSize(QSize(20, 20))
        button.setFont(font_of(button, TYPE.small - 1))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.setCheckable(True)
        button.setAccessibleName(f"{name} page")
        button.clicked.connect(partial(self.page_chosen.emit, name))
        self._group.addButton(button)
        self._buttons[name] = button
        if at_bottom:
            self._column.addWidget(button)
        else:
            self._column.insertWidget(self._above, button)
            self._above += 1

    def set_page(self, name: str) -> None:
        """Check the button of a page; one that has none leaves it as it is."""
        if name in self._buttons:
            self._buttons[name].setChecked(True)
