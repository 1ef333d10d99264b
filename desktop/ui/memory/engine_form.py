"""The settings of one load that decide its memory, as controls whose range cannot be left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLabel, QSlider, QWidget

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory_plan import MOST_RATIO, RATIO_STEPS
from desktop.domain.memory_reading import MemoryReading
from desktop.ui.controls import ChoiceBox, DecimalBox, NumberBox, TickBox
from desktop.ui.memory.card_box import CardBox
from desktop.ui.theme import SPACE

_BACKENDS = (
    ("Choose by itself", Backend.AUTO),
    ("TurboMind", Backend.TURBOMIND),
    ("PyTorch engine", Backend.PYTORCH),
    ("CPU", Backend.CPU),
)
_PRECISIONS = (("16 bit", 0), ("int8", 8), ("int4", 4))
_ONLY_CARDS = "The CPU does without it."


class EngineForm(QWidget):
    """What has no control here stays as it was in the setting that was shown.

    Signals:
        config_edited: the user changed something; `config` has it.
    """

    config_edited = Signal()

    def __init__(self, config: EngineConfig, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config = config
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACE[2])
        self._grid.setVerticalSpacing(SPACE[1])
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnStretch(3, 1)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(1, MOST_RATIO)
        self._slider.setPageStep(50)
        self._slider.setMinimumWidth(80)
        self.setFocusProxy(self._slider)
        self._slider.valueChanged.connect(self._on_slid)
        self._ratio = DecimalBox(self)
        self._ratio.setDecimals(3)
        self._ratio.setRange(1 / RATIO_STEPS, MOST_RATIO / RATIO_STEPS)
        self._ratio.setSingleStep(0.01)
        self._ratio.valueChanged.connect(self._on_ratio_changed)
        words = "Share of the memory left after the weights that the KV cache takes"
        self._place(0, 0, "Cache ratio", self._slider, words, span=2)
        self._name(self._ratio, "Cache ratio as a number", words)
        self._grid.addWidget(self._ratio, 0, 3)
        self._backend = self._choice(1, 0, "Backend", _BACKENDS, "What runs the model")
        self._session = self._number(1, 2, "Session length", (0, 10_000_000, 1024), "Most tokens of prompt and reply")
        self._session.setSpecialValueText("As the model")
        self._session.setSuffix(" tokens")
        self._bits = self._choice(2, 0, "KV precision", _PRECISIONS, "Fewer bits hold more text, a little less exactly")
        self._batch = self._number(2, 2, "Replies at once", (1, 1024, 1), "The others wait")
        self._prefill = self._number(
            3, 2, "Prefill step", (1, 1_000_000, 512), "Tokens of a prompt that are read at once"
        )
        self._prefill.setSuffix(" tokens")
        self._prefixes = TickBox("Keep prefixes cached", self)
        self._prefixes.toggled.connect(self._on_edited)
        self._name(
            self._prefixes, "Keep prefixes cached", "Do not compute again what a prompt shares with an earlier one"
        )
        self._grid.addWidget(self._prefixes, 3, 0, 1, 2)
        self._cards = CardBox(self)
        self._cards.chosen.connect(self.config_edited)
        self._card_label = self._place(4, 0, "Card", self._cards, "What holds the model and its KV cache", span=3)
        self.show_config(config)

    @property
    def config(self) -> EngineConfig:
        """The setting as it is now."""
        devices = self._cards.devices
        return msgspec.structs.replace(
            self._config,
            devices=devices,
            tp=self._config.tp if devices == self._config.devices else 1,
            backend=Backend(self._backend.currentData()),  # Qt keeps the bare string
            cache_max_entry_count=round(self._ratio.value(), 3),
            session_len=self._session.value() or None,
            max_batch_size=self._batch.value(),
            quant_policy=self._bits.currentData(),
            max_prefill_token_num=self._prefill.value(),
            enable_prefix_caching=self._prefixes.isChecked(),
        )

    def show_config(self, config: EngineConfig) -> None:
        """Show another setting; nothing is emitted."""
        self._config = config
        controls = (self._slider, self._ratio, self._backend, self._session, self._bits, self._batch, self._prefill)
        blocked = [QSignalBlocker(control) for control in (*controls, self._prefixes)]
        self._backend.setCurrentIndex(self._backend.findData(config.backend))
        self._ratio.setValue(config.cache_max_entry_count)
        self._slider.setValue(round(config.cache_max_entry_count * RATIO_STEPS))
        self._session.setValue(config.session_len or 0)
        self._bits.setCurrentIndex(self._bits.findData(config.quant_policy))
        self._batch.setValue(config.max_batch_size)
        self._prefill.setValue(config.max_prefill_token_num)
        self._prefixes.setChecked(config.enable_prefix_caching)
        self._cards.show_devices(config.devices)
        self._show_card_row()
        for blocker in blocked:
            blocker.unblock()

    def show_cards(self, reading: MemoryReading | None) -> None:
        """Offer these; with one card there is nothing to choose."""
        self._cards.show_cards(() if reading is None else reading.cards)
        self._show_card_row()

    def _show_card_row(self) -> None:
        for part in (self._cards, self._card_label):
            part.setVisible(self._cards.count() > 2)

    def set_cpu(self, cpu: bool) -> None:
        """Whether the CPU will run it, for which some settings mean nothing."""
        for control in (self._bits, self._prefixes, self._cards):
            control.setEnabled(not cpu)
            control.setToolTip(_ONLY_CARDS if cpu else control.accessibleDescription())

    def _choice(
        self, row: int, column: int, name: str, choices: Sequence[tuple[str, Any]], explanation: str
    ) -> ChoiceBox:
        box = ChoiceBox(self)
        for words, data in choices:
            box.addItem(words, data)
        box.currentIndexChanged.connect(self._on_edited)
        self._place(row, column, name, box, explanation)
        return box

    def _number(self, row: int, column: int, name: str, bounds: tuple[int, int, int], explanation: str) -> NumberBox:
        box = NumberBox(self)
        box.setRange(bounds[0], bounds[1])
        box.setSingleStep(bounds[2])
        box.setGroupSeparatorShown(True)
        box.valueChanged.connect(self._on_edited)
        self._place(row, column, name, box, explanation)
        return box

    def _place(self, row: int, column: int, name: str, control: QWidget, explanation: str, span: int = 1) -> QLabel:
        self._name(control, name, explanation)
        label = QLabel(name, self)
        label.setBuddy(control)
        label.setToolTip(explanation)
        self._grid.addWidget(label, row, column)
        self._grid.addWidget(control, row, column + 1, 1, span)
        return label

    @staticmethod
    def _name(control: QWidget, name: str, explanation: str) -> None:
        control.setAccessibleName(name)
        control.setAccessibleDescription(explanation)
        control.setToolTip(explanation)
        control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    @Slot(int)
    def _on_slid(self, thousandths: int) -> None:
        self._ratio.setValue(thousandths / RATIO_STEPS)

    @Slot(float)
    def _on_ratio_changed(self, ratio: float) -> None:
        with QSignalBlocker(self._slider):
            self._slider.setValue(round(ratio * RATIO_STEPS))
        self.config_edited.emit()

    @Slot()
    def _on_edited(self) -> None:
        self.config_edited.emit()
