"""The settings as controls whose range cannot be left."""

from __future__ import annotations

from typing import Any

import msgspec
from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QHideEvent, QResizeEvent
from PySide6.QtWidgets import (
    QFormLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.generation import ToolSpec
from desktop.storage.settings import Settings
from desktop.ui.chat.chat_settings_form import ChatSettingsForm
from desktop.ui.controls import ChoiceBox, DecimalBox, NumberBox, TickBox
from desktop.ui.theme import SPACE, TYPE, font_of

_COLUMN_WIDTH = 640
_FORM_WIDTH = 420
_CONTROL_WIDTH = 240
_SETTLE_MILLISECONDS = 400


class SettingsPage(QScrollArea):
    """Edits a Settings value; reads and writes nothing.

    Signals:
        settings_changed: the new Settings, a moment after the last change.
        tool_requested, tool_removed: as of ChatSettingsForm.
        ask_again_requested: no tool is allowed always any more.
    """

    settings_changed = Signal(object)
    tool_requested = Signal()
    tool_removed = Signal(str)
    ask_again_requested = Signal()

    def __init__(self, settings: Settings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MILLISECONDS)
        self._settle.timeout.connect(self.flush)
        content = QWidget()
        self._column = QVBoxLayout(content)
        self._column.setSpacing(SPACE[1])
        self._build()
        self._column.addStretch(1)
        self.setWidget(content)

    def show_tools(self, specs: tuple[ToolSpec, ...], custom: frozenset[str], always_allowed: tuple[str, ...]) -> None:
        """The tools there are, see ChatSettingsForm, and which never ask."""
        self._chat.show_tools(specs, custom)
        self._ask_again.setEnabled(bool(always_allowed))

    def show_engine(self, engine: EngineConfig) -> None:
        """Show settings of a load that were chosen elsewhere."""
        self._settings = msgspec.structs.replace(self._settings, engine=engine)
        controls = (
            *(self._backend, self._cache_ratio, self._session_len, self._batch, self._kv_bits, self._prefix_caching),
        )
        blocked = [QSignalBlocker(control) for control in controls]
        self._backend.setCurrentIndex(self._backend.findData(engine.backend))
        self._cache_ratio.setValue(engine.cache_max_entry_count)
        self._session_len.setValue(engine.session_len or 0)
        self._batch.setValue(engine.max_batch_size)
        self._kv_bits.setCurrentIndex(self._kv_bits.findData(engine.quant_policy))
        self._prefix_caching.setChecked(engine.enable_prefix_caching)
        for blocker in blocked:
            blocker.unblock()

    @Slot()
    def flush(self) -> None:
        """Emit at once what was changed."""
        self._settle.stop()
        self._chat.flush()
        changed = self._read()
        if changed != self._settings:
            self._settings = changed
            self.settings_changed.emit(changed)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.flush()

    def resizeEvent(self, event: QResizeEvent) -> None:
        side = max((self.width() - _COLUMN_WIDTH) // 2, SPACE[4])
        self._column.setContentsMargins(side, SPACE[4], side, SPACE[4])
        super().resizeEvent(event)

    def _build(self) -> None:
        settings, engine = self._settings, self._settings.engine
        form = self._section("Appearance")
        self._theme = self._choice(
            form,
            "Theme",
            [("Follow the system", "system"), ("Light", "light"), ("Dark", "dark")],
            settings.theme,
            "Light or dark colours.",
        )
        form = self._section("Engine", "Used the next time a model is loaded.")
        self._backend = self._choice(
            form,
            "Backend",
            [
                ("Choose by itself", Backend.AUTO),
                ("TurboMind", Backend.TURBOMIND),
                ("PyTorch engine", Backend.PYTORCH),
                ("CPU", Backend.CPU),
            ],
            engine.backend,
            "What runs the model. By itself: TurboMind where there is an NVIDIA card, else the processor.",
        )
        self._cache_ratio = self._decimal(
            form,
            "Cache ratio",
            (0.001, 0.99, 0.05),
            engine.cache_max_entry_count,
            "Share of the video memory left after the weights that the KV cache takes. 0.001 to 0.99.",
            digits=3,
        )
        self._session_len = self._whole(
            form,
            "Session length",
            (0, 10_000_000, 1024),
            engine.session_len or 0,
            "Most tokens of prompt and reply together. 0 takes what the model was made for.",
            zero="As the model",
            suffix=" tokens",
        )
        self._batch = self._whole(
            form,
            "Replies at once",
            (1, 1024, 1),
            engine.max_batch_size,
            "How many replies are written at the same time; the others wait. 1 to 1,024.",
        )
        self._kv_bits = self._choice(
            form,
            "KV cache precision",
            [("16 bit", 0), ("int8", 8), ("int4", 4)],
            engine.quant_policy,
            "Fewer bits hold more text in the same memory, a little less exactly (quant policy 0, 8 or 4).",
        )
        self._prefix_caching = self._check(
            form,
            "Keep prefixes cached",
            engine.enable_prefix_caching,
            "Do not compute again what a prompt shares with an earlier one.",
        )
        self._in_process = self._check(
            form,
            "Run the engine in this process",
            settings.run_engine_in_window_process,
            "LMDeploy then stays imported from one load to the next, but when the engine crashes, for example out of "
            "video memory, the window ends with it. Normally the engine has a process of its own.",
            explain=True,
        )
        form = self._section("Conversations")
        self._propose_titles = self._check(
            form,
            "Let the model propose titles",
            settings.propose_titles,
            "After the first reply, and only while the model has nothing else to do.",
        )
        self._ask_again = QPushButton("Ask again before every tool")
        self._ask_again.setAccessibleName("Ask again before every tool")
        self._ask_again.setToolTip("Takes back what was allowed always")
        self._ask_again.clicked.connect(self.ask_again_requested)
        form.addRow(self._ask_again)
        self._section("Replies", "For conversations without settings of their own, from the next message on.")
        self._chat = ChatSettingsForm(self)
        self._chat.setMaximumWidth(_FORM_WIDTH)
        self._chat.settings_changed.connect(self._on_edited)
        self._chat.tool_requested.connect(self.tool_requested)
        self._chat.tool_removed.connect(self.tool_removed)
        self._chat.show_settings(settings.chat)
        self._column.addWidget(self._chat)

    def _read(self) -> Settings:
        engine = msgspec.structs.replace(
            self._settings.engine,
            backend=Backend(self._backend.currentData()),  # Qt keeps the bare string
            cache_max_entry_count=round(self._cache_ratio.value(), 3),
            session_len=self._session_len.value() or None,
            max_batch_size=self._batch.value(),
            quant_policy=self._kv_bits.currentData(),
            enable_prefix_caching=self._prefix_caching.isChecked(),
        )
        return msgspec.structs.replace(
            self._settings,
            engine=engine,
            chat=self._chat.settings,
            propose_titles=self._propose_titles.isChecked(),
            run_engine_in_window_process=self._in_process.isChecked(),
            theme=self._theme.currentData(),
        )

    def _section(self, title: str, explanation: str = "") -> QFormLayout:
        if self._column.count():
            self._column.addSpacing(SPACE[3])
        heading = QLabel(title)
        heading.setFont(font_of(heading, TYPE.title, bold=True))
        self._column.addWidget(heading)
        if explanation:
            self._column.addWidget(_dim(explanation))
        form = QFormLayout()
        form.setContentsMargins(0, SPACE[0], 0, 0)
        form.setHorizontalSpacing(SPACE[4])
        form.setVerticalSpacing(SPACE[1])
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.FieldsStayAtSizeHint)
        self._column.addLayout(form)
        return form

    def _row(self, form: QFormLayout, name: str, control: QWidget, explanation: str) -> None:
        control.setAccessibleName(name)
        control.setAccessibleDescription(explanation)
        control.setToolTip(explanation)
        control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if isinstance(control, QPlainTextEdit):
            control.setMinimumWidth(_CONTROL_WIDTH + 120)
        else:
            control.setFixedWidth(_CONTROL_WIDTH)
        label = QLabel(name)
        label.setToolTip(explanation)
        label.setBuddy(control)
        label.setMinimumWidth(160)
        form.addRow(label, control)

    def _choice(
        self, form: QFormLayout, name: str, choices: list[tuple[str, Any]], value: Any, explanation: str
    ) -> ChoiceBox:
        box = ChoiceBox()
        for words, data in choices:
            box.addItem(words, data)
        box.setCurrentIndex(next((place for place, (_, data) in enumerate(choices) if data == value), 0))
        box.currentIndexChanged.connect(self._on_edited)
        self._row(form, name, box, explanation)
        return box

    def _decimal(
        self,
        form: QFormLayout,
        name: str,
        bounds: tuple[float, float, float],
        value: float,
        explanation: str,
        *,
        digits: int,
    ) -> DecimalBox:
        box = DecimalBox()
        box.setDecimals(digits)
        box.setRange(bounds[0], bounds[1])
        box.setSingleStep(bounds[2])
        box.setValue(value)
        box.valueChanged.connect(self._on_edited)
        self._row(form, name, box, explanation)
        return box

    def _whole(
        self,
        form: QFormLayout,
        name: str,
        bounds: tuple[int, int, int],
        value: int,
        explanation: str,
        *,
        zero: str = "",
        suffix: str = "",
    ) -> NumberBox:
        box = NumberBox()
        box.setRange(bounds[0], bounds[1])
        box.setSingleStep(bounds[2])
        box.setGroupSeparatorShown(True)
        box.setSpecialValueText(zero)
        box.setSuffix(suffix)
        box.setValue(value)
        box.valueChanged.connect(self._on_edited)
        self._row(form, name, box, explanation)
        return box

    def _check(self, form: QFormLayout, name: str, value: bool, explanation: str, *, explain: bool = False) -> TickBox:
        box = TickBox(name)
        box.setChecked(value)
        box.setAccessibleName(name)
        box.setAccessibleDescription(explanation)
        box.setToolTip(explanation)
        box.toggled.connect(self._on_edited)
        form.addRow(box)
        if explain:
            form.addRow(_dim(explanation))
        return box

    @Slot()
    def _on_edited(self) -> None:
        self._settle.start()


def _dim(words: str) -> QLabel:
    label = QLabel(words)
    label.setProperty("dim", True)
    label.setWordWrap(True)
    label.setFont(font_of(label, TYPE.small))
    return label
