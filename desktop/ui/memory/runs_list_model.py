"""The log of loads as a table that can be sorted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QColor

from desktop.domain.load_run import LoadRun
from desktop.ui.format import format_bytes
from desktop.ui.theme import current_palette
from desktop.ui.words import BACKEND_NAMES

RUN = Qt.ItemDataRole.UserRole
SORT = Qt.ItemDataRole.UserRole + 1
_Index = QModelIndex | QPersistentModelIndex
_NOT_KNOWN = "–"


def setting_words(run: LoadRun) -> str:
    """The setting in short: "TurboMind · KV 16 · 0.8"."""
    return f"{BACKEND_NAMES[run.backend]} · KV {run.config.quant_policy or 16} · {run.config.cache_max_entry_count:g}"


def _size(size: int | None) -> str:
    return _NOT_KNOWN if size is None else format_bytes(size)


def _figure(value: float | None, words: str) -> str:
    return _NOT_KNOWN if value is None else words.format(value)


def end_words(run: LoadRun) -> str:
    """How it ended: "ready" while it did not."""
    if not run.failure:
        return "ready"
    when = "while loading" if run.load_seconds is None else "later"
    return f"{run.failure.replace('_', ' ')} ({when})"


# name, text, what it is sorted by
_COLUMNS: tuple[tuple[str, Callable[[LoadRun], str], Callable[[LoadRun], object]], ...] = (
    ("When", lambda run: f"{datetime.fromtimestamp(run.started_at):%Y-%m-%d %H:%M}", lambda run: run.id / 1e6),
    ("Model", lambda run: run.name, lambda run: run.name),
    ("Setting", setting_words, setting_words),
    ("Forecast", lambda run: _size(run.expected), lambda run: run.expected),
    ("Measured", lambda run: _size(run.measured), lambda run: run.measured),
    ("Error", lambda run: _figure(run.error and run.error * 100, "{:+.1f} %"), lambda run: run.error),
    ("Tokens/s", lambda run: _figure(run.tokens_per_second, "{:,.1f}"), lambda run: run.tokens_per_second),
    ("First token", lambda run: _figure(run.time_to_first_token, "{:.2f} s"), lambda run: run.time_to_first_token),
    ("End", end_words, end_words),
)


class RunsListModel(QAbstractTableModel):
    """A row a load; RUN gives it, SORT what its column is sorted by, where unknown figures are the smallest."""

    def __init__(self, parent: object = None) -> None:
        super().__init__(parent)  # type: ignore[arg-type]
        self._runs: tuple[LoadRun, ...] = ()

    def show_runs(self, runs: Sequence[LoadRun]) -> None:
        """Show these instead."""
        runs = tuple(runs)
        if [run.id for run in runs] == [run.id for run in self._runs]:
            self._runs = runs
            if runs:
                self.dataChanged.emit(self.index(0, 0), self.index(len(runs) - 1, len(_COLUMNS) - 1))
            return
        self.beginResetModel()
        self._runs = runs
        self.endResetModel()

    def rowCount(self, parent: _Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._runs)

    def columnCount(self, parent: _Index | None = None) -> int:
        return len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation is Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section][0]
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        run = self._runs[index.row()]
        _, text, key = _COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return text(run)
        if role == SORT:
            value = key(run)
            return -1e30 if value is None else float(value) if isinstance(value, int | float) else value
        if role == RUN:
            return run
        if role == Qt.ItemDataRole.ForegroundRole and run.failure:
            return QColor(current_palette().danger)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{run.path}\n{run.device}"
        return None
