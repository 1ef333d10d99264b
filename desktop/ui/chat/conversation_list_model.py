"""The conversations as rows: the pinned ones, the folders with theirs, the others; the last used first in each."""

from __future__ import annotations

import datetime
from enum import IntEnum, StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

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
from desktop.domain.counting import counted
from desktop.services.chats import Chats
from desktop.ui.chat.reply_meter import ReplyMeter
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.words import speed

Index = QModelIndex | QPersistentModelIndex


class Role(IntEnum):
    """What a row knows."""

    KIND = Qt.ItemDataRole.UserRole + 1
    ROW_ID = Qt.ItemDataRole.UserRole + 2
    TITLE = Qt.ItemDataRole.UserRole + 3
    DETAIL = Qt.ItemDataRole.UserRole + 4
    GENERATING = Qt.ItemDataRole.UserRole + 5
    OPEN = Qt.ItemDataRole.UserRole + 6
    INSIDE = Qt.ItemDataRole.UserRole + 7
    PINNED = Qt.ItemDataRole.UserRole + 8


class Kind(StrEnum):
    """What a row is."""

    HEADING = "heading"
    FOLDER = "folder"
    CONVERSATION = "conversation"


class Row(NamedTuple):
    """id: of the conversation or the folder; 0 of the heading.

    inside: a conversation that stands in an open folder.
    """

    kind: Kind
    id: int
    inside: bool = False


_HEADING = "Chats"
_FIRST_ROWS = 200


