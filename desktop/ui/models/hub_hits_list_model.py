"""What a search on a hub found, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, Qt

from desktop.domain.hub import HubHit
from desktop.ui.models.hub_words import hit_line
from desktop.ui.models.models_list_model import Index, Role


class HubHitsListModel(QAbstractListModel):
    """In the hub's order. Role.ENTRY is the HubHit."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._hits: list[HubHit] = []

    def show_hits(self, hits: Sequence[HubHit]) -> None:
        """Show these instead."""
        self.beginResetModel()
        self._hits = list(hits)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._hits)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        hit = self._hits[index.row()]
        if role == Role.ENTRY:
            return hit
        if role == Role.TITLE:
            return hit.model_id.rpartition("/")[2]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return hit.model_id
        if role == Role.DETAIL:
            return hit_line(hit)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{hit.model_id}, {hit_line(hit)}"
        return None
