"""The plan of a quantization: model, method, text, place, and what it will need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.calibration import built_in_set
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan, command_line, python_script
from desktop.domain.quantization_choice import method_choices
from desktop.domain.quantization_preflight import Preflight, preflight
from desktop.domain.shelf import PLAIN, ShelfEntry
from desktop.jobs.messages import QuantizeJob, Tried
from desktop.services.quantization_desk import Inspection, QuantizationDesk
from desktop.ui.controls import ChoiceBox, ElidedLabel, TickBox, plain_label, say
from desktop.ui.format import format_bytes
from desktop.ui.quantize.job_words import duration, kept_words, needs_words
from desktop.ui.quantize.method_choices import MethodChoices
from desktop.ui.quantize.result_place import ResultPlace
from desktop.ui.quantize.text_box import TextBox
from desktop.ui.theme import SPACE, TYPE

_WIDTH = 760
_REFRESH_MILLISECONDS = 1000
_SHORT = {
    QuantizationMethod.AWQ: "AWQ",
    QuantizationMethod.AWQ_SEARCH: "AWQ-search",
    QuantizationMethod.ROUND: "RTN-4bit",
    QuantizationMethod.INT8: "W8A8-int8",
    QuantizationMethod.FP8: "W8A8-fp8",
    QuantizationMethod.GPTQ: "GPTQ",
}


class PlanForm(QScrollArea):
    """Signals:
    started: the id of the job that was put in the queue.
    """

    started = Signal(object)

    def __init__(
        self, desk: QuantizationDesk, folder: Path, config: EngineConfig, parent: QWidget | None = None
    ) -> None:
        """folder: where results go unless the user names another. config: with which results are compared."""
        super().__init__(parent)
        self._desk = desk
        self._folder = folder
        self._config = config
        self._entries: dict[str, ShelfEntry] = {}
        self._path = ""
        self._inspection: Inspection | None = None
        self._problem = ""
        self._kept: tuple[str, ...] = ()
        self._kept_share = 0.0
        self._suggestion: QuantizationPlan | None = None
        self._chat_is_loaded = False
        self._trying = False
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self._build()
        desk.inspected.connect(self._on_inspected)
        desk.inspect_failed.connect(self._on_inspect_failed)
        desk.counted.connect(self._text.show_statistics)
        desk.count_failed.connect(self._text.show_problem)
        desk.tried.connect(self._on_tried)
        desk.try_failed.connect(self._on_try_failed)
        desk.conversations_read.connect(self._text.show_conversations)
        desk.conversations_failed.connect(self._text.show_problem)
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MILLISECONDS)
        self._timer.timeout.connect(self._refresh)

    @property
    def plan(self) -> QuantizationPlan | None:
        """As it stands; None without a model or a method."""
        method = self._methods.method
        if not self._path or method is None:
            return None
        samples, length, batch = self._text.numbers
        entry, card = self._entries.get(self._path), self._desk.card(self._config)
        return QuantizationPlan(
            source=self._path,
            target=str(self._place.target),
            method=method,
            samples=samples,
            sequence_length=length,
            batch_size=batch,
            device="cuda" if card is not None else "cpu",
            card=card.index if card is not None else 0,
            card_uuid=card.uuid if card is not None else "",
            kept=self._kept,
            trust_remote_code=entry is not None and entry.config is not None and entry.config.needs_remote_code,
        )

    def show_models(self, entries: Sequence[ShelfEntry]) -> None:
        """Offer those that are not quantized yet."""
        usable = sorted((entry for entry in entries if entry.precision in PLAIN), key=lambda entry: entry.title.lower())
        self._entries = {entry.path: entry for entry in usable}
        blocker = QSignalBlocker(self._model)
        self._model.clear()
        for entry in usable:
            self._model.addItem(f"{entry.title}  ({format_bytes(entry.disk_bytes)})", entry.path)
        index = self._model.findData(self._path)
        self._model.setCurrentIndex(max(0, index) if usable else -1)
        blocker.unblock()
        self._nothing.setVisible(not usable)
        if usable and index < 0:
            self._on_model_chosen(0)

    def choose(self, path: str, kept: tuple[str, ...] = (), share: float = 0.0) -> None:
        """Plan a quantization of this model. kept: layers that stay in 16 bit; share: of all layers' error."""
        index = self._model.findData(path)
        if index >= 0:
            self._model.setCurrentIndex(index)
            self._on_model_chosen(index)
        self._kept, self._kept_share = kept, share
        self._name_result()
        self._refresh()

    def set_chat_loaded(self, loaded: bool) -> None:
        """Whether the chat's model holds memory that the job could have."""
        self._chat_is_loaded = loaded
        self._refresh()

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._timer.start()
        self._refresh()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _build(self) -> None:
        content = QWidget(self)
        inner = QWidget(content)
        inner.setMaximumWidth(_WIDTH)
        self._model = ChoiceBox(inner)
        self._model.setAccessibleName("Model to quantize")
        self._model.activated.connect(self._on_model_chosen)
        self._nothing = plain_label(
            inner, "No 16-bit model was found. Get one with Ctrl+G, or add its folder with Ctrl+2."
        )
        self._state = plain_label(inner, dim=True)
        self._methods = MethodChoices(inner)
        self._methods.method_chosen.connect(self._on_method_chosen)
        self._text_heading = plain_label(inner, "Calibration text", bold=True)
        self._text = TextBox(inner)
        self._text.changed.connect(self._refresh)
        self._text.count_requested.connect(self._on_count_requested)
        self._text.conversations_requested.connect(self._desk.read_conversations)
        self._place = ResultPlace(self._folder, inner)
        self._place.changed.connect(self._refresh)
        self._place.folder_chosen.connect(self._on_method_chosen)
        self._kept_line = plain_label(inner)
        self._needs = plain_label(inner)
        self._warnings = plain_label(inner)
        self._warnings.setObjectName("Warnings")
        self._use = QPushButton("Use what fits", inner)
        self._use.clicked.connect(self._on_use_clicked)
        self._unload = TickBox("Unload the chat's model meanwhile", inner)
        self._unload.setChecked(True)
        self._unload.toggled.connect(self._refresh)
        self._compare = TickBox("Compare the result with the original afterwards", inner)
        self._compare.setChecked(True)
        self._start = QPushButton("Start", inner)
        self._start.setProperty("primary", True)
        self._start.clicked.connect(self._on_start_clicked)
        self._try = QPushButton("Try one layer", inner)
        self._try.setToolTip("Quantizes one layer and throws it away, to know how long the whole will take")
        self._try.clicked.connect(self._on_try_clicked)
        self._copy_command = QPushButton("Copy as a command", inner)
        self._copy_command.clicked.connect(self._on_copy_command)
        self._copy_python = QPushButton("Copy as Python", inner)
        self._copy_python.clicked.connect(self._on_copy_python)
        self._said = ElidedLabel(inner)
        self._lay_out(content, inner)
        self.setWidget(content)

    def _lay_out(self, content: QWidget, inner: QWidget) -> None:
        """In the order in which Tab goes through it."""
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self._start)
        buttons.addWidget(self._try)
        buttons.addWidget(self._said, 1)
        copies = QHBoxLayout()
        copies.setSpacing(SPACE[1])
        copies.addWidget(self._copy_command)
        copies.addWidget(self._copy_python)
        copies.addStretch(1)
        advised = QHBoxLayout()
        advised.addWidget(self._warnings, 1)
        advised.addWidget(self._use, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(inner)
        column.setContentsMargins(SPACE[4], SPACE[3], SPACE[4], SPACE[4])
        column.setSpacing(SPACE[1])
        column.addWidget(plain_label(inner, "Quantize a model", size=TYPE.heading, bold=True))
        for heading, part in (
            ("Model", self._model),
            ("", self._nothing),
            ("", self._state),
            ("Method", self._methods),
        ):
            if heading:
                column.addWidget(plain_label(inner, heading, bold=True))
            column.addWidget(part)
        column.addWidget(self._text_heading)
        column.addWidget(self._text)
        column.addWidget(plain_label(inner, "Result", bold=True))
        column.addWidget(self._place)
        column.addWidget(self._kept_line)
        column.addWidget(plain_label(inner, "What it will need (forecast)", bold=True))
        column.addWidget(self._needs)
        column.addLayout(advised)
        column.addWidget(self._unload)
        column.addWidget(self._compare)
        column.addLayout(buttons)
        column.addLayout(copies)
        column.addStretch(1)
        row = QHBoxLayout(content)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(inner, 1)
        row.addStretch(0)

    @Slot()
    def _refresh(self) -> None:
        """Everything that follows from what is chosen."""
        plan = self.plan
        calibrates = plan is not None and plan.facts.calibrates
        self._text_heading.setVisible(calibrates)
        self._text.setVisible(calibrates)
        self._unload.setVisible(self._chat_is_loaded)
        say(self._kept_line, self._kept_words(plan))
        found = self._preflight(plan)
        problem = self._obstacle(plan, found)
        self._suggestion = found.suggestion if found is not None and found.warnings else None
        self._use.setVisible(self._suggestion is not None and self._suggestion != plan)
        say(self._needs, self._needs_words(found) if found is not None else "")
        say(self._warnings, problem or "\n".join(found.warnings if found is not None else ()))
        self._start.setEnabled(plan is not None and not problem)
        self._try.setEnabled(plan is not None and not problem and not self._trying)
        self._copy_command.setEnabled(plan is not None)
        self._copy_python.setEnabled(plan is not None)

    def _kept_words(self, plan: QuantizationPlan | None) -> str:
        if not self._kept or plan is None or self._inspection is None:
            return ""
        return kept_words(plan, self._inspection.source, self._inspection.quantizer.skipped, self._kept_share)

    def _needs_words(self, found: Preflight) -> str:
        card = self._desk.card(self._config)
        return needs_words(found.needs, card if self._desk.has_cards else None)

    def _preflight(self, plan: QuantizationPlan | None) -> Preflight | None:
        if plan is None or self._inspection is None:
            return None
        unload = self._chat_is_loaded and self._unload.isChecked()
        room = self._desk.room(str(self._place.parent_folder), plan, unload_chat=unload)
        skipped = (*self._inspection.quantizer.skipped, *self._kept)
        return preflight(plan, self._inspection.source, room, skipped) if room is not None else None

    def _obstacle(self, plan: QuantizationPlan | None, found: Preflight | None) -> str:
        """Why it cannot begin, a sentence; lack of room alone does not keep anybody from trying."""
        if plan is None:
            return self._problem
        if problems := plan.problems():
            return f"{'; '.join(problems)}."
        if problem := self._place.problem():
            return problem
        if plan.facts.calibrates and not self._text.sources:
            return "The conversations are being read."
        return ""

    @Slot(int)
    def _on_model_chosen(self, index: int) -> None:
        path = self._model.itemData(index)
        if not path or path == self._path:
            return
        self._path, self._inspection, self._problem = path, None, "The model is being looked at …"
        self._kept = ()
        self._methods.show_choices(())
        say(self._state, "LMDeploy is being asked what can be done with it …")
        self._desk.inspect(path)
        self._refresh()

    @Slot(str, object)
    def _on_inspected(self, path: str, found: Inspection) -> None:
        if path != self._path:
            return
        self._inspection = found
        choices = method_choices(found.source, found.quantizer, self._desk.has_card)
        self._methods.show_choices(choices)
        possible = any(choice.possible for choice in choices)
        self._problem = "" if possible else "None of the methods can be used on this model."
        layers = f"{found.source.layers} layers, {len(found.source.linears)} linear ones in them"
        say(self._state, f"{layers}; {format_bytes(found.source.model_bytes)} in 16 bit.")
        self._name_result()
        self._refresh()

    @Slot(str, object)
    def _on_inspect_failed(self, path: str, problem: Failure) -> None:
        if path == self._path:
            self._problem = f"{problem.message} {problem.next_step}"
            say(self._state, "")
            self._refresh()

    def _name_result(self) -> None:
        entry, method = self._entries.get(self._path), self._methods.method
        if entry is not None and method is not None:
            self._place.suggest(entry.title, f"{_SHORT[method]}{'-mixed' if self._kept else ''}")

    @Slot()
    def _on_method_chosen(self) -> None:
        self._name_result()
        self._refresh()

    @Slot()
    def _on_count_requested(self) -> None:
        plan = self.plan
        if plan is not None:
            self._desk.count(self._path, self._text.sources, plan)

    @Slot()
    def _on_use_clicked(self) -> None:
        if self._suggestion is not None:
            fitting = self._suggestion
            self._text.set_numbers(fitting.samples, fitting.sequence_length, fitting.batch_size)

    def _job(self) -> QuantizeJob | None:
        plan, entry = self.plan, self._entries.get(self._path)
        if plan is None or entry is None:
            return None
        sources = self._text.sources if plan.facts.calibrates else ()
        return QuantizeJob(plan=plan, calibration=sources, source_name=entry.title, revision=entry.source.revision)

    @Slot()
    def _on_try_clicked(self) -> None:
        if (job := self._job()) is not None:
            self._trying = True
            self._said.show_words("One layer is being tried …")
            self._desk.try_layer(job)
            self._refresh()

    @Slot(object)
    def _on_tried(self, found: Tried) -> None:
        self._trying = False
        held = f"{format_bytes(found.peak_host)} of memory"
        if found.peak_card:
            held = f"{format_bytes(found.peak_card)} of video memory"
        self._said.show_words(f"About {duration(found.seconds)} in all (forecast); the trial held {held} at most.")
        self._refresh()

    @Slot(object)
    def _on_try_failed(self, problem: Failure) -> None:
        self._trying = False
        self._said.show_words(f"{problem.message} {problem.next_step}")
        self._refresh()

    @Slot()
    def _on_start_clicked(self) -> None:
        job = self._job()
        if job is None:
            return
        unload = self._chat_is_loaded and self._unload.isChecked()
        config = self._config if self._compare.isChecked() else None
        title = f"{job.plan.facts.name} of {job.source_name}"
        number = self._desk.start(job, title, unload_chat=unload, compare_with=config)
        self._name_result()
        self._refresh()
        self.started.emit(number)

    @Slot()
    def _on_copy_command(self) -> None:
        if (plan := self.plan) is not None:
            chosen = built_in_set(self._text.sources)
            QGuiApplication.clipboard().setText(command_line(plan, chosen.name if chosen else ""))
            self._said.show_words("Copied. " + ("" if chosen else "The command reads its own online calibration text."))

    @Slot()
    def _on_copy_python(self) -> None:
        if (plan := self.plan) is not None:
            QGuiApplication.clipboard().setText(python_script(plan, "calibration.jsonl"))
            self._said.show_words("Copied. The result's folder will hold the calibration file.")

    def set_config(self, config: EngineConfig) -> None:
        """Compare with these settings of a load."""
        self._config = msgspec.structs.replace(config)

    def set_mirror(self, mirror: str) -> None:
        """Have LMDeploy fetch its sets from this mirror of Hugging Face; "": from there itself."""
        self._text.mirror = mirror
