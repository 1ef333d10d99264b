"""Everything about one model on a hub, before anything of it is downloaded."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.engine_support import EngineSupport
from desktop.domain.hub import HubModel
from desktop.services.download_status import DownloadState, DownloadStatus
from desktop.storage.hub_preview import Preview
from desktop.ui.models.card_view import CardView
from desktop.ui.models.engines_view import EnginesView
from desktop.ui.models.facts_form import FactsForm, heading
from desktop.ui.models.hub_trouble import HubTrouble
from desktop.ui.models.hub_words import preview_facts, size_line
from desktop.ui.theme import SPACE, TYPE


class HubModelDetails(QScrollArea):
    """Signals:
    download_requested, folder_requested: fetch it; choose another folder for downloads.
    show_requested: the folder of a model that is here already.
    retry_requested, token_given, page_requested: as of HubTrouble. link_activated: an address in the card.
    """

    download_requested = Signal()
    folder_requested = Signal()
    show_requested = Signal(str)
    retry_requested = Signal()
    token_given = Signal(str)
    page_requested = Signal(str)
    link_activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model: HubModel | None = None
        self.preview: Preview | None = None
        self.trouble: HubTrouble | None = None
        self._here = ""  # folder of the model, where it is on the disk
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Details of the model on the hub")
        content = QWidget(self)
        self._heading = heading(content, TYPE.title)
        self.download = QPushButton("Download", content)
        self.download.setProperty("primary", True)
        self.download.clicked.connect(self._on_download_clicked)
        self._folder = QPushButton("Download to…", content)
        self._folder.setAccessibleName("Choose the folder for downloads")
        self._folder.clicked.connect(self.folder_requested)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self.download)
        buttons.addWidget(self._folder)
        buttons.addStretch(1)
        self._cost = FactsForm()
        self._facts = FactsForm()
        self._engines = EnginesView(content)
        self._card = CardView(content)
        self._card.link_activated.connect(self.link_activated)
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        self._column.setSpacing(SPACE[2])
        self._column.addWidget(self._heading)
        self._column.addLayout(buttons)
        for part in (self._cost, self._facts):
            self._column.addLayout(part)
        self._column.addWidget(self._engines)
        self._column.addWidget(self._card)
        self._column.addStretch(1)
        self.setWidget(content)

    def show_model(self, model: HubModel, preview: Preview) -> None:
        """Show this model; what runs it comes later."""
        other = self.model is None or self.model.model_id != model.model_id
        self.model, self.preview = model, preview
        self._heading.setText(model.model_id)
        self._show_trouble()
        self._facts.clear()
        for name, value in preview_facts(model, preview):
            self._facts.add(name, value)
        self._card.show_text(preview.card, self.viewport().width() - 2 * SPACE[3])
        self.show_support(None)
        if other:
            self.verticalScrollBar().setValue(0)

    def show_cost(self, folder: str, free: int | None, memory: str) -> None:
        """What it will take. free: bytes on the folder's disk. memory: a sentence of the forecast, "" where unknown."""
        assert self.preview is not None
        self._cost.clear()
        self._cost.add("Download", size_line(self.preview.size, free))
        self._cost.add("Folder", folder)
        if memory:
            self._cost.add("Memory", memory)

    def show_support(self, support: EngineSupport | None) -> None:
        """Which engine runs it; None while LMDeploy is being asked."""
        self._engines.setVisible(self.preview is not None and self.preview.checkpoint is not None)
        self._engines.show_support(support)

    def show_status(self, status: DownloadStatus | None, here: str) -> None:
        """How its download stands, None without one. here: the model's folder where it is on the disk, else ""."""
        self._here = here
        readable = self.preview is not None and self.preview.checkpoint is not None
        words, enabled = "Download", readable
        if here:
            words, enabled = "Show it in Models", True
        elif status is not None and status.state is not DownloadState.FINISHED:
            share = f" {status.on_disk / status.total:.0%}" if status.total else ""
            running = status.state in (DownloadState.RUNNING, DownloadState.WAITING)
            words, enabled = (f"Downloading{share}" if running else "Go on with the download"), not running
        self.download.setText(words)
        self.download.setAccessibleName(words)
        self.download.setEnabled(enabled)

    def _show_trouble(self) -> None:
        if self.trouble is not None:
            self._column.removeWidget(self.trouble)
            self.trouble.hide()
            self.trouble.deleteLater()
            self.trouble = None
        if self.preview is not None and self.preview.problem is not None and self.model is not None:
            page = f"{self.model.address.endpoint}/{self.model.model_id}"
            self.trouble = HubTrouble(self.preview.problem, page, self.widget())
            self.trouble.retry_requested.connect(self.retry_requested)
            self.trouble.token_given.connect(self.token_given)
            self.trouble.page_requested.connect(self.page_requested)
            self._column.insertWidget(1, self.trouble)

    @Slot()
    def _on_download_clicked(self) -> None:
        if self._here:
            self.show_requested.emit(self._here)
        else:
            self.download_requested.emit()
