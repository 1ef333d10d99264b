"""Getting a model: search a hub, see what a model is and what it will take, download it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QModelIndex, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import Failure
from desktop.domain.hub import HUGGING_FACE, MODELSCOPE, HubAddress, HubHit, HubModel, is_model_id, mirror_address
from desktop.services.download_status import DownloadState, DownloadStatus
from desktop.services.models import Models
from desktop.storage.hub_preview import Preview
from desktop.ui.controls import ChoiceBox, ElidedLabel
from desktop.ui.icons import icon
from desktop.ui.models.hub_hits_list_model import HubHitsListModel
from desktop.ui.models.hub_model_details import HubModelDetails
from desktop.ui.models.hub_trouble import HubTrouble
from desktop.ui.models.memory_sentence import memory_sentence
from desktop.ui.models.models_delegate import ModelsDelegate
from desktop.ui.models.models_list_model import Role
from desktop.ui.preferences import Preferences
from desktop.ui.theme import SPACE

_LIST_WIDTH = 320
_SEARCH_MILLISECONDS = 600  # after the last key
_LOOK_MILLISECONDS = 300  # so that walking down the list asks for nothing
_HUBS = (("Hugging Face", "huggingface"), ("A mirror of Hugging Face", "mirror"), ("ModelScope", "modelscope"))
_EMPTY = "Search for a model by its name, for example Qwen3-8B-AWQ.\n\nNothing is downloaded before you say so."


class GetPage(QWidget):
    """Signals:
    closed: back to the models. show_requested: the folder of a model that is on the disk.
    link_activated: an address in a model's card, or of a gated model's page.
    """

    closed = Signal()
    show_requested = Signal(str)
    link_activated = Signal(str)

    def __init__(self, models: Models, preferences: Preferences, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._preferences = preferences
        self._asked: HubAddress | None = None  # where was searched last
        self._wanted = ""  # id of the model that is being looked at
        self._free: int | None = None
        self._support: EngineSupport | None = None
        self._list_model = HubHitsListModel(self)
        self._trouble: HubTrouble | None = None
        self._soon_search = QTimer(self, interval=_SEARCH_MILLISECONDS, singleShot=True)
        self._soon_look = QTimer(self, interval=_LOOK_MILLISECONDS, singleShot=True)
        self._build()
        self._connect()
        self._on_hub_chosen()
        self._search_now()

    def _build(self) -> None:
        settings = self._preferences.settings
        back = QPushButton("Back to the models", self)
        back.setIcon(icon("left"))
        back.setIconSize(QSize(16, 16))
        back.setAccessibleName("Back to the models")
        back.clicked.connect(self.closed)
        self._hub = ChoiceBox(self)
        for words, name in _HUBS:
            self._hub.addItem(words, name)
        self._hub.setCurrentIndex(max(0, self._hub.findData(settings.hub)))
        self._hub.setAccessibleName("Hub to search")
        self._mirror = QLineEdit(settings.hub_mirror, self)
        self._mirror.setPlaceholderText("Address of the mirror, as https://example.org")
        self._mirror.setAccessibleName("Address of the mirror")
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Search by name")
        self.search.setAccessibleName("Search the hub by name")
        self.search.setClearButtonEnabled(True)
        self._list = QListView(self)
        self._list.setModel(self._list_model)
        self._list.setItemDelegate(ModelsDelegate(self._list))
        self._list.setUniformItemSizes(True)
        self._list.setAccessibleName("Models found")
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._state = ElidedLabel(self)
        side = QFrame(self)
        side.setObjectName("ConversationPanel")
        side.setFixedWidth(_LIST_WIDTH)
        column = QVBoxLayout(side)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[1])
        column.addWidget(back)
        column.addWidget(self._hub)
        column.addWidget(self._mirror)
        column.addWidget(self.search)
        column.addWidget(self._list, 1)
        column.addWidget(self._state)
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._words.setWordWrap(True)
        self._words.setProperty("dim", True)
        self._words.setMargin(SPACE[3])
        self._trouble_place = QWidget(self)
        place = QVBoxLayout(self._trouble_place)
        place.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        place.addStretch(1)
        self.details = HubModelDetails(self)
        right = QWidget(self)
        self._stack = QStackedLayout(right)
        for widget in (self._words, self._trouble_place, self.details):
            self._stack.addWidget(widget)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(side)
        row.addWidget(right, 1)
        leave = QShortcut(QKeySequence(Qt.Key.Key_Escape), self)
        leave.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        leave.activated.connect(self.closed)
        to_button = QShortcut(QKeySequence(Qt.Key.Key_Return), self._list)
        to_button.setContext(Qt.ShortcutContext.WidgetShortcut)
        to_button.activated.connect(self.details.download.setFocus)

    def _connect(self) -> None:
        browser, downloads = self._models.browser, self._models.downloads
        browser.found.connect(self._on_found)
        browser.search_failed.connect(self._on_search_failed)
        browser.looked.connect(self._on_looked)
        browser.judged.connect(self._on_judged)
        browser.look_failed.connect(self._on_look_failed)
        browser.token_kept.connect(self._on_token_kept)
        downloads.changed.connect(self._on_download_changed)
        downloads.removed.connect(self._show_status)
        self._models.shelf.entries_changed.connect(self._show_status)
        self._hub.currentIndexChanged.connect(self._on_hub_chosen)
        self._mirror.editingFinished.connect(self._on_mirror_edited)
        self.search.textChanged.connect(self._on_text_changed)
        self.search.returnPressed.connect(self._search_now)
        self._soon_search.timeout.connect(self._search_now)
        self._soon_look.timeout.connect(self._look_now)
        self._list.selectionModel().currentChanged.connect(self._on_current_changed)
        self.details.download_requested.connect(self._on_download_requested)
        self.details.folder_requested.connect(self._on_folder_requested)
        self.details.show_requested.connect(self.show_requested)
        self.details.retry_requested.connect(self._look_now)
        self.details.token_given.connect(self._on_token_given)
        self.details.page_requested.connect(self.link_activated)
        self.details.link_activated.connect(self.link_activated)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.search.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._soon_search.stop()
        self._soon_look.stop()

    def look_at(self, address: HubAddress, model_id: str) -> None:
        """Show what this model is."""
        self._asked, self._wanted = address, model_id
        self._look_now()

    def _address(self) -> HubAddress | None:
        """The hub that is chosen; None for a mirror without an address."""
        name = self._hub.currentData()
        if name == "mirror":
            return mirror_address(self._mirror.text()) if self._mirror.text().strip() else None
        return MODELSCOPE if name == "modelscope" else HUGGING_FACE

    def _folder(self) -> Path:
        named = self._preferences.settings.download_folder
        return Path(named) if named else self._models.own_folder

    def _say(self, words: str) -> None:
        """Show only this on the right."""
        self._words.setText(words)
        self._stack.setCurrentWidget(self._words)

    def _show_trouble(self, problem: Failure, page: str, retry: object) -> None:
        if self._trouble is not None:
            self._trouble.hide()
            self._trouble.deleteLater()
        self._trouble = HubTrouble(problem, page, self._trouble_place)
        self._trouble.retry_requested.connect(retry)
        self._trouble.token_given.connect(self._on_token_given)
        self._trouble.page_requested.connect(self.link_activated)
        layout = self._trouble_place.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(0, self._trouble)
        self._stack.setCurrentWidget(self._trouble_place)

    def _show_hits(self, hits: list[HubHit]) -> None:
        self._soon_look.stop()
        self._wanted = ""
        self._models.browser.stop_looking()
        self._list_model.show_hits(hits)

    @Slot()
    def _on_hub_chosen(self) -> None:
        self._mirror.setVisible(self._hub.currentData() == "mirror")
        self._on_mirror_edited()

    @Slot()
    def _on_mirror_edited(self) -> None:
        settings, mirror = self._preferences.settings, self._mirror.text().strip()
        hub = self._hub.currentData()
        if (hub, mirror) != (settings.hub, settings.hub_mirror):
            self._preferences.set_hub(hub, mirror)
        if self._address() != self._asked:
            self._search_now()

    @Slot()
    def _on_text_changed(self) -> None:
        self._soon_search.start()

    @Slot()
    def _search_now(self) -> None:
        self._soon_search.stop()
        text, address = self.search.text().strip(), self._address()
        self._asked = address
        self._show_hits([])
        self._state.show_words("")
        if address is None:
            self._say("Enter the address of the mirror on the left, as https://example.org.")
        elif not text:
            self._say(_EMPTY)
        else:
            self._state.show_words(f"Searching {address.name} …")
            self._say(f"Searching {address.name} …")
            self._models.browser.search(address, text)

    @Slot(str, object)
    def _on_found(self, text: str, hits: list[HubHit]) -> None:
        if text != self.search.text().strip() or self._asked is None:
            return
        self._show_hits(hits)
        self._state.show_words("1 model" if len(hits) == 1 else f"{len(hits)} models, most downloaded first")
        if hits:
            self._say("Choose a model on the left to see what it is, how large, and whether it fits.")
        elif "/" in text and is_model_id(text):
            self.look_at(self._asked, text)  # searches do not show private models
        else:
            self._say(f"{self._asked.name} has no model whose name holds “{text}”.\n\nTry fewer or other words.")

    @Slot(object)
    def _on_search_failed(self, problem: Failure) -> None:
        self._state.show_words("")
        self._show_trouble(problem, "", self._search_now)

    @Slot(QModelIndex, QModelIndex)
    def _on_current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        hit = current.data(Role.ENTRY) if current.isValid() else None
        if hit is not None:
            self._wanted = hit.model_id
            self._models.browser.stop_looking()
            self._say(f"Looking at {hit.model_id} …")
            self._soon_look.start()

    @Slot()
    def _look_now(self) -> None:
        if self._asked is not None and self._wanted:
            self._say(f"Looking at {self._wanted} …")
            self._models.browser.look(self._asked, self._wanted, folder=self._folder())

    @Slot(object, object, object)
    def _on_looked(self, model: HubModel, preview: Preview, free: int | None) -> None:
        if model.model_id != self._wanted:
            return
        self._free, self._support = free, None
        self.details.show_model(model, preview)
        self._show_cost()
        self._show_status()
        self._stack.setCurrentWidget(self.details)

    @Slot(object, object)
    def _on_judged(self, model: HubModel, support: EngineSupport) -> None:
        if self.details.model == model:
            self._support = support
            self.details.show_support(support)
            self._show_cost()

    @Slot(object)
    def _on_look_failed(self, problem: Failure) -> None:
        page = f"{self._asked.endpoint}/{self._wanted}" if self._asked is not None else ""
        self._show_trouble(problem, page, self._look_now)

    def _show_cost(self) -> None:
        preview = self.details.preview
        assert preview is not None
        config = self._preferences.settings.engine
        words = memory_sentence(preview.shape, config, self._models.adviser, self._support)
        self.details.show_cost(str(self._folder()), self._free, words)

    @Slot()
    def _show_status(self) -> None:
        if self.details.model is None:
            return
        key = str(self._folder() / self.details.model.folder_name)
        status = next((status for status in self._models.downloads.all if status.key == key), None)
        self.details.show_status(status, key if key in self._models.shelf.entries else "")

    @Slot(object)
    def _on_download_changed(self, status: DownloadStatus) -> None:
        if self.isVisible():
            self._show_status()
            if status.state is DownloadState.WAITING:
                self._state.show_words("It is downloaded while you look around.")

    @Slot()
    def _on_download_requested(self) -> None:
        if self.details.model is not None:
            self._models.downloads.add(self.details.model, self._folder())

    @Slot()
    def _on_folder_requested(self) -> None:
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, "A folder for downloaded models")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.fileSelected.connect(self._on_folder_named)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def _on_folder_named(self, folder: str) -> None:
        self._preferences.set_download_folder(folder)
        self._look_now()  # its disk may have other room

    @Slot(str)
    def _on_token_given(self, token: str) -> None:
        if self._asked is not None:
            self._models.browser.keep_token(self._asked, token)

    @Slot()
    def _on_token_kept(self) -> None:
        if self._wanted:
            self._look_now()
        else:
            self._search_now()
