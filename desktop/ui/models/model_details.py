"""Everything about one model: what it is, which engine runs it and why, its card, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.engine_support import EngineSupport
from desktop.domain.shelf import PLAIN, ShelfEntry
from desktop.domain.versions import MadeModel, Version
from desktop.storage.model_card import ModelCard
from desktop.ui.failure_card import FailureCard
from desktop.ui.models.card_view import CardView
from desktop.ui.models.engines_view import EnginesView
from desktop.ui.models.facts_form import FactsForm, heading
from desktop.ui.models.model_words import facts
from desktop.ui.models.verdict_view import VerdictView
from desktop.ui.models.versions_view import VersionsView
from desktop.ui.theme import SPACE, TYPE


class ModelDetails(QScrollArea):
    """Signals:
    load_requested, settings_requested (to load with), quantize_requested, remove_requested, repair_requested,
    forget_requested (what was allowed): a ShelfEntry.
    link_activated: an address in the card.
    report_requested: an Evaluation. compare_requested: the paths of an original and of what was made of it.
    """

    load_requested = Signal(object)
    settings_requested = Signal(object)
    quantize_requested = Signal(object)
    remove_requested = Signal(object)
    forget_requested = Signal(object)
    repair_requested = Signal(object)
    link_activated = Signal(str)
    report_requested = Signal(object)
    compare_requested = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: ShelfEntry | None = None
        self._loaded = ""
        self._problem: FailureCard | None = None
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Details of the model")
        content = QWidget(self)
        self._heading = heading(content, TYPE.title)
        self._load = QPushButton("Load", content)
        self._load.setProperty("primary", True)
        self._load.clicked.connect(self._on_load_clicked)
        self._settings = QPushButton("Load with settings…", content)
        self._settings.setToolTip("See what it will take before it is loaded (Ctrl+Enter)")
        self._settings.clicked.connect(self._on_settings_clicked)
        self._quantize = QPushButton("Quantize…", content)
        self._quantize.setToolTip("Make it smaller, and compare the result with it")
        self._quantize.clicked.connect(self._on_quantize_clicked)
        self._open = QPushButton("Open the folder", content)
        self._open.clicked.connect(self._on_open_clicked)
        self._repair = QPushButton("Check and repair", content)
        self._repair.setToolTip("Compare every file with what the hub publishes, and fetch again what is broken")
        self._repair.clicked.connect(self._on_repair_clicked)
        self._repair.hide()
        self._remove = QPushButton("Remove…", content)
        self._remove.clicked.connect(self._on_remove_clicked)
        self._forget = QPushButton("Ask again", content)
        self._forget.setToolTip("Forget what was allowed, and ask again before it is loaded")
        self._forget.clicked.connect(self._on_forget_clicked)
        self._forget.hide()
        buttons = QVBoxLayout()  # in two rows, for the smallest window
        buttons.setSpacing(SPACE[1])
        for row in (
            (self._load, self._settings, self._quantize),
            (self._open, self._repair, self._forget, self._remove),
        ):
            line = QHBoxLayout()
            line.setSpacing(SPACE[1])
            for button in row:
                button.setAccessibleName(button.text().rstrip("…"))
                line.addWidget(button)
            line.addStretch(1)
            buttons.addLayout(line)
        self._verdict = VerdictView(content)
        self._verdict.report_requested.connect(self.report_requested)
        self._verdict.compare_requested.connect(self.compare_requested)
        self._facts = FactsForm()
        self._versions = VersionsView(content)
        self._engines = EnginesView(content)
        self._card = CardView(content)
        self._card.link_activated.connect(self.link_activated)
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        self._column.setSpacing(SPACE[2])
        self._column.addWidget(self._heading)
        self._column.addLayout(buttons)
        self._column.addWidget(self._verdict)
        self._column.addLayout(self._facts)
        self._column.addWidget(self._versions)
        self._column.addWidget(self._engines)
        self._column.addWidget(self._card)
        self._column.addStretch(1)
        self.setWidget(content)

    @property
    def entry(self) -> ShelfEntry | None:
        """The model that is shown."""
        return self._entry

    def show_entry(self, entry: ShelfEntry) -> None:
        """Show this model; its card and what runs it come later."""
        other = self._entry is None or self._entry.path != entry.path
        self._entry = entry
        self._heading.setText(entry.title)
        self._show_problem()
        self._facts.clear()
        for name, value in facts(entry):
            self._facts.add(name, value)
        if other:
            self.show_support(None)
            self.show_card(ModelCard(summary=entry.card))
            self.set_repairable(False)
            self.verticalScrollBar().setValue(0)
        self.set_loaded(self._loaded)

    def set_repairable(self, known: bool) -> None:
        """Whether it is known what its files must be, because it was fetched by Turbodesk."""
        self._repair.setVisible(known)

    def set_loaded(self, path: str) -> None:
        """Which model is loaded, "" for none."""
        self._loaded = path
        is_loaded = self._entry is not None and self._entry.path == path
        usable = self._entry is not None and self._entry.checkpoint is not None
        self._load.setText("Loaded" if is_loaded else "Load")
        self._load.setEnabled(usable and not is_loaded)
        self._settings.setEnabled(usable)
        self._quantize.setVisible(self._entry is not None and self._entry.precision in PLAIN)
        self._forget.setVisible(self._entry is not None and self._entry.needs_consent)
        self._remove.setEnabled(not is_loaded)
        self._remove.setToolTip("Unload it first" if is_loaded else "")

    def show_support(self, support: EngineSupport | None) -> None:
        """Which engine runs it; None while LMDeploy is being asked."""
        self._engines.setVisible(self._entry is not None and self._entry.checkpoint is not None)
        self._engines.show_support(support)

    def show_made(self, made: MadeModel | None, versions: list[Version]) -> None:
        """made: how it was made here, None if it was not. versions: see MadeModels.versions()."""
        self._verdict.show_made(made, original_there=versions[0].disk_bytes is not None)
        self._versions.show_versions(versions)

    def show_card(self, card: ModelCard) -> None:
        """Show the README's text."""
        self._card.show_text(card.text, self.viewport().width() - 2 * SPACE[3])

    def _show_problem(self) -> None:
        if self._problem is not None:
            self._column.removeWidget(self._problem)
            self._problem.hide()
            self._problem.deleteLater()
            self._problem = None
        if self._entry is not None and self._entry.failure is not None:
            self._problem = FailureCard(self._entry.failure, parent=self)
            self._column.insertWidget(1, self._problem)

    @Slot()
    def _on_load_clicked(self) -> None:
        self.load_requested.emit(self._entry)

    @Slot()
    def _on_repair_clicked(self) -> None:
        self.repair_requested.emit(self._entry)

    @Slot()
    def _on_settings_clicked(self) -> None:
        self.settings_requested.emit(self._entry)

    @Slot()
    def _on_quantize_clicked(self) -> None:
        self.quantize_requested.emit(self._entry)

    @Slot()
    def _on_forget_clicked(self) -> None:
        self.forget_requested.emit(self._entry)

    @Slot()
    def _on_remove_clicked(self) -> None:
        self.remove_requested.emit(self._entry)

    @Slot()
    def _on_open_clicked(self) -> None:
        if self._entry is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._entry.path))
