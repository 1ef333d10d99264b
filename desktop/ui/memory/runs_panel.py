"""The log of loads on the Memory page: how far off forecasts were, a chart, sorting, export, loading one again."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QSortFilterProxyModel, Qt, Signal, Slot
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QLabel, QPushButton, QTableView, QVBoxLayout, QWidget

from desktop.domain.errors import Failure
from desktop.domain.load_run import LoadRun, past_errors
from desktop.services.run_recorder import RunRecorder
from desktop.ui.controls import ChoiceBox, ElidedLabel
from desktop.ui.memory.runs_chart import FEWEST, RunsChart
from desktop.ui.memory.runs_figures import FIGURES
from desktop.ui.memory.runs_list_model import RUN, SORT, RunsListModel
from desktop.ui.theme import SPACE, TYPE, font_of

_HEIGHT = 220


class RunsPanel(QWidget):
    """Signals:
    load_requested: a LoadRun that is to be loaded again.
    """

    load_requested = Signal(object)

    def __init__(self, recorder: RunRecorder, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recorder = recorder
        heading = QLabel("Loads", self)
        heading.setFont(font_of(heading, TYPE.body, bold=True))
        self._errors = ElidedLabel(self)
        self._figure = ChoiceBox(self)
        self._figure.addItems([figure.name for figure in FIGURES])
        self._figure.setAccessibleName("What the chart of loads shows")
        self._chart = RunsChart(self)
        self._figure.currentIndexChanged.connect(self._chart.show_figure)
        self._chart.run_chosen.connect(self._on_run_chosen)
        self._again = QPushButton("Load this again", self)
        self._again.clicked.connect(self._on_again)
        self._export = QPushButton("Export as CSV…", self)
        self._export.clicked.connect(self._on_export)
        self._said = ElidedLabel(self)
        self._rows = RunsListModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._rows)
        self._sorted.setSortRole(SORT)
        self._table = QTableView(self)
        self._table.setModel(self._sorted)
        self._table.setAccessibleName("Loads")
        self._table.setSortingEnabled(True)
        self._table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setTabKeyNavigation(False)
        self._table.setShowGrid(False)
        self._table.setWordWrap(False)
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.horizontalHeader().setHighlightSections(False)
        self._table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._table.setMinimumHeight(_HEIGHT)
        self._table.activated.connect(self._on_again)
        self._table.selectionModel().currentChanged.connect(self._on_current_changed)
        head = QHBoxLayout()
        head.setSpacing(SPACE[2])
        head.addWidget(heading)
        head.addWidget(self._errors, 1)
        head.addWidget(self._figure)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self._again)
        buttons.addWidget(self._export)
        buttons.addWidget(self._said, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        column.addLayout(head)
        column.addWidget(self._chart)
        column.addWidget(self._table, 1)
        column.addLayout(buttons)
        column.addStretch()
        recorder.runs_changed.connect(self._on_runs_changed)
        recorder.exported.connect(self._on_exported)
        recorder.export_failed.connect(self._on_export_failed)
        self._on_runs_changed(recorder.runs)
        self._table.resizeColumnsToContents()

    @Slot(object)
    def _on_runs_changed(self, runs: tuple[LoadRun, ...]) -> None:
        first = self._rows.rowCount() == 0
        self._rows.show_runs(runs)
        self._chart.show_runs(runs)
        self._chart.setVisible(len(runs) >= FEWEST)
        self._figure.setVisible(len(runs) >= FEWEST)
        if first:
            self._table.resizeColumnsToContents()
        self._table.setVisible(bool(runs))
        self._again.setVisible(bool(runs))
        self._export.setVisible(bool(runs))
        self._errors.show_words(_error_words(runs))
        self._on_current_changed()

    @Slot(QModelIndex)
    def _on_current_changed(self, _current: QModelIndex | None = None) -> None:
        index = self._table.currentIndex()
        self._again.setEnabled(index.isValid())
        self._chart.mark(index.data(RUN).id if index.isValid() else None)

    @Slot(object)
    def _on_run_chosen(self, run_id: int) -> None:
        for row in range(self._sorted.rowCount()):
            index = self._sorted.index(row, 0)
            if index.data(RUN).id == run_id:
                self._table.setCurrentIndex(index)
                self._table.scrollTo(index)
                return

    @Slot()
    def _on_again(self) -> None:
        index = self._table.currentIndex()
        if index.isValid():
            self.load_requested.emit(index.data(RUN))

    @Slot()
    def _on_export(self) -> None:
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, "Export the loads", "", "CSV (*.csv)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("csv")
        dialog.selectFile("loads.csv")
        dialog.fileSelected.connect(self._recorder.export)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def _on_exported(self, path: str) -> None:
        self._said.show_words(f"Exported to {path}")

    @Slot(object)
    def _on_export_failed(self, problem: Failure) -> None:
        self._said.show_words(f"{problem.message} {problem.next_step}")


def _error_words(runs: tuple[LoadRun, ...]) -> str:
    """Honestly how far off the forecasts were."""
    if not runs:
        return "Nothing was loaded yet. Each load is kept here with its forecast and its measurement."
    count, mean, largest = past_errors(runs)
    if not count:
        return "No forecast could be compared with a measurement yet"
    loads = "1 load" if count == 1 else f"{count:,} loads"
    return f"Forecasts of {loads} were off by {mean:.1%} in the mean, by {largest:.1%} at most"
