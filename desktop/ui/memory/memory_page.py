"""The Memory page: what the model takes and would take, what fits here, and how past forecasts turned out."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.capacity import capacity_table
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import Forecast
from desktop.domain.memory_plan import Plan, forms_of, nearest
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.memory_words import advice, outlook, trust
from desktop.domain.server_address import server_model
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.run_recorder import RunRecorder
from desktop.ui.controls import plain_label, say
from desktop.ui.format import card_label, format_bytes
from desktop.ui.memory.cache_units import CacheUnits
from desktop.ui.memory.capacity_view import CapacityView
from desktop.ui.memory.engine_form import EngineForm
from desktop.ui.memory.forecast_bar import ForecastBar
from desktop.ui.memory.measured_bar import MeasuredBar
from desktop.ui.memory.runs_panel import RunsPanel
from desktop.ui.theme import SPACE, TYPE
from desktop.ui.words import model_name

_SIDE_BY_SIDE = 1080  # pixels of width from which there are two columns
_LEFT = 540
_SOON_MILLISECONDS = 500
_NO_LIMIT = (1 << 24) - 1  # Qt's largest width


class MemoryPage(QScrollArea):
    """Signals:
    config_chosen: the EngineConfig to load with from now on; a load follows with one of the others.
    reload_requested: load the present model again. load_requested: the path of another.
    """

    config_chosen = Signal(object)
    reload_requested = Signal()
    load_requested = Signal(str)

    def __init__(
        self,
        host: EngineHost,
        adviser: MemoryAdviser,
        recorder: RunRecorder,
        config: EngineConfig,
        demo_path: str,
        parent: QWidget | None = None,
    ) -> None:
        """config: what is set now."""
        super().__init__(parent)
        self._host = host
        self._adviser = adviser
        self._recorder = recorder
        self._demo_path = demo_path
        self._path = ""
        self._shape: MemoryShape | None = None
        self._problem = ""
        self._set = config
        self._plan: Plan | None = None
        self._soon = QTimer(self)  # memory changes with every sample
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MILLISECONDS)
        self._soon.timeout.connect(self._refresh)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._build(config)
        adviser.shape_read.connect(self._on_shape_read)
        adviser.shape_failed.connect(self._on_shape_failed)
        adviser.memory_changed.connect(self._on_memory_changed)
        recorder.runs_changed.connect(self._refresh)
        host.status_changed.connect(self._on_status_changed)
        self._on_status_changed(host.status)

    def show_config(self, config: EngineConfig) -> None:
        """Show what is set now, if it was changed elsewhere; what is being turned here stays otherwise."""
        if config != self._set:
            self._set = config
            self._form.show_config(config)
            self._refresh()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._path and server_model(self._path) is None:
            self._adviser.read_shape(self._path)
        self._refresh()
        self._form.setFocus()

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = self.width() >= _SIDE_BY_SIDE
        self._columns.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self._left.setMinimumWidth(_LEFT if wide else 0)
        self._left.setMaximumWidth(_LEFT if wide else _NO_LIMIT)
        super().resizeEvent(event)

    def _build(self, config: EngineConfig) -> None:
        """In the order in which Tab goes through it."""
        content = QWidget(self)
        self._heading = plain_label(content, "Memory", size=TYPE.heading, bold=True)
        self._source = plain_label(content, dim=True)
        self._left = QWidget(content)
        self._form = EngineForm(config, self._left)
        self._form.config_edited.connect(self._refresh)
        self._units = CacheUnits(self._left)
        self._units.ratio_wanted.connect(self._on_ratio_wanted)
        self._units.context_changed.connect(self._refresh)
        self._apply = QPushButton("Apply and reload", self._left)
        self._apply.setProperty("primary", True)
        self._apply.clicked.connect(self._on_apply_clicked)
        left = QVBoxLayout(self._left)
        left.setContentsMargins(0, 0, 0, 0)
        left.setSpacing(SPACE[2])
        left.addWidget(plain_label(content, "Settings of a load", bold=True))
        left.addWidget(self._form)
        left.addWidget(plain_label(content, "KV cache (forecast)", bold=True))
        left.addWidget(self._units)
        left.addWidget(self._apply, 0, Qt.AlignmentFlag.AlignLeft)
        left.addStretch(1)
        self._measured_bar = MeasuredBar(content)
        self._measured = plain_label(content)
        self._bar = ForecastBar(content)
        self._outlook = plain_label(content)
        self._advice = plain_label(content)
        self._use = QPushButton("Use this", content)
        self._use.setAccessibleName("Use the setting that fits")
        self._use.clicked.connect(self._on_use_clicked)
        advised = QHBoxLayout()
        advised.addWidget(self._advice, 1)
        advised.addWidget(self._use, 0, Qt.AlignmentFlag.AlignTop)
        self._fits = plain_label(content, bold=True)
        self._table = CapacityView(content)
        self._runs = RunsPanel(self._recorder, content)
        self._runs.load_requested.connect(self._on_load_again)
        right = QVBoxLayout()
        right.setSpacing(SPACE[1])
        for heading, parts in (
            ("Now (measured)", (self._measured_bar, self._measured)),
            ("After the next load (forecast)", (self._bar, self._outlook)),
        ):
            right.addWidget(plain_label(content, heading, bold=True))
            for part in parts:
                right.addWidget(part)
        right.addLayout(advised)
        right.addSpacing(SPACE[1])
        right.addWidget(self._fits)
        right.addWidget(self._table)
        right.addSpacing(SPACE[1])
        right.addWidget(self._runs)
        right.addStretch(1)
        self._columns = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._columns.setSpacing(SPACE[4])
        self._columns.addWidget(self._left)
        self._columns.addLayout(right, 1)
        column = QVBoxLayout(content)
        column.setContentsMargins(SPACE[4], SPACE[3], SPACE[4], SPACE[3])
        column.setSpacing(SPACE[1])
        column.addWidget(self._heading)
        column.addWidget(self._source)
        column.addLayout(self._columns, 1)
        self.setWidget(content)

    @Slot()
    def _on_memory_changed(self) -> None:
        if self.isVisible() and not self._soon.isActive():
            self._soon.start()

    @Slot()
    def _refresh(self) -> None:
        config = self._adviser.resolved(self._path, self._form.config)
        cpu = config.backend is Backend.CPU
        self._form.set_cpu(cpu)
        self._form.show_cards(self._adviser.reading)
        self._plan = None
        shape = self._shape if not self._problem else None
        found = self._adviser.forecast(shape, config) if shape is not None else None
        self._bar.show_forecast(found)
        self._units.show_forecast(found, shape.config.context_length or 0 if shape is not None else 0)
        self._show_source(found, config)
        self._show_measured(config)
        words = ""
        if found is None:
            busy = (
                "The model is being read …" if self._path else "Choose a model first: Ctrl+2 shows those on the disk."
            )
            say(self._outlook, self._problem or (self._path and self._adviser.obstacle(config)) or busy)
        else:
            say(self._outlook, outlook(found, self._units.context))
            if not found.fits and shape is not None:
                words = self._what_fits(shape, config)
        say(self._advice, words)
        self._use.setVisible(self._plan is not None)
        self._show_capacity(shape if found is not None else None, config)

    def _show_source(self, found: Forecast | None, config: EngineConfig) -> None:
        name = model_name(self._host.status, self._demo_path) or "No model"
        if found is None:
            say(self._source, name)
            self._source.setToolTip("")
            return
        place = "this machine's memory" if found.backend is Backend.CPU else card_label(self._adviser.device(config))
        say(self._source, f"{name} on {place}, {format_bytes(found.total)}. The forecast: {trust(found)}.")
        self._source.setToolTip("\n".join(f"• {note[:1].upper()}{note[1:]}" for note in found.notes))

    def _show_measured(self, config: EngineConfig) -> None:
        """The memory as it is, and the run that is loaded beside what was forecast for it."""
        used = self._adviser.cards_used(config) if config.backend is not Backend.CPU else ()
        card = used[0].index if used else None
        self._measured_bar.show_reading(self._adviser.reading, card, self._recorder.engine_memory)
        status = self._host.status
        run = next(iter(self._recorder.runs), None)
        if status.state is not EngineState.READY:
            say(self._measured, "Loading …" if status.state is EngineState.LOADING else "Nothing is loaded.")
        elif server_model(status.path) is not None:
            say(self._measured, "Nothing on this machine.")
        elif run is None or run.path != status.path or run.measured is None:
            say(self._measured, "Not measured: it is too early, or the system does not tell what the engine holds.")
        elif run.expected is None or run.error is None:
            say(self._measured, f"The engine held {format_bytes(run.measured)}; there was no forecast.")
        else:
            forecast = f"{format_bytes(run.expected)} were forecast ({run.error:+.1%})"
            say(self._measured, f"The engine held {format_bytes(run.measured)} once it was loaded; {forecast}.")

    def _show_capacity(self, shape: MemoryShape | None, config: EngineConfig) -> None:
        cpu = config.backend is Backend.CPU
        self._table.setVisible(shape is not None and not cpu)
        context = self._units.context
        if shape is None:
            say(self._fits, "")
        elif cpu:
            say(self._fits, "The precision of the KV cache and kept prefixes have no effect on the CPU.")
        else:
            say(self._fits, f"What fits at most: chats of {context:,} tokens (forecast)")
            cards, residual = self._adviser.cards_used(config), self._adviser.residual(config)
            forms = forms_of(shape.quantization.upper() or "16 bit", shape, self._path)
            self._table.show_cells(capacity_table(forms, cards, config, residual), context, config.quant_policy)

    def _what_fits(self, shape: MemoryShape, config: EngineConfig) -> str:
        cards, residual = self._adviser.cards_for(config), self._adviser.residual(config)
        answer = nearest(forms_of("", shape, self._path)[:1], config, cards, residual)
        self._plan = answer if isinstance(answer, Plan) else None
        return advice(answer, config)

    @Slot(float)
    def _on_ratio_wanted(self, ratio: float) -> None:
        self._form.show_config(msgspec.structs.replace(self._form.config, cache_max_entry_count=ratio))
        self._refresh()

    @Slot()
    def _on_use_clicked(self) -> None:
        if self._plan is not None:
            asked = self._form.config.backend
            self._form.show_config(msgspec.structs.replace(self._plan.config, backend=asked))
            self._refresh()

    @Slot()
    def _on_apply_clicked(self) -> None:
        self._set = self._form.config
        self.config_chosen.emit(self._set)
        self.reload_requested.emit()

    @Slot(object)
    def _on_load_again(self, run: LoadRun) -> None:
        # Whether it may run code of its own is asked anew.
        self.config_chosen.emit(msgspec.structs.replace(run.config, trust_remote_code=False, card_uuids=()))
        self.load_requested.emit(run.path)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        here = bool(status.path) and server_model(status.path) is None
        self._apply.setEnabled(here and status.state is not EngineState.STOPPING)
        self._apply.setText("Apply and reload" if status.state is EngineState.READY else "Apply and load")
        if status.path != self._path:
            self._path, self._problem = status.path, ""
            self._shape = self._adviser.shape(status.path)
            if (served := server_model(status.path)) is not None:
                self._problem = f"The model runs on {served.place}: its memory and settings are that server's."
            elif self.isVisible() and status.path:
                self._adviser.read_shape(status.path)
        if self.isVisible():
            self._refresh()

    @Slot(str, object)
    def _on_shape_read(self, path: str, shape: MemoryShape) -> None:
        if path == self._path:
            self._shape, self._problem = shape, ""
            self._refresh()

    @Slot(str, object)
    def _on_shape_failed(self, path: str, problem: Failure) -> None:
        if path == self._path:
            self._problem = f"There is no forecast. {problem.message} {problem.next_step}"
            self._refresh()
