"""The jobs as rows, the newest first."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from desktop.jobs.job_record import JobRecord, JobStatus
from desktop.ui.quantize.job_words import status_words

Index = QModelIndex | QPersistentModelIndex


class JobRole(IntEnum):
    """What a row knows; TITLE, DETAIL and BROKEN as in the list of models, which is painted the same way."""

    RECORD = Qt.ItemDataRole.UserRole + 1
    TITLE = Qt.ItemDataRole.UserRole + 2
    DETAIL = Qt.ItemDataRole.UserRole + 3
    BROKEN = Qt.ItemDataRole.UserRole + 4
    LOADED = Qt.ItemDataRole.UserRole + 5


class JobsListModel(QAbstractListModel):
    """show_jobs() for all, change() for one."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[JobRecord] = []

    def show_jobs(self, records: tuple[JobRecord, ...]) -> None:
        """Show these instead."""
        self.beginResetModel()
        self._rows = list(records)
        self.endResetModel()

    def change(self, record: JobRecord) -> None:
        """One of them is different."""
        row = self.row_of(record.id)
        if row >= 0:
            self._rows[row] = record
            self.dataChanged.emit(self.index(row), self.index(row))

    def row_of(self, number: int) -> int:
        """The row of a job by its id, -1 where it is not shown."""
        return next((row for row, record in enumerate(self._rows) if record.id == number), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        record = self._rows[index.row()]
        if role == JobRole.RECORD:
            return record
        if role in (Qt.ItemDataRole.DisplayRole, JobRole.TITLE):
            return record.title
        if role == JobRole.DETAIL:
            return status_words(record)
        if role == JobRole.BROKEN:
            return record.status is JobStatus.FAILED
        if role == JobRole.LOADED:
            return record.status in (JobStatus.RUNNING, JobStatus.ALONE)
        if role == Qt.ItemDataRole.ToolTipRole:
            return record.title
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{record.title}, {status_words(record)}"
        return None
