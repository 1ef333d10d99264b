"""What a search found, as rows: the conversation, and the place in its text with the words marked."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPointF,
    QRectF,
    QSize,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QTextCharFormat, QTextLayout, QTextOption
from PySide6.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QListView,
    QStackedLayout,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from desktop.services.library import Library
from desktop.storage.search import SearchHit, TitleHit
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import RADIUS, SPACE, TYPE, current_palette

Index = QModelIndex | QPersistentModelIndex
_LINES = 2  # of the text around a hit
_TITLE = 200  # characters


class _Row(NamedTuple):
    """message_id 0: the title is what was found. highlights: (start, end) in the snippet, or else in the title."""

    conversation_id: int
    message_id: int
    title: str
    snippet: str
    highlights: tuple[tuple[int, int], ...]


class _Role(IntEnum):
    ROW = Qt.ItemDataRole.UserRole + 1
    TITLE = Qt.ItemDataRole.UserRole + 2


class SearchResults(QWidget):
    """Signals:
    chosen: conversation and message id.
    """

    chosen = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _HitListModel(self)
        self.list = QListView(self)
        self.list.setModel(self._model)
        self.list.setItemDelegate(_HitDelegate(self.list))
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName("What was found")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.clicked.connect(self._on_chosen)
        self.list.activated.connect(self._on_chosen)
        self._words = QLabel(self)
        self._words.setProperty("dim", True)
        self._words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.list)
        self._stack.addWidget(self._words)

    def show_searching(self) -> None:
        """Say that the first answer is on its way."""
        self._words.setText("Searching …")
        self._stack.setCurrentWidget(self._words)

    def show_hits(self, titles: list[TitleHit], hits: list[SearchHit], library: Library) -> None:
        """Show these, titles first; those whose conversation has gone meanwhile are left out."""
        known = [_Row(hit.conversation_id, 0, "", "", hit.highlights) for hit in titles]
        known += [_Row(hit.conversation_id, hit.message_id, "", hit.snippet, hit.highlights) for hit in hits]
        known = [
            row._replace(title=library.conversation(row.conversation_id).title)
            for row in known
            if library.has(row.conversation_id)
        ]
        self._model.show_hits(known)
        self.list.scrollToTop()
        self._words.setText("Nothing found")
        self._stack.setCurrentWidget(self.list if known else self._words)

    @Slot()
    def focus_first(self) -> None:
        """Let the user go through what was found with the arrow keys."""
        if self._stack.currentWidget() is self.list and self._model.rowCount():
            self.list.setCurrentIndex(self._model.index(0))
            self.list.setFocus()

    @Slot()
    def choose_first(self) -> None:
        """Go to what was found first."""
        if self._stack.currentWidget() is self.list and self._model.rowCount():
            self._on_chosen(self._model.index(0))

    @Slot(QModelIndex)
    def _on_chosen(self, index: QModelIndex) -> None:
        row: _Row = index.data(_Role.ROW)
        self.chosen.emit(row.conversation_id, row.message_id)


class _HitListModel(QAbstractListModel):
    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[_Row] = []

    def show_hits(self, rows: list[_Row]) -> None:
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row = self._rows[index.row()]
        if role == _Role.ROW:
            return row
        if role in (Qt.ItemDataRole.DisplayRole, _Role.TITLE):
            return clean(row.title)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{clean(row.title)}: {clean(row.snippet)}" if row.snippet else clean(row.title)
        return None


class _HitDelegate(QStyledItemDelegate):
    """All rows are equally high: a title and two lines."""

    def __init__(self, view: QListView) -> None:
        super().__init__(view)
        self._list = view

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        small = QFontMetrics(_small(option.font)).lineSpacing()
        return QSize(120, QFontMetrics(option.font).lineSpacing() + _LINES * small + 2 * SPACE[1])

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        colours = current_palette()
        box = QRectF(option.rect).adjusted(0.5, 1.5, -0.5, -1.5)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._list.currentIndex().row() == index.row():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent_soft))
            painter.drawRoundedRect(box, RADIUS, RADIUS)
        inside = box.adjusted(SPACE[1], SPACE[0], -SPACE[1], -SPACE[0])
        painter.setPen(QColor(colours.text))
        row: _Row = index.data(_Role.ROW)
        in_title = () if row.snippet else row.highlights
        height = self._text(painter, inside, row.title[:_TITLE], option.font, in_title, lines=1)
        painter.setPen(QColor(colours.dim))
        inside.setTop(inside.top() + height)
        snippet, marked = (row.snippet, row.highlights) if row.snippet else ("In the title of the conversation", ())
        self._text(painter, inside, snippet, _small(option.font), marked, lines=_LINES)
        painter.restore()

    def _text(
        self,
        painter: QPainter,
        box: QRectF,
        text: str,
        font: QFont,
        highlights: tuple[tuple[int, int], ...],
        *,
        lines: int,
    ) -> float:
        """Draw these first lines of a text with the words marked; returns their height."""
        layout = QTextLayout(clean(text).replace("\n", " "), font)
        wrap = QTextOption()
        wrap.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(wrap)
        accent = QTextCharFormat()
        accent.setForeground(QColor(current_palette().accent))
        accent.setFontWeight(QFont.Weight.Bold)
        marked = []
        for start, end in highlights:
            span = QTextLayout.FormatRange()
            span.start = _utf16(text[:start])
            span.length = _utf16(text[start:end])
            span.format = accent
            marked.append(span)
        layout.setFormats(marked)
        layout.beginLayout()
        height = 0.0
        for _ in range(lines):
            line = layout.createLine()
            if not line.isValid():
                break
            line.setLineWidth(box.width())
            line.setPosition(QPointF(0, height))
            height += line.height()
        layout.endLayout()
        layout.draw(painter, box.topLeft())
        return height


def _utf16(text: str) -> int:
    """The length of a text in Qt's units."""
    return len(text) + sum(character > "\uffff" for character in text)


def _small(font: QFont) -> QFont:
    small = QFont(font)
    small.setPointSizeF(TYPE.small)
    return small
