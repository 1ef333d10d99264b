"""What the mouse and the keyboard do to a body: select, follow links, copy."""

from __future__ import annotations

import html

from PySide6.QtCore import QObject, QPoint, QPointF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QGuiApplication, QHelpEvent, QKeyEvent, QKeySequence, QMouseEvent
from PySide6.QtWidgets import QMenu, QToolTip, QWidget

from desktop.ui.markdown.box import Box
from desktop.ui.markdown.layout import Layout
from desktop.ui.markdown.selection import At, Selection

_SCROLL_MILLISECONDS = 40  # while the mouse is held outside of what is in sight


class Pointer(QObject):
    """Belongs to one body, its parent.

    Signals:
        link_clicked: its address.
        selected: something else is selected now.
        drag_left: by how many pixels the mouse, which selects, is above (negative) or below what is in sight of the
            body; again and again, until scrolling has brought the end of the body into sight.
    """

    link_clicked = Signal(str)
    selected = Signal()
    drag_left = Signal(int)

    def __init__(self, layout: Layout, body: QWidget) -> None:
        super().__init__(body)
        self._body = body
        self._pressed_link = ""
        self._dragging = False
        self._mouse = QPointF()  # on the screen, when it moved last
        self._outside = QTimer(self)
        self._outside.setInterval(_SCROLL_MILLISECONDS)
        self._outside.timeout.connect(self._on_outside)
        self._text = ""
        self.use(layout)

    def use(self, layout: Layout) -> None:
        """Work on this layout from now on; nothing of it is selected."""
        self._layout = layout
        self.selection = Selection(layout)

    def press(self, event: QMouseEvent) -> None:
        """Begin to select; with Shift, go on."""
        at = self._at(event.position())
        self._pressed_link = self.link_at(event.position())
        self._dragging = True
        extend = event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.selection.anchor is not None
        self.select(self.selection.anchor if extend else at, at)

    def move(self, event: QMouseEvent) -> None:
        """Select up to here, or show what a click would do."""
        if self._dragging:
            self._mouse = event.globalPosition()
            self._drag_to(event.position())
            if self._distance_outside():
                self._outside.start()
            return
        shape = Qt.CursorShape.IBeamCursor
        if self.link_at(event.position()):
            shape = Qt.CursorShape.PointingHandCursor
        elif self.box_at(event.position()) is None:
            shape = Qt.CursorShape.ArrowCursor
        self._body.setCursor(shape)

    def release(self, event: QMouseEvent) -> None:
        """The end of selecting; a link when nothing was selected."""
        self._dragging = False
        self._outside.stop()
        link, self._pressed_link = self._pressed_link, ""
        if link and self.selection.is_empty and self.link_at(event.position()) == link:
            self.link_clicked.emit(link)

    def double_click(self, event: QMouseEvent) -> None:
        """Select a word."""
        at = self._at(event.position())
        boxes = self._layout.entries[at.entry].boxes if at is not None else None
        if at is not None and boxes:
            start, end = boxes[at.box].word_at(at.position)
            self.select(at._replace(position=start), at._replace(position=end))

    def key(self, event: QKeyEvent, text: str) -> bool:
        """Copy and select all. text: the layout's source. False for any other key."""
        self._text = text
        if event.matches(QKeySequence.StandardKey.Copy) and not self.selection.is_empty:
            self._on_copy_markdown()
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self.select_all()
        else:
            return False
        return True

    def menu(self, at: QPoint, text: str) -> QMenu:
        """The menu for a right click here. text: the layout's source."""
        self._text = text
        menu = QMenu(self._body)
        copy = menu.addAction("Copy", self._on_copy_shown)
        markdown = menu.addAction("Copy as Markdown", self._on_copy_markdown)
        markdown.setShortcut(QKeySequence.StandardKey.Copy)
        markdown.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        for action in (copy, markdown):
            action.setEnabled(not self.selection.is_empty)
        menu.addAction("Select all", self.select_all)
        if link := self.link_at(QPointF(at)):
            menu.addSeparator()
            menu.addAction("Copy link", self._on_copy_link).setData(link)
        return menu

    def show_address(self, event: QHelpEvent) -> None:
        """A tooltip with the address of the link here, as it really is."""
        link = self.link_at(QPointF(event.pos()))
        if link:
            # Escaped: a tooltip would take marks in the address for rich text.
            QToolTip.showText(event.globalPos(), f"<span>{html.escape(link[:500])}</span>", self._body)
        else:
            QToolTip.hideText()

    def box_at(self, point: QPointF) -> tuple[At, Box, float, float] | None:
        """The box nearest to a point of the body, and the point in its coordinates."""
        layout = self._layout
        if not layout.entries:
            return None
        index = layout.index_at(point.y())
        boxes = layout.entries[index].boxes
        if not boxes:
            return None
        top = layout.top(index)
        chosen, y = 0, 0.0
        for at, box in enumerate(boxes):
            if at and point.y() < top:
                break
            top += box.piece.place.gap
            chosen, y = at, top
            top += box.height
        box = boxes[chosen]
        return At(index, chosen, 0), box, point.x() - box.piece.place.left, point.y() - y

    def _at(self, point: QPointF) -> At | None:
        hit = self.box_at(point)
        if hit is None:
            return None
        at, box, x, y = hit
        position = 0 if y < 0 and not at.entry and not at.box else box.length if y > box.height else -1
        return at._replace(position=box.position_at(x, y) if position < 0 else position)

    def link_at(self, point: QPointF) -> str:
        """The address of the link at a point of the body, or nothing."""
        hit = self.box_at(point)
        return "" if hit is None else hit[1].link_at(hit[2], hit[3])

    def select(self, anchor: At | None, head: At | None) -> None:
        """Select from one place to the other."""
        if self.selection.set(anchor, head):
            self._tell()

    @Slot()
    def select_all(self) -> None:
        """Select everything."""
        if self.selection.select_all():
            self._tell()

    def _tell(self) -> None:
        self._body.update()
        self.selected.emit()

    def _drag_to(self, point: QPointF) -> None:
        at = self._at(point)
        if at != self.selection.head:
            self.select(self.selection.anchor, at)

    def _distance_outside(self) -> int:
        y = round(self._body.mapFromGlobal(self._mouse).y())
        seen = self._body.visibleRegion().boundingRect()
        if y < seen.top() and seen.top() > 0:
            return y - seen.top()
        if y > seen.bottom() and seen.bottom() < self._body.height() - 1:
            return y - seen.bottom()
        return 0

    @Slot()
    def _on_outside(self) -> None:
        if pixels := self._distance_outside():
            self.drag_left.emit(pixels)
            self._drag_to(self._body.mapFromGlobal(self._mouse))
        else:
            self._outside.stop()

    @Slot()
    def _on_copy_shown(self) -> None:
        QGuiApplication.clipboard().setText(self.selection.shown_text(self._text))

    @Slot()
    def _on_copy_markdown(self) -> None:
        QGuiApplication.clipboard().setText(self.selection.markdown(self._text))

    @Slot()
    def _on_copy_link(self) -> None:
        action = self.sender()
        if isinstance(action, QAction):
            QGuiApplication.clipboard().setText(str(action.data()))
