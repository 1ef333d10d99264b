"""Everything about one model: what it is, which engine runs it and why, its card, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.engine_support import EngineSupport
from desktop.domain.shelf import ShelfEntry
from desktop.storage.model_card import ModelCard
from desktop.ui.failure_card import FailureCard
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.models.model_words import ENGINE_NAMES, facts
from desktop.ui.theme import SPACE, TYPE, font_of

_WIDTH = 720  # of the column
_NAME_WIDTH = 110


class ModelDetails(QScrollArea):
    """Signals:
    load_requested, settings_requested (to load with), remove_requested: a ShelfEntry.
    link_activated: an address in the card.
    """

    load_requested = Signal(object)
    settings_requested = Signal(object)
    remove_requested = Signal(object)
    link_activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: ShelfEntry | None = None
        self._loaded = ""
        self._body: MarkdownBody | None = None
        self._problem: FailureCard | None = None
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Details of the model")
        content = QWidget(self)
        self._heading = _label(content, TYPE.title, bold=True)
        self._load = QPushButton("Load", content)
        self._load.setProperty("primary", True)
        self._load.clicked.connect(self._on_load_clicked)
        self._settings = QPushButton("Load with settings…", content)
        self._settings.setToolTip("See what it will take before it is loaded (Ctrl+Enter)")
        self._settings.clicked.connect(self._on_settings_clicked)
        self._open = QPushButton("Open the folder", content)
        self._open.clicked.connect(self._on_open_clicked)
        self._remove = QPushButton("Remove…", content)
        self._remove.clicked.connect(self._on_remove_clicked)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        for button in (self._load, self._settings, self._open, self._remove):
            button.setAccessibleName(button.text().rstrip("…"))
            buttons.addWidget(button)
        buttons.addStretch(1)
        self._facts = _form()
        self._engines_heading = _label(content, TYPE.body, bold=True)
        self._engines_heading.setText("What runs it")
        self._engines = _form()
        self._card_heading = _label(content, TYPE.body, bold=True)
        self._card_heading.setText("Model card")
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        self._column.setSpacing(SPACE[2])
        self._column.addWidget(self._heading)
        self._column.addLayout(buttons)
        self._column.addLayout(self._facts)
        self._column.addWidget(self._engines_heading)
        self._column.addLayout(self._engines)
        self._column.addWidget(self._card_heading)
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
        _clear(self._facts)
        for name, value in facts(entry):
            _row(self._facts, name, value)
        if other:
            self.show_support(None)
            self.show_card(ModelCard(summary=entry.card))
            self.verticalScrollBar().setValue(0)
        self.set_loaded(self._loaded)

    def set_loaded(self, path: str) -> None:
        """Which model is loaded, "" for none."""
        self._loaded = path
        is_loaded = self._entry is not None and self._entry.path == path
        usable = self._entry is not None and self._entry.checkpoint is not None
        self._load.setText("Loaded" if is_loaded else "Load")
        self._load.setEnabled(usable and not is_loaded)
        self._settings.setEnabled(usable)
        self._remove.setEnabled(not is_loaded)
        self._remove.setToolTip("Unload it first" if is_loaded else "")

    def show_support(self, support: EngineSupport | None) -> None:
        """Which engine runs it; None while LMDeploy is being asked."""
        _clear(self._engines)
        shown = self._entry is not None and self._entry.checkpoint is not None
        self._engines_heading.setVisible(shown)
        if not shown:
            return
        if support is None:
            _row(self._engines, "", "LMDeploy is being asked …")
        elif support.failure:
            _row(self._engines, "", support.failure)
        else:
            for verdict in support.verdicts:
                words = " ".join((verdict.reason, *verdict.notes))
                _row(self._engines, ENGINE_NAMES[verdict.backend], words, dim=not verdict.runs)

    def show_card(self, card: ModelCard) -> None:
        """Show the README's text."""
        self._card_heading.setVisible(bool(card.text))
        if self._body is not None:
            self._column.removeWidget(self._body)
            self._body.hide()
            self._body.deleteLater()
            self._body = None
        if card.text:
            self._body = MarkdownBody(min(self.viewport().width() - 2 * SPACE[3], _WIDTH), self.widget())
            self._body.setAccessibleName("Model card")
            self._body.link_activated.connect(self.link_activated)
            self._body.set_visible_range(0, 1_000_000)
            self._body.set_text(card.text, finished=True)
            self._column.insertWidget(self._column.count() - 1, self._body)

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
    def _on_settings_clicked(self) -> None:
        self.settings_requested.emit(self._entry)

    @Slot()
    def _on_remove_clicked(self) -> None:
        self.remove_requested.emit(self._entry)

    @Slot()
    def _on_open_clicked(self) -> None:
        if self._entry is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._entry.path))


def _label(parent: QWidget, size: float, *, bold: bool) -> QLabel:
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setFont(font_of(label, size, bold=bold))
    return label


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setHorizontalSpacing(SPACE[2])
    form.setVerticalSpacing(SPACE[0])
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form


def _row(form: QFormLayout, name: str, value: str, *, dim: bool = False) -> None:
    field = QLabel(value)
    field.setTextFormat(Qt.TextFormat.PlainText)
    field.setWordWrap(True)
    field.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    field.setProperty("dim", dim)
    field.setAccessibleName(f"{name}: {value}" if name else value)
    title = QLabel(name)
    title.setProperty("dim", True)
    title.setFixedWidth(_NAME_WIDTH)
    form.addRow(title, field)


def _clear(form: QFormLayout) -> None:
    while form.rowCount():
        form.removeRow(0)