class ConversationListModel(QAbstractListModel):
    """Kept in step with the library; a folder's rows are there while it is open."""

    def __init__(self, chats: Chats, meter: ReplyMeter, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._library = chats.library
        self._meter = meter
        self._closed: set[int] = set()  # folder ids
        self._generating: set[int] = set()
        self._known = {conversation.id: conversation for conversation in self._library.conversations()}
        self._counts: dict[int, int] = {}
        self._limit: int | None = _FIRST_ROWS
        self._rows = self._arranged()
        self._library.conversation_added.connect(self._on_added)
        self._library.conversation_changed.connect(self._on_changed)
        self._library.conversation_removed.connect(self._on_removed)
        self._library.folders_changed.connect(self._on_folders_changed)
        meter.ticked.connect(self._on_ticked)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid() or self._rows[index.row()].kind is Kind.HEADING:
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or not 0 <= index.row() < len(self._rows):
            return None
        row = self._rows[index.row()]
        if role == Role.KIND:
            return row.kind.value
        if role == Role.ROW_ID:
            return row.id
        if role == Role.INSIDE:
            return row.inside
        if role == Role.PINNED:
            return row.kind is Kind.CONVERSATION and row.id in self._known and self._known[row.id].pinned
        if role == Role.OPEN:
            return row.kind is Kind.FOLDER and row.id not in self._closed
        if role in (Qt.ItemDataRole.DisplayRole, Role.TITLE):
            return self._title(row)
        if role == Role.GENERATING:
            return row.kind is Kind.CONVERSATION and row.id in self._generating
        if role == Role.DETAIL:
            return self._detail(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._title(row)[:500]
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(filter(None, (self._title(row), self._detail(row))))
        return None

    def roleNames(self) -> dict[int, QByteArray]:
        names = {role.value: QByteArray(role.name.lower().encode()) for role in Role}
        return {**super().roleNames(), **names}

    def row_of(self, conversation_id: int | None) -> int:
        """The row of a conversation; -1 when there is none, or its folder is closed."""
        wanted = (Kind.CONVERSATION, conversation_id)
        return next((place for place, row in enumerate(self._rows) if row[:2] == wanted), -1)

    def show_all(self) -> None:
        """From now on every row is there. A start is done with the first: a view asks for the count of each row."""
        if self._limit is not None:
            self._limit = None
            self._arrange()

    def toggle(self, folder_id: int) -> None:
        """Open or close a folder."""
        self._closed.symmetric_difference_update({folder_id})
        self._arrange()

    def reveal(self, conversation_id: int) -> None:
        """Open the folder that holds a conversation."""
        conversation = self._known.get(conversation_id)
        if conversation is not None and conversation.folder_id in self._closed and not conversation.pinned:
            self.toggle(conversation.folder_id)

    def _title(self, row: Row) -> str:
        if row.kind is Kind.HEADING:
            return _HEADING
        if row.kind is Kind.FOLDER:
            return clean(self._library.folder_name(row.id))
        known = self._known.get(row.id)  # None in the moment in which its row goes
        return clean(known.title) if known is not None else ""

    def _detail(self, row: Row) -> str:
        if row.kind is Kind.HEADING:
            return ""
        if row.kind is Kind.FOLDER:
            count = self._counts.get(row.id, 0)
            return counted(count, "conversation")
        if self._chats.is_waiting(row.id):
            return "waiting for the model"
        if row.id in self._generating:
            rate = self._meter.conversation_speed(row.id)
            return f"generating · {speed(rate)}" if rate else "generating"
        return moment_in_words(self._known[row.id].updated_at) if row.id in self._known else ""

    def _arranged(self) -> list[Row]:
        ordered = sorted(self._known.values(), key=attrgetter("updated_at", "id"), reverse=True)
        pinned = [Row(Kind.CONVERSATION, c.id) for c in ordered if c.pinned]
        folders: dict[int, list[Row]] = {folder.id: [] for folder in self._library.folders()}
        others: list[Row] = []
        for conversation in ordered:
            if conversation.pinned:
                continue
            if conversation.folder_id in folders:
                folders[conversation.folder_id].append(Row(Kind.CONVERSATION, conversation.id, inside=True))
            else:
                others.append(Row(Kind.CONVERSATION, conversation.id))
        self._counts = {folder: len(rows) for folder, rows in folders.items()}
        rows = list(pinned)
        for folder, inside in folders.items():
            rows.append(Row(Kind.FOLDER, folder))
            if folder not in self._closed:
                rows += inside
        if folders and others:
            rows.append(Row(Kind.HEADING, 0))
        return (rows + others)[: self._limit]

    @Slot()
    def _arrange(self) -> None:
        """Bring the rows into their order with as little noise as possible, so that the view stays where it is."""
        fresh = self._arranged()
        if fresh == self._rows:
            if fresh:
                self.dataChanged.emit(self.index(0), self.index(len(fresh) - 1))
            return
        added, gone = set(fresh) - set(self._rows), set(self._rows) - set(fresh)
        if not added and not gone:
            self._move(fresh)
        elif len(added) == 1 and not gone and [row for row in fresh if row not in added] == self._rows:
            place = fresh.index(added.pop())
            self.beginInsertRows(QModelIndex(), place, place)
            self._rows = fresh
            self.endInsertRows()
        elif len(gone) == 1 and not added and [row for row in self._rows if row not in gone] == fresh:
            place = self._rows.index(gone.pop())
            self.beginRemoveRows(QModelIndex(), place, place)
            self._rows = fresh
            self.endRemoveRows()
        else:
            self.beginResetModel()
            self._rows = fresh
            self.endResetModel()

    def _move(self, fresh: list[Row]) -> None:
        self.layoutAboutToBeChanged.emit()
        places = {row: place for place, row in enumerate(fresh)}
        before = self.persistentIndexList()
        after = [self.index(places[self._rows[index.row()]]) for index in before]
        self._rows = fresh
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    @Slot()
    def _on_folders_changed(self) -> None:
        self._known = {conversation.id: conversation for conversation in self._library.conversations()}
        self._arrange()

    @Slot(object)
    def _on_added(self, conversation: Conversation) -> None:
        self._known[conversation.id] = conversation
        self._arrange()

    @Slot(object)
    def _on_changed(self, conversation: Conversation) -> None:
        before = self._known.get(conversation.id)
        self._known[conversation.id] = conversation
        if self._chats.is_generating(conversation.id):
            self._generating.add(conversation.id)
        else:
            self._generating.discard(conversation.id)
        if before is None or _place(before) != _place(conversation):
            self._arrange()
        row = self.row_of(conversation.id)
        if row >= 0:
            self.dataChanged.emit(self.index(row), self.index(row))

    @Slot(int)
    def _on_removed(self, conversation_id: int) -> None:
        self._generating.discard(conversation_id)
        if self._known.pop(conversation_id, None) is not None:
            self._arrange()

    @Slot()
    def _on_ticked(self) -> None:
        running = [self.row_of(conversation_id) for conversation_id in self._generating]
        if rows := [row for row in running if row >= 0]:
            self.dataChanged.emit(self.index(min(rows)), self.index(max(rows)), [Role.DETAIL])


def _place(conversation: Conversation) -> tuple[float, bool, int | None]:
    return conversation.updated_at, conversation.pinned, conversation.folder_id


def moment_in_words(moment: float) -> str:
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
