"""Every command of the window as a QAction, in one list that menus, shortcuts and the palette share."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget


class Actions:
    """The registry: add() makes an action of the window; `all` is in the order they were added."""

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._actions: list[QAction] = []

    @property
    def all(self) -> tuple[QAction, ...]:
        """Every action, enabled or not."""
        return tuple(self._actions)

    def add(self, words: str, shortcut: str, slot: Callable[[], object], *, only_in: QWidget | None = None) -> QAction:
        """words: as menus show them. only_in: the widget in which alone the shortcut works; it may handle it itself."""
        action = QAction(words, self._window)
        if shortcut:
            action.setShortcut(QKeySequence(shortcut))
        action.triggered.connect(slot)
        if only_in is None:
            action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
            self._window.addAction(action)
        else:
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            only_in.addAction(action)
        self._actions.append(action)
        return action
