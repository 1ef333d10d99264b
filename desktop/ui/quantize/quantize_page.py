"""The Quantize page: the jobs at the left, a new plan, one job or a report at the right."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QModelIndex, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListView, QPushButton, QStackedLayout, QVBoxLayout, QWidget

from desktop.domain.engine_config import EngineConfig
from desktop.domain.evaluation import Evaluation
from desktop.domain.hub import mirror_address
from desktop.jobs.job_record import ENDED, JobRecord
from desktop.services.checkpoint_shelf import CheckpointShelf
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.quantization_desk import QuantizationDesk
from desktop.storage.settings import Settings
from desktop.ui.controls import ElidedLabel
from desktop.ui.icons import icon
from desktop.ui.models.models_delegate import ModelsDelegate
from desktop.ui.quantize.compare_form import CompareForm
from desktop.ui.quantize.job_view import JobView
from desktop.ui.quantize.jobs_list_model import JobRole, JobsListModel
from desktop.ui.quantize.plan_form import PlanForm
from desktop.ui.quantize.report_view import ReportView
from desktop.ui.theme import SPACE

_LIST_WIDTH = 280
_HELD = (EngineState.LOADING, EngineState.READY, EngineState.STOPPING)


class QuantizePage(QWidget):
    """Signals:
    chat_requested: the path of a model that was made here.
    """

    chat_requested = Signal(str)

    def __init__(
        self,
        desk: QuantizationDesk,
        shelf: CheckpointShelf,
        host: EngineHost,
        folder: Path,
        config: EngineConfig,
        parent: QWidget | None = None,
    ) -> None:
        """folder: where results go. config: the settings of a load, with which results are compared."""
        super().__init__(parent)
        self._desk = desk
        self._runner = desk.runner
        self._shelf = shelf
        self._config = config
        self._form = PlanForm(desk, folder, config, self)
        self._comparison = CompareForm(desk, config, self)
        self._view = JobView(self)
        self._report = ReportView(self)
        self._jobs = JobsListModel(self)
        self._list = QListView(self)
        self._build()
        self._runner.jobs_changed.connect(self._on_jobs_changed)
        self._runner.job_changed.connect(self._on_job_changed)
        self._runner.log_received.connect(self._view.add_log_line)
        shelf.entries_changed.connect(self._on_entries_changed)
        host.status_changed.connect(self._on_status_changed)
        self._form.started.connect(self._show_job)
        self._comparison.started.connect(self._show_job)
        self._view.stop_requested.connect(self._runner.stop)
        self._view.remove_requested.connect(self._runner.remove)
        self._view.chat_requested.connect(self.chat_requested)
        self._view.compare_requested.connect(self._on_compare_requested)
        self._view.keep_requested.connect(self._on_keep_requested)
        self._on_jobs_changed()
        self._on_entries_changed()
        self._on_status_changed(host.status)
        self._on_new()

    def plan(self, path: str) -> None:
        """Plan a quantization of this model."""
        self._on_new()
        self._form.choose(path)

    def compare(self, original: str, other: str) -> None:
        """Plan a comparison of these two."""
        self._on_new_comparison()
        self._comparison.choose(original, other)

    def show_report(self, found: Evaluation) -> None:
        """Show this comparison: its job where the list still has it, else what was kept of it."""
        records = self._runner.jobs
        job = next((one.id for one in records if one.evaluation is not None and one.evaluation.id == found.id), None)
        if job is not None:
            self._show_job(job)
            return
        self._list.setCurrentIndex(QModelIndex())
        self._report.show_evaluation(found)
        self._stack.setCurrentWidget(self._report)

    @Slot(object)
    def set_config(self, config: EngineConfig) -> None:
        """The settings of a load are others."""
        self._config = config
        self._form.set_config(config)
        self._comparison.set_config(config)

    @Slot(object)
    def set_hub(self, settings: Settings) -> None:
        """Fetch LMDeploy's calibration sets from where models come from, if that is a mirror of Hugging Face."""
        mirror = mirror_address(settings.hub_mirror) if settings.hub == "mirror" else None
        self._form.set_mirror(mirror.endpoint if mirror else "")

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._shelf.scan()

    def _build(self) -> None:
        new = QPushButton("New quantization", self)
        new.setIcon(icon("plus"))
        new.setIconSize(QSize(16, 16))
        new.clicked.connect(self._on_new)
        compare = QPushButton("New comparison", self)
        compare.setIcon(icon("compare"))
        compare.setIconSize(QSize(16, 16))
        compare.clicked.connect(self._on_new_comparison)
        self._list.setModel(self._jobs)
        self._list.setItemDelegate(ModelsDelegate(self._list))
        self._list.setUniformItemSizes(True)
        self._list.setAccessibleName("Jobs")
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.selectionModel().currentChanged.connect(self._on_current_changed)
        self._list.clicked.connect(self._on_current_changed)
        self._state = ElidedLabel(self)
        remove = QShortcut(QKeySequence(Qt.Key.Key_Delete), self._list)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self._on_remove_current)
        side = QFrame(self)
        side.setObjectName("ConversationPanel")
        side.setFixedWidth(_LIST_WIDTH)
        column = QVBoxLayout(side)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[1])
        column.addWidget(new)
        column.addWidget(compare)
        column.addWidget(self._list, 1)
        column.addWidget(self._state)
        right = QWidget(self)
        self._stack = QStackedLayout(right)
        self._stack.addWidget(self._form)
        self._stack.addWidget(self._comparison)
        self._stack.addWidget(self._view)
        self._stack.addWidget(self._report)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(side)
        row.addWidget(right, 1)

    @Slot()
    def _on_new(self) -> None:
        self._list.setCurrentIndex(QModelIndex())
        self._stack.setCurrentWidget(self._form)

    @Slot()
    def _on_new_comparison(self) -> None:
        self._list.setCurrentIndex(QModelIndex())
        self._stack.setCurrentWidget(self._comparison)

    @Slot(object)
    def _show_job(self, number: int) -> None:
        row = self._jobs.row_of(number)
        if row >= 0:
            self._list.setCurrentIndex(self._jobs.index(row))

    @Slot()
    def _on_jobs_changed(self) -> None:
        current = self._list.currentIndex().data(JobRole.RECORD)
        jobs = self._runner.jobs
        self._jobs.show_jobs(jobs)
        self._state.show_words("No job yet" if not jobs else "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs")
        if isinstance(current, JobRecord):
            if self._jobs.row_of(current.id) >= 0:
                self._show_job(current.id)
            else:
                self._on_new()

    @Slot(object)
    def _on_job_changed(self, record: JobRecord) -> None:
        self._jobs.change(record)
        if self._list.currentIndex().row() == self._jobs.row_of(record.id):
            self._view.show_job(record)
        if record.status in ENDED and record.quantized is not None:
            self._shelf.scan()

    @Slot(QModelIndex)
    def _on_current_changed(self, index: QModelIndex) -> None:
        record = index.data(JobRole.RECORD)
        if isinstance(record, JobRecord):
            self._view.set_keep_offered(not self._desk.has_card)
            self._view.show_job(record)
            self._stack.setCurrentWidget(self._view)

    @Slot()
    def _on_remove_current(self) -> None:
        record = self._list.currentIndex().data(JobRole.RECORD)
        if isinstance(record, JobRecord):
            self._runner.remove(record.id)

    @Slot(object)
    def _on_compare_requested(self, record: JobRecord) -> None:
        self._show_job(self._desk.compare(record, self._config))

    @Slot(str, object, float)
    def _on_keep_requested(self, source: str, names: tuple[str, ...], share: float) -> None:
        self._on_new()
        self._form.choose(source, names, share)

    @Slot()
    def _on_entries_changed(self) -> None:
        entries = list(self._shelf.entries.values())
        self._form.show_models(entries)
        self._comparison.show_models(entries)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        self._form.set_chat_loaded(status.state in _HELD)
        self._comparison.set_chat_loaded(status.state in _HELD)
