"""Builds the pages about models when they are first wanted, and leads from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from desktop.services.engine_host import EngineHost
from desktop.ui.pages import Pages
from desktop.ui.preferences import Preferences

if TYPE_CHECKING:
    from desktop.domain.evaluation import Evaluation
    from desktop.domain.hub import DownloadPlan
    from desktop.domain.shelf import ShelfEntry
    from desktop.services.models import Models
    from desktop.ui.quantize.quantize_page import QuantizePage

MODELS, GET, QUANTIZE = "Models", "Get models", "Quantize"


class ModelsPages(QObject):
    """Signals:
    link_activated: an address in a model's card. settings_requested: a ShelfEntry, to be loaded with other settings.
    chat_requested: the path of a model that was made here.
    """

    link_activated = Signal(str)
    settings_requested = Signal(object)
    chat_requested = Signal(str)

    def __init__(
        self,
        pages: Pages,
        models: Callable[[], Models],
        host: EngineHost,
        preferences: Preferences,
        demo_path: str,
        window: QWidget,
    ) -> None:
        """demo_path: the folder of the demo model."""
        super().__init__(window)
        self._pages = pages
        self._models = models
        self._host = host
        self._preferences = preferences
        self._demo_path = demo_path
        self._window = window
        pages.add(MODELS, self._make_models_page)
        pages.add(GET, self._make_get_page)
        pages.add(QUANTIZE, self._make_quantize_page)

    @Slot()
    def get_models(self) -> None:
        """Go to the page that searches hubs. Not in the rail: it is gone to and left again."""
        self._pages.show_page(GET)
        self._pages.page_shown.emit(MODELS)  # whose button in the rail stands for both

    def connect_to_server(self, address: str) -> None:
        """Ask for a server and load a model of it. address: the one to begin with, "" for the usual one."""
        from desktop.ui.models.connect_dialog import ConnectDialog

        dialog = ConnectDialog(self._models().servers, address, self._window)
        dialog.load_requested.connect(self._host.load)
        dialog.open()

    @Slot()
    def _back_to_models(self) -> None:
        self._pages.show_page(MODELS)

    @Slot(str)
    def _show_model(self, folder: str) -> None:
        from desktop.ui.models.models_page import ModelsPage

        self._pages.show_page(MODELS)
        page = self._pages.page(MODELS)
        assert isinstance(page, ModelsPage)
        page.show_model(folder)

    @Slot(object)
    def _look_at(self, plan: DownloadPlan) -> None:
        from desktop.ui.models.get_page import GetPage

        self.get_models()
        page = self._pages.page(GET)
        assert isinstance(page, GetPage)
        page.look_at(plan.address, plan.model_id)

    def _make_models_page(self) -> QWidget:
        from desktop.ui.models.models_page import ModelsPage

        folders = self._preferences.settings.model_folders
        page = ModelsPage(self._models(), self._host, folders, self._demo_path, self._window)
        page.folders_changed.connect(self._preferences.set_model_folders)
        page.link_activated.connect(self.link_activated)
        page.settings_requested.connect(self.settings_requested)
        page.quantize_requested.connect(self._quantize)
        page.report_requested.connect(self._show_report)
        page.compare_requested.connect(self._compare)
        page.get_requested.connect(self.get_models)
        page.token_requested.connect(self._look_at)
        return page

    @Slot(object)
    def _quantize(self, entry: ShelfEntry) -> None:
        self._to_quantize().plan(entry.path)

    @Slot(object)
    def _show_report(self, found: Evaluation) -> None:
        self._to_quantize().show_report(found)

    @Slot(str, str)
    def _compare(self, original: str, other: str) -> None:
        self._to_quantize().compare(original, other)

    def _to_quantize(self) -> QuantizePage:
        from desktop.ui.quantize.quantize_page import QuantizePage

        self._pages.show_page(QUANTIZE)
        page = self._pages.page(QUANTIZE)
        assert isinstance(page, QuantizePage)
        return page

    def _make_quantize_page(self) -> QWidget:
        from desktop.ui.quantize.quantize_page import QuantizePage

        models, engine = self._models(), self._preferences.settings.engine
        page = QuantizePage(models.quantizer, models.shelf, self._host, models.quantized_folder, engine, self._window)
        page.chat_requested.connect(self.chat_requested)
        self._preferences.engine_changed.connect(page.set_config)
        self._preferences.settings_changed.connect(page.set_hub)
        page.set_hub(self._preferences.settings)
        return page

    def _make_get_page(self) -> QWidget:
        from desktop.ui.models.get_page import GetPage

        page = GetPage(self._models(), self._preferences, self._window)
        page.closed.connect(self._back_to_models)
        page.show_requested.connect(self._show_model)
        page.link_activated.connect(self.link_activated)
        return page
