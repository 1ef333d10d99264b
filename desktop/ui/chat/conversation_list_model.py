"""The conversations as rows, the last used first."""

from __future__ import annotations

import datetime
from enum import IntEnum
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QByteArray,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    Slot,
)

from desktop.domain.conversation import Conversation
from desktop.services.chats import Chats
from desktop.ui.chat.reply_meter import ReplyMeter
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.words import speed

Index = QModelIndex | QPersistentModelIndex


class Role(IntEnum):
    """What a row knows."""

    CONVERSATION_ID = Qt.ItemDataRole.UserRole + 1
    TITLE = Qt.ItemDataRole.UserRole + 2
    DETAIL = Qt.ItemDataRole.UserRole + 3
    GENERATING = Qt.ItemDataRole.UserRole + 4


class ConversationListModel(QAbstractListModel):
    """One row a conversation, kept in step with Chats."""

    def __init__(self, chats: Chats, meter: ReplyMeter, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._meter = meter
        self._rows = chats.conversations()
        self._generating: set[int] = set()
        chats.conversation_added.connect(self._on_added)
        chats.conversation_changed.connect(self._on_changed)
        chats.conversation_removed.connect(self._on_removed)
        meter.ticked.connect(self._on_ticked)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or not 0 <= index.row() < len(self._rows):
            return None
        row = self._rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Role.TITLE):
            return clean(row.title)
        if role == Role.CONVERSATION_ID:
            return row.id
        if role == Role.GENERATING:
            return row.id in self._generating
        if role == Role.DETAIL:
            return self._detail(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return clean(row.title)[:500]
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{clean(row.title)}, {self._detail(row)}"
        return None

    def roleNames(self) -> dict[int, QByteArray]:
        names = {role.value: QByteArray(role.name.lower().encode()) for role in Role}
        return {**super().roleNames(), **names}

    def row_of(self, conversation_id: int | None) -> int:
        """The row of a conversation, -1 when there is none."""
        return next((place for place, row in enumerate(self._rows) if row.id == conversation_id), -1)

    def _detail(self, row: Conversation) -> str:
        if self._chats.is_waiting(row.id):
            return "waiting for the model"
        if row.id in self._generating:
            rate = self._meter.conversation_speed(row.id)
            return f"generating · {speed(rate)}" if rate else "generating"
        return _when(row.updated_at)

    @Slot(object)
    def _on_added(self, conversation: Conversation) -> None:
        self.beginInsertRows(QModelIndex(), 0, 0)
        self._rows.insert(0, conversation)
        self.endInsertRows()

    @Slot(object)
    def _on_changed(self, conversation: Conversation) -> None:
        row = self.row_of(conversation.id)
        if row < 0:
            return
        newer = conversation.updated_at != self._rows[row].updated_at
        if newer and row > 0:
            self.beginMoveRows(QModelIndex(), row, row, QModelIndex(), 0)
            self._rows.insert(0, self._rows.pop(row))
            self.endMoveRows()
            row = 0
        self._rows[row] = conversation
        if self._chats.is_generating(conversation.id):
            self._generating.add(conversation.id)
        else:
            self._generating.discard(conversation.id)
        self.dataChanged.emit(self.index(row), self.index(row))

    @Slot(int)
    def _on_removed(self, conversation_id: int) -> None:
        self._generating.discard(conversation_id)
        row = self.row_of(conversation_id)
        if row >= 0:
            self.beginRemoveRows(QModelIndex(), row, row)
            del self._rows[row]
            self.endRemoveRows()

    @Slot()
    def _on_ticked(self) -> None:
        rows = [place for place, row in enumerate(self._rows) if row.id in self._generating]
        if rows:
            self.dataChanged.emit(self.index(rows[0]), self.index(rows[-1]), [Role.DETAIL])


def _when(moment: float) -> str:
    """'14:05' today, 'yesterday', '3 May', '3 May 2024'."""
    try:
        then, today = datetime.datetime.fromtimestamp(moment), datetime.date.today()
    except (OverflowError, OSError, ValueError):
        return ""
    days = (today - then.date()).days
    if days == 0:
        return f"{then:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{then.day} {then:%b}" if then.year == today.year else f"{then.day} {then:%b %Y}"
