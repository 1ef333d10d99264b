"""A table that is only read: plain words in rows, as high as it must be."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import SPACE

_TOOLTIP = 2000  # characters


class PlainTable(QTableWidget):
    """fill() shows rows. as_needed: columns are as wide as their words, and what has no room is scrolled to."""

    def __init__(
        self, name: str, columns: Sequence[str], parent: QWidget | None = None, *, as_needed: bool = False
    ) -> None:
        super().__init__(0, len(columns), parent)
        mode = QHeaderView.ResizeMode
        self.setAccessibleName(name)
        self.setHorizontalHeaderLabels(list(columns))
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(mode.Interactive if as_needed else mode.Stretch)
        self._as_needed = as_needed
        self._last = 0  # what the last column needs, in pixels
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these rows instead; a cell that is cut has all its words as its tooltip."""
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, words in enumerate(row):
                item = QTableWidgetItem(" ".join(clean(words).split()))
                item.setToolTip(clean(words)[:_TOOLTIP])
                self.setItem(number, column, item)
        if self._as_needed:
            self.resizeColumnsToContents()
            for column in range(self.columnCount()):
                self.setColumnWidth(column, self.columnWidth(column) + SPACE[2])
            self._last = self.columnWidth(self.columnCount() - 1)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """The last column takes what room there is; no higher than the rows and, where it is needed, the scroll bar."""
        height = self.horizontalHeader().sizeHint().height() + 2 * SPACE[0]
        if self._as_needed:
            last = self.columnCount() - 1
            others = sum(self.columnWidth(column) for column in range(last))
            self.setColumnWidth(last, max(self._last, self.viewport().width() - others))
            if others + self._last > self.viewport().width():
                height += self.horizontalScrollBar().sizeHint().height()
        height += self.rowCount() * self.verticalHeader().defaultSectionSize()
        if height != self.height():
            self.setFixedHeight(height)
