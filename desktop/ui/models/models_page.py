"""The models page: the list of what is on the disk, the details of one, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QModelIndex, QSize, Qt, Signal, Slot
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

from desktop.domain.errors import Failure
from desktop.domain.hub import DownloadPlan
from desktop.domain.shelf import ScanReport, ShelfEntry
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.models import Models
from desktop.storage.checkpoint_code import CodeReport
from desktop.storage.model_card import ModelCard
from desktop.ui.controls import ElidedLabel
from desktop.ui.icons import icon
from desktop.ui.models.download_strip import DownloadStrip
from desktop.ui.models.model_details import ModelDetails
from desktop.ui.models.models_delegate import ModelsDelegate
from desktop.ui.models.models_list_model import ModelsListModel, Role
from desktop.ui.models.removal_bar import RemovalBar
from desktop.ui.theme import SPACE

_LIST_WIDTH = 300
_IN_USE = (EngineState.LOADING, EngineState.READY)


class ModelsPage(QWidget):
    """Signals:
    folders_changed: the folders that are searched, as the user named them.
    loading: a load was begun.
    settings_requested: the ShelfEntry of a model that is to be loaded with settings. quantize_requested: of one that is
    to be quantized.
    link_activated: an address in a model's card.
    report_requested: an Evaluation. compare_requested: the paths of an original and of what was made of it.
    get_requested: search a hub. token_requested: the DownloadPlan of a model that needs a token.
    """

    folders_changed = Signal(object)
    loading = Signal()
    settings_requested = Signal(object)
    quantize_requested = Signal(object)
    link_activated = Signal(str)
    report_requested = Signal(object)
    compare_requested = Signal(str, str)
    get_requested = Signal()
    token_requested = Signal(object)

    def __init__(
        self, models: Models, host: EngineHost, folders: tuple[str, ...], kept: str, parent: QWidget | None = None
    ) -> None:
        """folders: that the user named. kept: a model folder that is never removed."""
        super().__init__(parent)
        self._models = models
        self._host = host
        self._named = folders
        self._kept = kept
        self._wanted = ""  # path of the model to show when it is found
        self._list_model = ModelsListModel(self)
        self._list = QListView(self)
        self._details = ModelDetails(self)
        self._build()
        self._connect()
        self._list_model.change(models.shelf.entries.values(), [])
        self._on_made_changed(set(models.shelf.entries))
        self._on_status_changed(host.status)
        self._show_state()

    def _build(self) -> None:
        self._filter = QLineEdit(self)
        self._filter.setPlaceholderText("Filter")
        self._filter.setAccessibleName("Filter the models")
        self._filter.setClearButtonEnabled(True)
        self._add = QPushButton("Add a folder…", self)
        self._add.setIcon(icon("plus"))
        self._add.setIconSize(QSize(16, 16))
        self._add.setAccessibleName("Add a folder to search for models")
        self._get = QPushButton("Get models…", self)
        self._get.setIcon(icon("down"))
        self._get.setIconSize(QSize(16, 16))
        self._get.setAccessibleName("Search a hub for models to download")
        self._get.clicked.connect(self.get_requested)
        self._strip = DownloadStrip(self._models.downloads, self)
        self._list.setModel(self._list_model)
        self._list.setItemDelegate(ModelsDelegate(self._list))
        self._list.setUniformItemSizes(True)
        self._list.setAccessibleName("Models")
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._state = ElidedLabel(self)
        self._removal = RemovalBar(self._models.remover, self)
        self._removal.removed.connect(self._models.shelf.scan)
        self._removal.restored.connect(self._on_restored)
        side = QFrame(self)
        side.setObjectName("ConversationPanel")
        side.setFixedWidth(_LIST_WIDTH)
        column = QVBoxLayout(side)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[1])
        top = QHBoxLayout()
        top.setSpacing(SPACE[1])
        top.addWidget(self._get, 1)
        top.addWidget(self._add, 1)
        column.addLayout(top)
        column.addWidget(self._filter)
        column.addWidget(self._strip)
        column.addWidget(self._list, 1)
        column.addWidget(self._removal)
        column.addWidget(self._state)
        self._nothing = QLabel(self)
        self._nothing.setTextFormat(Qt.TextFormat.PlainText)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._nothing.setWordWrap(True)
        self._nothing.setProperty("dim", True)
        right = QWidget(self)
        self._stack = QStackedLayout(right)
        self._stack.addWidget(self._nothing)
        self._stack.addWidget(self._details)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(side)
        row.addWidget(right, 1)
        load = QShortcut(QKeySequence(Qt.Key.Key_Return), self._list)
        load.setContext(Qt.ShortcutContext.WidgetShortcut)
        load.activated.connect(self._on_load_current)
        settings = QShortcut(QKeySequence("Ctrl+Return"), self._list)
        settings.setContext(Qt.ShortcutContext.WidgetShortcut)
        settings.activated.connect(self._on_settings_current)
        remove = QShortcut(QKeySequence(Qt.Key.Key_Delete), self._list)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self._on_remove_current)

    def _connect(self) -> None:
        shelf, inspector = self._models.shelf, self._models.inspector
        shelf.entries_changed.connect(self._on_entries_changed)
        shelf.scan_started.connect(self._on_scan_started)
        shelf.scan_finished.connect(self._on_scan_finished)
        shelf.scan_failed.connect(self._on_scan_failed)
        shelf.support_changed.connect(self._on_support_changed)
        inspector.card_read.connect(self._on_card_read)
        inspector.origin_read.connect(self._on_origin_read)
        self._models.downloads.model_appeared.connect(self._on_model_appeared)
        self._strip.show_requested.connect(self.show_model)
        self._strip.token_requested.connect(self.token_requested)
        self._models.loader.consent_needed.connect(self._on_consent_needed)
        self._host.status_changed.connect(self._on_status_changed)
        self._filter.textChanged.connect(self._on_filter_changed)
        self._add.clicked.connect(self.add_folder)
        self._list.selectionModel().currentChanged.connect(self._on_current_changed)
        self._list.doubleClicked.connect(self._on_load_current)
        self._details.load_requested.connect(self._load)
        self._details.settings_requested.connect(self.settings_requested)
        self._details.quantize_requested.connect(self.quantize_requested)
        self._details.remove_requested.connect(self._plan_removal)
        self._details.repair_requested.connect(self._repair)
        self._details.forget_requested.connect(self._forget)
        inspector.forgotten.connect(self._on_forgotten)
        self._details.link_activated.connect(self.link_activated)
        self._details.report_requested.connect(self.report_requested)
        self._details.compare_requested.connect(self.compare_requested)
        self._models.made.made_changed.connect(self._on_made_changed)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._models.shelf.scan()
        self._models.shelf.watch(True)
        self._list.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._models.shelf.watch(False)

    @Slot()
    def add_folder(self) -> None:
        """Let the user name a folder to search for models."""
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, "A folder that holds models")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.fileSelected.connect(self._on_folder_named)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def show_model(self, path: str) -> None:
        """Select this model, as soon as it is found."""
        self._wanted = path
        if path in self._models.shelf.entries and self._list_model.row_of(path) < 0:
            self._filter.clear()
        self._select(path)

    def _entry(self) -> ShelfEntry | None:
        index = self._list.currentIndex()
        return index.data(Role.ENTRY) if index.isValid() else None

    def _load(self, entry: ShelfEntry) -> None:
        self._models.loader.load(entry)
        self.loading.emit()

    def _forget(self, entry: ShelfEntry) -> None:
        self._models.inspector.forget(entry.path)

    @Slot(str)
    def _on_forgotten(self, path: str) -> None:
        self._show_state(f"{Path(path).name} asks again before it is loaded")

    def _repair(self, entry: ShelfEntry) -> None:
        self._models.downloads.repair(Path(entry.path))

    def _plan_removal(self, entry: ShelfEntry) -> None:
        shelf, status = self._models.shelf, self._host.status
        in_use = [status.path] if status.state in _IN_USE else []
        self._models.remover.plan(entry, [*shelf.kept_folders, self._kept], in_use, list(shelf.entries))

    def _show_state(self, words: str = "") -> None:
        count = self._list_model.count
        self._state.show_words(words or ("1 model" if count == 1 else f"{count:,} models"))
        empty = (
            "No model was found. Get one from a hub, add a folder that holds models, or open one with Ctrl+O."
            if not count
            else "Choose a model on the left."
        )
        self._nothing.setText(words if words and not count else empty)
        self._stack.setCurrentWidget(self._nothing if self._entry() is None else self._details)

    def _select(self, path: str) -> bool:
        row = self._list_model.row_of(path)
        if row >= 0:
            self._list.setCurrentIndex(self._list_model.index(row))
            if path == self._wanted:
                self._wanted = ""
        return row >= 0

    @Slot(object, object)
    def _on_entries_changed(self, changed: list[ShelfEntry], gone: list[str]) -> None:
        entry = self._entry()
        self._list_model.change(changed, gone)
        if not self._select(self._wanted) and entry is not None:
            self._select(entry.path)
        self._show_state()

    @Slot()
    def _on_scan_started(self) -> None:
        self._show_state("Searching …")

    @Slot(object)
    def _on_scan_finished(self, report: ScanReport) -> None:
        self._show_state(report.problems[0].message if report.problems else "")
        if self._entry() is None and self._list_model.rowCount():
            self._select(self._host.status.path)
            if self._entry() is None:
                self._list.setCurrentIndex(self._list_model.index(0))

    @Slot(object)
    def _on_scan_failed(self, problem: Failure) -> None:
        self._show_state(f"{problem.message} {problem.next_step}")

    @Slot(object)
    def _on_support_changed(self, paths: list[str]) -> None:
        entry = self._details.entry
        if entry is not None and entry.path in paths:
            self._details.show_support(self._models.shelf.support(entry.path))

    def _show_made(self, path: str) -> None:
        made = self._models.made
        self._details.show_made(made.made(path), made.versions(path))

    @Slot(object)
    def _on_made_changed(self, paths: set[str]) -> None:
        made = self._models.made
        self._list_model.set_grades({path: known for path in paths if (known := made.grade(path)) is not None}, paths)
        entry = self._details.entry
        if entry is not None:  # another version of it may be what changed
            self._show_made(entry.path)

    @Slot(str, object)
    def _on_card_read(self, path: str, card: ModelCard) -> None:
        entry = self._details.entry
        if entry is not None and entry.path == path:
            self._details.show_card(card)

    @Slot(str, object)
    def _on_origin_read(self, path: str, origin: DownloadPlan | None) -> None:
        entry = self._details.entry
        if entry is not None and entry.path == path:
            self._details.set_repairable(origin is not None)

    @Slot(str)
    def _on_model_appeared(self, path: str) -> None:
        if not self.isVisible() or self._entry() is None:  # nobody is looking at another one
            self.show_model(path)

    @Slot(QModelIndex, QModelIndex)
    def _on_current_changed(self, current: QModelIndex, _before: QModelIndex) -> None:
        entry = current.data(Role.ENTRY) if current.isValid() else None
        if entry is not None:
            other = self._details.entry is None or self._details.entry.path != entry.path
            self._details.show_entry(entry)
            self._details.show_support(self._models.shelf.support(entry.path))
            self._show_made(entry.path)
            if other:
                self._models.inspector.read_card(entry.path)
                self._models.inspector.read_origin(entry.path)
        self._stack.setCurrentWidget(self._nothing if entry is None else self._details)

    @Slot(str)
    def _on_filter_changed(self, words: str) -> None:
        entry = self._entry()
        self._list_model.set_filter(words)
        if entry is not None:
            self._select(entry.path)
        self._show_state()

    @Slot(str)
    def _on_folder_named(self, folder: str) -> None:
        if folder not in self._named:
            self._named = (*self._named, folder)
            self.folders_changed.emit(self._named)
        self._models.shelf.scan()

    @Slot()
    def _on_load_current(self) -> None:
        entry = self._entry()
        if entry is not None and entry.checkpoint is not None:
            self._load(entry)

    @Slot()
    def _on_settings_current(self) -> None:
        entry = self._entry()
        if entry is not None and entry.checkpoint is not None:
            self.settings_requested.emit(entry)

    @Slot()
    def _on_remove_current(self) -> None:
        if (entry := self._entry()) is not None:
            self._plan_removal(entry)

    @Slot(object)
    def _on_consent_needed(self, report: CodeReport) -> None:
        from desktop.ui.models.consent_dialog import ConsentDialog

        dialog = ConsentDialog(report, Path(report.path).name, self)
        dialog.answered.connect(self._models.loader.answer)
        dialog.rejected.connect(self._models.loader.dismiss)
        dialog.open()

    @Slot(str)
    def _on_restored(self, path: str) -> None:
        self._wanted = path
        self._models.shelf.scan()

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        loaded = status.path if status.state in _IN_USE else ""
        self._list_model.set_loaded(loaded)
        self._details.set_loaded(loaded)
