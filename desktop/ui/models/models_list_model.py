"""The models on the disk as rows, by name; those that cannot be used come last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from desktop.domain.evaluation import Grade
from desktop.domain.shelf import ShelfEntry
from desktop.ui.models.model_words import facts_line

Index = QModelIndex | QPersistentModelIndex


class Role(IntEnum):
    """What a row knows."""

    ENTRY = Qt.ItemDataRole.UserRole + 1
    TITLE = Qt.ItemDataRole.UserRole + 2
    DETAIL = Qt.ItemDataRole.UserRole + 3
    BROKEN = Qt.ItemDataRole.UserRole + 4
    LOADED = Qt.ItemDataRole.UserRole + 5
    GRADE = Qt.ItemDataRole.UserRole + 6


class ModelsListModel(QAbstractListModel):
    """Shows those whose name, family or path holds the filter."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._known: dict[str, ShelfEntry] = {}
        self._rows: list[ShelfEntry] = []
        self._filter = ""
        self._loaded = ""
        self._grades: dict[str, Grade] = {}

    def change(self, changed: Iterable[ShelfEntry], gone: Iterable[str]) -> None:
        """Take in what is new or different, and drop the paths that are gone."""
        self._known.update((entry.path, entry) for entry in changed)
        for path in gone:
            self._known.pop(path, None)
        self._show()

    def set_filter(self, words: str) -> None:
        """Show only what holds these words."""
        self._filter = words.strip().lower()
        self._show()

    def set_loaded(self, path: str) -> None:
        """Which model is loaded, "" for none."""
        if path != self._loaded:
            self._loaded = path
            if self._rows:
                self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1))

    def set_grades(self, grades: Mapping[str, Grade], changed: Iterable[str]) -> None:
        """The verdicts on those that have one, of all paths for which that changed."""
        for path in changed:
            if path in grades:
                self._grades[path] = grades[path]
            else:
                self._grades.pop(path, None)
        if self._rows:
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1))

    @property
    def count(self) -> int:
        """How many there are without the filter."""
        return len(self._known)

    def row_of(self, path: str) -> int:
        """Its row, -1 when it is not shown."""
        return next((row for row, entry in enumerate(self._rows) if entry.path == path), -1)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        entry = self._rows[index.row()]
        if role == Role.ENTRY:
            return entry
        if role in (Qt.ItemDataRole.DisplayRole, Role.TITLE):
            return entry.title
        if role == Role.DETAIL:
            return facts_line(entry)
        if role == Role.BROKEN:
            return entry.failure is not None
        if role == Role.LOADED:
            return entry.path == self._loaded
        if role == Role.GRADE:
            return self._grades.get(entry.path)
        if role == Qt.ItemDataRole.ToolTipRole:
            return entry.path
        if role == Qt.ItemDataRole.AccessibleTextRole:
            loaded = ", loaded" if entry.path == self._loaded else ""
            grade = self._grades.get(entry.path)
            verdict = f", {grade.value} beside its original" if grade is not None else ""
            return f"{entry.title}{loaded}, {facts_line(entry)}{verdict}"
        return None

    def _show(self) -> None:
        rows = [entry for entry in self._known.values() if self._filter in _searched(entry)]
        rows.sort(key=lambda entry: (entry.failure is not None, entry.title.lower(), entry.path))
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()


def _searched(entry: ShelfEntry) -> str:
    return f"{entry.title} {entry.family} {entry.path}".lower()
