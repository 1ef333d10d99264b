"""The pages, of which one is shown; a page is built when it is first wanted."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QWidget


class Pages(QStackedWidget):
    """Signals:
    page_shown: the name of the page that is shown now.
    """

    page_shown = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._makers: dict[str, Callable[[], QWidget]] = {}
        self._built: dict[str, QWidget] = {}

    def add(self, name: str, make: Callable[[], QWidget]) -> None:
        """Know a page by this name. make: builds it; most pages would make up a good part of a start."""
        self._makers[name] = make

    def page(self, name: str) -> QWidget:
        """The page of this name. Raises KeyError for a name that was not added."""
        if name not in self._built:
            self._built[name] = self._makers[name]()
            self.addWidget(self._built[name])
        return self._built[name]

    def is_built(self, name: str) -> bool:
        """Whether this page was wanted before."""
        return name in self._built

    def show_page(self, name: str) -> None:
        """Go to the page of this name."""
        self.setCurrentWidget(self.page(name))
        self.page_shown.emit(name)
