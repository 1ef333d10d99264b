"""One job: how far it is, what came of it, and what can be done with that."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from desktop.jobs.job_record import ENDED, JobRecord, JobStatus
from desktop.jobs.messages import LayerError, Quantized, QuantizeJob
from desktop.ui.controls import ElidedLabel, TickBox, plain_label, say
from desktop.ui.failure_card import FailureCard
from desktop.ui.format import format_bytes
from desktop.ui.quantize.bars import BarFigure, Bars
from desktop.ui.quantize.evaluation_view import EvaluationView
from desktop.ui.quantize.job_words import duration, status_words, step_words
from desktop.ui.theme import SPACE, TYPE

_LOG_LINES = 2000
_LOG_HEIGHT = 180
_WORST = 5


class JobView(QScrollArea):
    """Signals:
    stop_requested, remove_requested: the id of the job.
    chat_requested: the path of the model that was made. compare_requested: the JobRecord of a quantization.
    keep_requested: the path of the original, names of layers to be kept in 16 bit, and their share of all layers'
    squared error, 0 to 1.
    """

    stop_requested = Signal(object)
    remove_requested = Signal(object)
    chat_requested = Signal(str)
    compare_requested = Signal(object)
    keep_requested = Signal(str, object, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._record: JobRecord | None = None
        self._lines: dict[int, list[str]] = {}
        self._card: FailureCard | None = None
        self._keep_is_offered = True
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        content = QWidget(self)
        self._title = plain_label(content, size=TYPE.heading, bold=True)
        self._state = plain_label(content)
        self._bar = QProgressBar(content)
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._bar.setAccessibleName("Progress of the job")
        self._result = plain_label(content)
        self._stop = self._button(content, "Stop", self._on_stop)
        self._chat = self._button(content, "Chat with it", self._on_chat)
        self._chat.setProperty("primary", True)
        self._compare = self._button(content, "Compare with the original", self._on_compare)
        self._open = self._button(content, "Open the folder", self._on_open)
        self._remove = self._button(content, "Remove from the list", self._on_remove)
        buttons = QVBoxLayout()  # in two rows, for the smallest window
        buttons.setSpacing(SPACE[1])
        for row in ((self._stop, self._chat, self._compare), (self._open, self._remove)):
            line = QHBoxLayout()
            line.setSpacing(SPACE[1])
            for button in row:
                line.addWidget(button)
            line.addStretch(1)
            buttons.addLayout(line)
        self._layers_heading = plain_label(content, "What quantizing did to each layer's output", bold=True)
        self._layers = Bars("Error of each layer", content)
        self._pointed = ElidedLabel(content)
        self._layers.pointed_at.connect(self._pointed.show_words)
        self._worst = QWidget(content)
        self._worst.setAccessibleName("Layers with the largest error")
        self._ticks: dict[str, TickBox] = {}
        self._worst_column = QVBoxLayout(self._worst)
        self._worst_column.setContentsMargins(0, 0, 0, 0)
        self._worst_column.setSpacing(SPACE[0])
        self._keep = self._button(content, "Keep the ticked layers in 16 bit…", self._on_keep)
        self._evaluation = EvaluationView(content)
        self._log_button = self._button(content, "Show the log", self._on_log_clicked)
        self._log = QPlainTextEdit(content)
        self._log.setReadOnly(True)
        self._log.setMaximumBlockCount(_LOG_LINES)
        self._log.setFixedHeight(_LOG_HEIGHT)
        self._log.setAccessibleName("Log of the job")
        self._log.hide()
        self._place = QVBoxLayout()
        column = QVBoxLayout(content)
        column.setContentsMargins(SPACE[4], SPACE[3], SPACE[4], SPACE[4])
        column.setSpacing(SPACE[1])
        for above in (self._title, self._state, self._bar, self._result):
            column.addWidget(above)
        column.addLayout(self._place)
        column.addLayout(buttons)
        parts: tuple[QWidget, ...] = (
            self._layers_heading,
            self._layers,
            self._pointed,
            self._worst,
            self._keep,
            self._evaluation,
            self._log_button,
            self._log,
        )
        for part in parts:
            column.addWidget(part)
        for below in (self._keep, self._log_button):
            column.setAlignment(below, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)
        self.setWidget(content)

    def set_keep_offered(self, offered: bool) -> None:
        """Whether layers may be kept in 16 bit here. It was not tried whether TurboMind loads such a result."""
        self._keep_is_offered = offered

    def show_job(self, record: JobRecord) -> None:
        """Show this job, or the same one further on."""
        other = self._record is None or self._record.id != record.id
        before, self._record = self._record, record
        if other:
            self._log.setPlainText("\n".join(self._lines.get(record.id, [])))
            self.verticalScrollBar().setValue(0)
        ended = record.status in ENDED
        self._title.setText(record.title)
        running = record.status in (JobStatus.RUNNING, JobStatus.ALONE)
        words = step_words(record.progress) if running else ""
        standing = status_words(record)
        standing = f"{standing[:1].upper()}{standing[1:]}"
        say(self._state, f"{standing} · {words}" if words else standing)
        self._bar.setVisible(running)
        self._bar.setValue(round((record.progress.fraction if record.progress is not None else 0) * 1000))
        self._stop.setVisible(not ended)
        self._remove.setVisible(ended)
        made = record.quantized
        there = made is not None and Path(made.path).is_dir()
        for button in (self._chat, self._compare, self._open):
            button.setVisible(made is not None)
            button.setEnabled(there)
        say(self._result, _result_words(made, there) if made is not None else "")
        if other or before is None or before.failure != record.failure:
            self._show_failure(record)
        if other or before is None or before.layer_errors != record.layer_errors or before.status != record.status:
            self._show_layers(record.layer_errors, ended=ended)
        self._evaluation.setVisible(record.evaluation is not None)
        if record.evaluation is not None:
            self._evaluation.show_evaluation(record.evaluation)
        has_log = bool(self._lines.get(record.id))
        self._log_button.setVisible(has_log)
        self._log.setVisible(has_log and self._log_button.text() == "Hide the log")

    @Slot(object, str)
    def add_log_line(self, number: int, line: str) -> None:
        """A line that a job printed."""
        lines = self._lines.setdefault(number, [])
        lines.append(line)
        del lines[:-_LOG_LINES]
        if self._record is not None and self._record.id == number:
            self._log_button.show()
            self._log.appendPlainText(line)

    def _show_failure(self, record: JobRecord) -> None:
        if self._card is not None:
            self._place.removeWidget(self._card)
            self._card.hide()
            self._card.deleteLater()
            self._card = None
        if record.failure is not None:
            self._card = FailureCard(record.failure, parent=self.widget())
            self._place.addWidget(self._card)

    def _show_layers(self, errors: tuple[LayerError, ...], *, ended: bool) -> None:
        shown = bool(errors)
        for part in (self._layers_heading, self._layers, self._pointed):
            part.setVisible(shown)
        worst = sorted(errors, key=lambda one: -one.error)[:_WORST]
        self._layers.show_figures(
            [BarFigure(one.error, f"{one.name}: {one.error:.2%}", strong=one in worst) for one in errors],
            "first layer",
            "last layer",
        )
        for tick in self._ticks.values():
            self._worst_column.removeWidget(tick)
            tick.hide()
            tick.deleteLater()
        self._ticks = {}
        for one in worst:
            self._ticks[one.name] = tick = TickBox(f"{one.name}, {one.error:.2%}", self._worst)
            tick.toggled.connect(self._on_ticked)
            self._worst_column.addWidget(tick)
        self._on_ticked()
        offered = (
            self._keep_is_offered
            and shown
            and ended
            and self._record is not None
            and isinstance(self._record.work, QuantizeJob)
        )
        self._worst.setVisible(offered)
        self._keep.setVisible(offered)

    def _button(self, parent: QWidget, words: str, slot: object) -> QPushButton:
        button = QPushButton(words, parent)
        button.clicked.connect(slot)
        return button

    @Slot()
    def _on_stop(self) -> None:
        if self._record is not None:
            self.stop_requested.emit(self._record.id)

    @Slot()
    def _on_remove(self) -> None:
        if self._record is not None:
            self.remove_requested.emit(self._record.id)

    @Slot()
    def _on_chat(self) -> None:
        if self._record is not None and self._record.quantized is not None:
            self.chat_requested.emit(self._record.quantized.path)

    @Slot()
    def _on_compare(self) -> None:
        if self._record is not None:
            self.compare_requested.emit(self._record)

    @Slot()
    def _on_open(self) -> None:
        from PySide6.QtCore import QUrl
        from PySide6.QtGui import QDesktopServices

        if self._record is not None and self._record.quantized is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._record.quantized.path))

    @Slot()
    def _on_keep(self) -> None:
        record = self._record
        if record is None or not isinstance(record.work, QuantizeJob):
            return
        names = tuple(name for name, tick in self._ticks.items() if tick.isChecked())
        if names:
            whole = sum(one.error**2 for one in record.layer_errors)
            share = sum(one.error**2 for one in record.layer_errors if one.name in names) / whole if whole else 0.0
            self.keep_requested.emit(record.work.plan.source, (*record.work.plan.kept, *names), share)

    @Slot()
    def _on_ticked(self) -> None:
        self._keep.setEnabled(any(tick.isChecked() for tick in self._ticks.values()))

    @Slot()
    def _on_log_clicked(self) -> None:
        show = self._log.isHidden()
        self._log.setVisible(show)
        self._log_button.setText("Hide the log" if show else "Show the log")


def _result_words(made: Quantized, there: bool) -> str:
    parts = [f"{format_bytes(made.weight_bytes)} of weights in {made.path}", f"took {duration(made.seconds)}"]
    parts.append(f"held {format_bytes(made.peak_host)} of memory at most")
    if made.peak_card:
        parts.append(f"{format_bytes(made.peak_card)} of video memory")
    words = ", ".join(parts) + "."
    return words if there else f"{words} The folder is not there any more."
