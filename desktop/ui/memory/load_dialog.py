"""Says what loading a model will take while its settings are turned, and offers what fits. Refuses nothing."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.domain.capacity import Preset, preset
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.memory import Forecast
from desktop.domain.memory_plan import Plan, WeightForm, forms_of, nearest
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.memory_words import advice, outlook, trust
from desktop.domain.shelf import ShelfEntry
from desktop.services.memory_adviser import MemoryAdviser
from desktop.ui.controls import ElidedLabel
from desktop.ui.format import card_label, format_bytes
from desktop.ui.memory.engine_form import EngineForm
from desktop.ui.memory.forecast_bar import ForecastBar
from desktop.ui.theme import SPACE, TYPE, font_of

_SIZE = (720, 470)
_PRESETS = {
    Preset.BALANCED: ("Balanced", "Several chats of a fair length, without loss of quality where that fits"),
    Preset.LONGEST_CONTEXT: ("Longest context", "One chat, as long as fits"),
    Preset.MOST_CHATS: ("Most chats", "As many chats of 2,048 tokens as fit"),
    Preset.SMALLEST: ("Smallest", "One chat of 2,048 tokens, and all other memory left free"),
}


class LoadDialog(QDialog):
    """Signals:
    config_chosen: the EngineConfig to load with; load_requested follows with the ShelfEntry.
    """

    config_chosen = Signal(object)
    load_requested = Signal(object)

    def __init__(
        self, entry: ShelfEntry, config: EngineConfig, adviser: MemoryAdviser, parent: QWidget | None = None
    ) -> None:
        """config: what is set now."""
        super().__init__(parent)
        self._entry = entry
        self._adviser = adviser
        self._shape: MemoryShape | None = None
        self._problem = ""
        self._plan: Plan | None = None
        self._said = ""  # why a preset cannot be had, until something else is asked for
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Load with settings")
        self._build(config)
        adviser.shape_read.connect(self._on_shape_read)
        adviser.shape_failed.connect(self._on_shape_failed)
        adviser.memory_changed.connect(self._refresh)
        adviser.read_shape(entry.path)
        self._refresh()
        self._form.setFocus()
        self.resize(*_SIZE)

    def _build(self, config: EngineConfig) -> None:
        """In the order in which Tab goes through it."""
        heading = QLabel(self._entry.title, self)
        heading.setTextFormat(Qt.TextFormat.PlainText)
        heading.setWordWrap(True)
        heading.setFont(font_of(heading, TYPE.title, bold=True))
        self._source = ElidedLabel(self)
        self._bar = ForecastBar(self)
        self._outlook = _sentence(self, "What will happen")
        self._holds = _sentence(self, "What the KV cache holds")
        self._holds.setProperty("dim", True)
        self._holds.setFont(font_of(self._holds, TYPE.small))
        self._advice = _sentence(self, "What fits")
        self._use = QPushButton("Use this", self)
        self._use.setAccessibleName("Use the setting that fits")
        self._use.setAutoDefault(False)
        self._use.clicked.connect(self._on_use_clicked)
        advised = QHBoxLayout()
        advised.setSpacing(SPACE[1])
        advised.addWidget(self._advice, 1)
        advised.addWidget(self._use, 0, Qt.AlignmentFlag.AlignTop)
        presets = QHBoxLayout()
        presets.setSpacing(SPACE[1])
        self._presets: dict[Preset, QPushButton] = {}
        for kind, (name, explanation) in _PRESETS.items():
            button = QPushButton(name, self)
            button.setAccessibleName(f"Preset: {name}")
            button.setAccessibleDescription(explanation)
            button.setToolTip(explanation)
            button.setAutoDefault(False)
            button.clicked.connect(self._on_preset_clicked)
            self._presets[kind] = button
            presets.addWidget(button)
        presets.addStretch(1)
        self._form = EngineForm(config, self)
        self._form.config_edited.connect(self._on_edited)
        cancel = QPushButton("Cancel", self)
        cancel.setAutoDefault(False)
        cancel.clicked.connect(self.reject)
        self._load = QPushButton("Load", self)
        self._load.setProperty("primary", True)
        self._load.setDefault(True)
        self._load.setAccessibleName(f"Load {self._entry.title}")
        self._load.clicked.connect(self._on_load_clicked)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._load)
        load = QShortcut(QKeySequence("Ctrl+Return"), self)
        load.activated.connect(self._on_load_clicked)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        column.setSpacing(SPACE[1])
        column.addWidget(heading)
        column.addWidget(self._source)
        column.addWidget(self._bar)
        column.addWidget(self._outlook)
        column.addLayout(advised)
        column.addStretch(1)
        column.addLayout(presets)
        column.addWidget(self._form)
        column.addWidget(self._holds)
        column.addStretch(1)
        column.addLayout(buttons)

    @property
    def config(self) -> EngineConfig:
        """The setting as it is now."""
        return self._form.config

    def _resolved(self) -> EngineConfig:
        return self._adviser.resolved(self._entry.path, self._form.config)

    @Slot()
    def _refresh(self) -> None:
        config = self._resolved()
        self._form.set_cpu(config.backend is Backend.CPU)
        self._form.show_cards(self._adviser.reading)
        self._plan = None
        obstacle = self._problem or self._adviser.obstacle(config)
        found = self._adviser.forecast(self._shape, config) if self._shape is not None and not self._problem else None
        self._bar.show_forecast(found)
        for button in self._presets.values():
            button.setEnabled(found is not None)
        if found is None:
            _say(self._outlook, obstacle or "The model is being read …")
            self._source.show_words("Forecast")
            _say(self._holds, " ")
            _say(self._advice, "")
            self._use.hide()
            return
        _say(self._outlook, outlook(found))
        self._show_source(found, config)
        _say(self._holds, _holds(found))
        words = self._said
        if not words and not found.fits:
            words, self._plan = self._what_fits(config)
        _say(self._advice, words)
        self._use.setVisible(self._plan is not None)

    def _show_source(self, found: Forecast, config: EngineConfig) -> None:
        cpu = config.backend is Backend.CPU
        place = "this machine's memory" if cpu else card_label(self._adviser.device(config))
        several = f", each of {found.cards} cards" if found.cards > 1 and not cpu else ""
        self._source.show_words(f"Forecast for {place}{several}, {format_bytes(found.total)}: {trust(found)}")
        self._source.setToolTip("\n".join(f"• {note[:1].upper()}{note[1:]}" for note in found.notes))
        self._source.setAccessibleDescription(". ".join(found.notes))

    def _what_fits(self, config: EngineConfig) -> tuple[str, Plan | None]:
        """What to change, in words, and the setting where one can be had at once."""
        assert self._shape is not None
        cards, residual = self._adviser.cards_for(config), self._adviser.residual(config)
        forms = forms_of(self._entry.title, self._shape, self._entry.path)
        answer = nearest(forms[:1] if config.backend is Backend.CPU else forms, config, cards, residual)
        return advice(answer, config), answer if isinstance(answer, Plan) and answer.form.path else None

    def _take(self, found: Plan) -> None:
        asked = self._form.config.backend
        self._form.show_config(msgspec.structs.replace(found.config, backend=asked))
        self._refresh()

    @Slot()
    def _on_edited(self) -> None:
        self._said = ""
        self._refresh()

    @Slot()
    def _on_use_clicked(self) -> None:
        if self._plan is not None:
            self._take(self._plan)
            self._load.setFocus()

    @Slot()
    def _on_preset_clicked(self) -> None:
        kind = next(kind for kind, button in self._presets.items() if button is self.sender())
        config = self._resolved()
        assert self._shape is not None
        form = WeightForm(name=self._entry.title, shape=self._shape, path=self._entry.path)
        cards, residual = self._adviser.cards_for(config), self._adviser.residual(config)
        answer = preset(kind, form, cards, config, residual)
        self._said = ""
        if isinstance(answer, Plan):
            self._take(answer)
        else:
            self._said = advice(answer, config)
            self._refresh()

    @Slot()
    def _on_load_clicked(self) -> None:
        self.config_chosen.emit(self._form.config)
        self.load_requested.emit(self._entry)
        self.accept()

    @Slot(str, object)
    def _on_shape_read(self, path: str, shape: MemoryShape) -> None:
        if path == self._entry.path:
            self._shape, self._problem = shape, ""
            self._refresh()

    @Slot(str, object)
    def _on_shape_failed(self, path: str, problem: Failure) -> None:
        if path == self._entry.path:
            self._problem = f"There is no forecast. {problem.message} {problem.next_step}"
            self._refresh()


def _holds(found: Forecast) -> str:
    """The KV cache in all its units."""
    amount = f"KV cache: {'at most ' if found.backend is Backend.CPU else ''}{format_bytes(found.kv)}"
    if not found.block:
        return amount
    chats = found.chats(found.session)
    words = "1 chat" if chats == 1 else f"{chats:,} chats" if chats else "not one chat"
    return f"{amount}, {found.tokens:,} tokens, {words} of {found.session:,} tokens (forecast)"


def _sentence(parent: QWidget, name: str) -> QLabel:
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setAccessibleName(name)
    return label


def _say(label: QLabel, words: str) -> None:
    if label.text() != words:
        label.setText(words)
        label.setAccessibleDescription(words)
    label.setVisible(bool(words))
