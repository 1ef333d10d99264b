"""Ctrl+K: type a few letters of a command, press Enter."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, Qt, Slot
from PySide6.QtGui import QAction, QKeyEvent, QPainter, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from desktop.ui.theme import SPACE

_WIDTH = 460
_HEIGHT = 360
_PLACE = Qt.ItemDataRole.UserRole
_KEYS = Qt.ItemDataRole.UserRole + 1
_TO_LIST = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)


class CommandPalette(QFrame):
    """A popup over the window with the actions that can be triggered now. Ends itself when it is closed."""

    def __init__(self, actions: tuple[QAction, ...], parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("CommandPalette")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._actions = [action for action in actions if action.isEnabled()]
        self._line = QLineEdit(self)
        self._line.setPlaceholderText("Type a command …")
        self._line.setAccessibleName("Command")
        self._line.installEventFilter(self)
        self._line.textChanged.connect(self._on_text_changed)
        self._line.returnPressed.connect(self._on_chosen)
        self._list = QListWidget(self)
        self._list.setAccessibleName("Commands")
        self._list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._list.setItemDelegate(_CommandDelegate(self._list))
        self._list.itemClicked.connect(self._on_chosen)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[1], SPACE[1], SPACE[1], SPACE[1])
        column.setSpacing(SPACE[0])
        column.addWidget(self._line)
        column.addWidget(self._list)
        self._on_text_changed("")

    def open_over(self, window: QWidget) -> None:
        """Show it at the top of the window's middle."""
        self.resize(min(_WIDTH, window.width() - 2 * SPACE[4]), _HEIGHT)
        corner = window.mapToGlobal(window.rect().topLeft())
        self.move(corner.x() + (window.width() - self.width()) // 2, corner.y() + 64)
        self.show()
        self._line.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() in _TO_LIST:
            self._list.keyPressEvent(event)
            return True
        return super().eventFilter(watched, event)

    @Slot(str)
    def _on_text_changed(self, text: str) -> None:
        words = text.lower().split()
        self._list.clear()
        found = []
        for place, action in enumerate(self._actions):
            name = action.text().replace("&", "")
            if all(word in name.lower() for word in words):
                inside = any(f" {word}" not in f" {name.lower()}" for word in words)
                found.append((inside, place, name))
        for _, place, name in sorted(found):  # what begins a word comes before what stands inside one
            keys = self._actions[place].shortcut().toString()
            item = QListWidgetItem(name, self._list)
            item.setData(_PLACE, place)
            item.setData(_KEYS, keys)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{name} {keys}")
        self._list.setCurrentRow(0)

    @Slot()
    def _on_chosen(self) -> None:
        item = self._list.currentItem()
        if item is not None:
            action = self._actions[item.data(_PLACE)]
            self.close()
            action.trigger()


class _CommandDelegate(QStyledItemDelegate):
    """The command on the left, its keys on the right."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)
        if keys := index.data(_KEYS):
            painter.save()
            painter.setPen(option.palette.color(QPalette.ColorRole.PlaceholderText))
            box = option.rect.adjusted(0, 0, -SPACE[2], 0)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), keys)
            painter.restore()
