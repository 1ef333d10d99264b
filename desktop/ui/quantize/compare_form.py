"""Which two models are compared, or one model with two precisions of its KV cache, and over which text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.engine_config import EngineConfig
from desktop.domain.shelf import ShelfEntry
from desktop.jobs.messages import EvaluationText
from desktop.services.quantization_desk import QuantizationDesk, text_name
from desktop.ui.controls import ChoiceBox, NumberBox, TickBox, plain_label
from desktop.ui.quantize.text_box import TextBox
from desktop.ui.theme import SPACE, TYPE

_WIDTH = 760
_PRECISIONS = (("KV cache in 16 bit", 0), ("KV cache in int8", 8), ("KV cache in int4", 4))


class CompareForm(QScrollArea):
    """Signals:
    started: the id of the job that was put in the queue.
    """

    started = Signal(object)

    def __init__(self, desk: QuantizationDesk, config: EngineConfig, parent: QWidget | None = None) -> None:
        """config: the settings of a load; its precision of the KV cache is chosen here."""
        super().__init__(parent)
        self._desk = desk
        self._config = config
        self._entries: dict[str, ShelfEntry] = {}
        self._chat_is_loaded = False
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        content = QWidget(self)
        inner = QWidget(content)
        inner.setMaximumWidth(_WIDTH)
        self._models, self._bits = [], []
        grid = QGridLayout()
        grid.setHorizontalSpacing(SPACE[2])
        grid.setColumnStretch(1, 1)
        for row, name in enumerate(("Original", "Other")):
            model, bits = ChoiceBox(inner), ChoiceBox(inner)
            model.setAccessibleName(f"{name} model")
            bits.setAccessibleName(f"{name}: precision of the KV cache")
            for words, data in _PRECISIONS:
                bits.addItem(words, data)
            for box in (model, bits):
                box.currentIndexChanged.connect(self._refresh)
            self._models.append(model)
            self._bits.append(bits)
            grid.addWidget(plain_label(inner, name), 2 * row, 0)
            grid.addWidget(model, 2 * row, 1)
            grid.addWidget(bits, 2 * row + 1, 1, Qt.AlignmentFlag.AlignLeft)
        self._text = TextBox(inner, only_source=True)
        self._text.changed.connect(self._refresh)
        self._text.conversations_requested.connect(desk.read_conversations)
        desk.conversations_read.connect(self._text.show_conversations)
        self._tokens = NumberBox(inner)
        self._tokens.setAccessibleName("Most tokens that are judged")
        self._tokens.setRange(64, 1_000_000)
        self._tokens.setSingleStep(1024)
        self._tokens.setGroupSeparatorShown(True)
        self._tokens.setSuffix(" tokens")
        self._tokens.setValue(EvaluationText().tokens)
        tokens = QHBoxLayout()
        tokens.addWidget(plain_label(inner, "At most"))
        tokens.addWidget(self._tokens)
        tokens.addStretch(1)
        self._unload = TickBox("Unload the chat's model meanwhile", inner)
        self._unload.setChecked(True)
        self._problem = plain_label(inner)
        self._start = QPushButton("Compare", inner)
        self._start.setProperty("primary", True)
        self._start.clicked.connect(self._on_start_clicked)
        column = QVBoxLayout(inner)
        column.setContentsMargins(SPACE[4], SPACE[3], SPACE[4], SPACE[4])
        column.setSpacing(SPACE[1])
        column.addWidget(plain_label(inner, "Compare two models", size=TYPE.heading, bold=True))
        column.addWidget(
            plain_label(
                inner,
                "Both read the same text, one after the other; what is judged is how far the other's expectations are "
                "from the original's. It needs the same tokenizer in both.",
                dim=True,
            )
        )
        column.addLayout(grid)
        column.addWidget(plain_label(inner, "Text", bold=True))
        column.addWidget(self._text)
        column.addLayout(tokens)
        column.addWidget(self._unload)
        column.addWidget(self._problem)
        column.addWidget(self._start, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        outer = QHBoxLayout(content)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(inner, 1)
        self.setWidget(content)
        self._refresh()

    def show_models(self, entries: Sequence[ShelfEntry]) -> None:
        """Offer all that can be loaded."""
        usable = sorted((entry for entry in entries if entry.checkpoint), key=lambda entry: entry.title.lower())
        self._entries = {entry.path: entry for entry in usable}
        for model in self._models:
            chosen = model.currentData()
            blocker = QSignalBlocker(model)
            model.clear()
            for entry in usable:
                model.addItem(f"{entry.title}  ({entry.precision_words})", entry.path)
            model.setCurrentIndex(max(0, model.findData(chosen)) if usable else -1)
            blocker.unblock()
        self._refresh()

    def choose(self, original: str, other: str) -> None:
        """Fill in both models, by their paths, with the usual KV cache."""
        for model, bits, path in zip(self._models, self._bits, (original, other), strict=True):
            model.setCurrentIndex(model.findData(path))
            bits.setCurrentIndex(0)
        self._start.setFocus()

    def set_config(self, config: EngineConfig) -> None:
        """Compare with these settings of a load."""
        self._config = config

    def set_chat_loaded(self, loaded: bool) -> None:
        """Whether the chat's model holds memory that the job could have."""
        self._chat_is_loaded = loaded
        self._refresh()

    @Slot()
    def _refresh(self) -> None:
        self._unload.setVisible(self._chat_is_loaded)
        problem = self._obstacle()
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._start.setEnabled(not problem)

    def _obstacle(self) -> str:
        """Why it cannot begin, a sentence."""
        first, second = (model.currentData() for model in self._models)
        bits = [box.currentData() for box in self._bits]
        if not first or not second:
            return "No model was found. Get one with Ctrl+G, or add its folder with Ctrl+2."
        if any(bits) and not self._desk.has_card:
            return "The CPU keeps its cache in 16 bit, so there is nothing to compare."
        if first == second and bits[0] == bits[1]:
            return "Choose two models, or one with two precisions of its KV cache."
        if not self._text.sources:
            return "The conversations are being read."
        return ""

    @Slot()
    def _on_start_clicked(self) -> None:
        sides = []
        for model, box in zip(self._models, self._bits, strict=True):
            entry, bits = self._entries[model.currentData()], box.currentData()
            trusted = entry.config is not None and entry.config.needs_remote_code
            config = msgspec.structs.replace(self._config, quant_policy=bits, trust_remote_code=trusted)
            sides.append((entry.path, f"{entry.title}, KV {bits}" if bits else entry.title, config))
        sources = self._text.sources
        text = EvaluationText(sources=sources, name=text_name(sources), tokens=self._tokens.value())
        unload = self._chat_is_loaded and self._unload.isChecked()
        self.started.emit(self._desk.compare_two(sides[0], sides[1], text, unload_chat=unload))
