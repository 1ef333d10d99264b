"""Opens what the window shows about memory: the page, and the dialog before a load."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from desktop.services.engine_host import EngineHost
from desktop.ui.preferences import Preferences

if TYPE_CHECKING:
    from desktop.domain.shelf import ShelfEntry
    from desktop.services.models import Models


class MemoryDesk(QObject):
    """Signals:
    load_requested: the path of a model.
    """

    load_requested = Signal(str)

    def __init__(
        self, models: Callable[[], Models], host: EngineHost, preferences: Preferences, demo_path: str, window: QWidget
    ) -> None:
        """demo_path: the folder of the demo model. window: the parent of the dialog."""
        super().__init__(window)
        self._models = models
        self._host = host
        self._preferences = preferences
        self._demo_path = demo_path
        self._window = window

    def make_page(self) -> QWidget:
        """The Memory page."""
        from desktop.ui.memory.memory_page import MemoryPage

        models, config = self._models(), self._preferences.settings.engine
        page = MemoryPage(self._host, models.adviser, models.recorder, config, self._demo_path, self._window)
        page.config_chosen.connect(self._preferences.set_engine)
        page.reload_requested.connect(self._host.reload)
        page.load_requested.connect(self.load_requested)
        self._preferences.engine_changed.connect(page.show_config)
        return page

    @Slot(object)
    def load_with_settings(self, entry: ShelfEntry) -> None:
        """Show what a load of this model will take, and load it if that is what the user wants then."""
        from desktop.ui.memory.load_dialog import LoadDialog

        dialog = LoadDialog(entry, self._preferences.settings.engine, self._models().adviser, self._window)
        dialog.config_chosen.connect(self._preferences.set_engine)
        dialog.load_requested.connect(self._models().loader.load)
        dialog.open()
