"""What fits on these cards: chats for each form of the weights and each precision of the KV cache."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from desktop.domain.capacity import Capacity
from desktop.ui.format import format_bytes
from desktop.ui.theme import current_palette

_HEADS = ("Weights", "KV 16 bit", "KV int8", "KV int4")
_COLUMN = {0: 1, 8: 2, 4: 3}


class CapacityView(QTableWidget):
    """A row a form of the weights."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADS), parent)
        self.setHorizontalHeaderLabels(_HEADS)
        self.verticalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setAccessibleName("What fits: chats at once")
        self._shown: object = None

    def show_cells(self, cells: Sequence[Capacity], context: int, current: int) -> None:
        """context: tokens of a chat. current: the KV precision that is set, of the form that is on the disk."""
        texts = [(cell.form.name, cell.form.path, cell.quant_policy, _words(cell, context)) for cell in cells]
        shown = (texts, current, current_palette())
        if shown == self._shown:
            return
        self._shown = shown
        names = list(dict.fromkeys(cell.form.name for cell in cells))
        self.setRowCount(len(names))
        for cell in cells:
            row = names.index(cell.form.name)
            made = "" if cell.form.path else ", to be made first"
            size = format_bytes(cell.form.shape.weights.total)
            self.setItem(row, 0, QTableWidgetItem(f"{cell.form.name}, {size}{made}"))
            item = QTableWidgetItem(_words(cell, context))
            if cell.form.path and cell.quant_policy == current:
                item.setText(f"{item.text()} (set)")
                font = item.font()
                font.setBold(True)
                item.setFont(font)
                item.setBackground(QColor(current_palette().accent_soft))
            self.setItem(row, _COLUMN[cell.quant_policy], item)
        height = self.horizontalHeader().sizeHint().height() + len(names) * self.verticalHeader().defaultSectionSize()
        self.setFixedHeight(height + 2 * self.frameWidth())


def _words(cell: Capacity, context: int) -> str:
    if cell.forecast is None:
        return "does not fit"
    count = cell.forecast.chats(context)
    return "1 chat" if count == 1 else f"{count:,} chats" if count else "not one chat"
