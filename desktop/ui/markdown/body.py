"""A reply as Markdown in a widget: finished blocks are kept, only the open tail is drawn anew, at most once a frame."""

from __future__ import annotations

import math
import time
from collections import deque

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QHelpEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from desktop.ui.markdown.block_stream import BlockStream
from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.layout import Layout, drop
from desktop.ui.markdown.painting import paint_blocks
from desktop.ui.markdown.pointer import Pointer
from desktop.ui.markdown.style import style_for
from desktop.ui.markdown.text import Cleaner, clean_offset

FRAME_MS = 33  # as often as text comes; twice as often costs twice as much and looks the same
_SLOWEST_MS = 250
_REST = 4  # times as long as a redraw took, nothing is redrawn after it
_PORTION = 50_000  # characters handed to the parser at once
_SLICE = 0.008  # seconds of work at once, when there is more than a frame's
_SEEN_SLICE = 0.025  # the same for what is in sight
_FIRST_RANGE = 3_000  # pixels that count as seen until set_visible_range() says
_MARGIN = 500  # pixels above and below that are made ready
_NEAR = 200  # pixels above and below within which boxes have their buttons
_KEPT = 1_500  # pixels above and below beyond which boxes are dropped
_DESCRIBED = 20_000  # characters a screen reader is given


class MarkdownBody(QWidget):
    """As high as it needs to be: it stands inside something that scrolls.

    Signals:
        link_activated: the address of a link that was clicked; nothing was opened.
        height_changed: sizeHint() and heightForWidth() say something else now.
        selection_changed: selected_markdown() does.
        drag_left: see Pointer.
    """

    link_activated = Signal(str)
    height_changed = Signal()
    selection_changed = Signal()
    drag_left = Signal(int)

    def __init__(self, width: int, parent: QWidget | None = None) -> None:
        """width: in pixels, what the layout will give it; saves laying out the text twice."""
        super().__init__(parent)
        self._parts: list[str] = []
        self._range = (0, _FIRST_RANGE)
        self._wanted_height = 0
        self._live: set[int] = set()
        self._last_cost = 0.0
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame.timeout.connect(self._work)
        self._refresh_at = 0.0
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.timeout.connect(self._on_formulas_ready)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._on_later)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMouseTracking(True)
        # It paints its background itself: then what only moves or grows is not painted again.
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAttribute(Qt.WidgetAttribute.WA_StaticContents)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Reply")
        self.resize(width, 20)
        self._style = style_for(self)
        self._pointer = Pointer(Layout(self._style, width), self)
        self._pointer.link_clicked.connect(self.link_activated)
        self._pointer.selected.connect(self.selection_changed)
        self._pointer.drag_left.connect(self.drag_left)
        self._reset()
        formulas().ready.connect(self._on_formulas_ready)

    @property
    def text(self) -> str:
        """The source, as it was given."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def set_text(self, text: str, *, finished: bool) -> None:
        """Show this text instead."""
        for entry in self._layout.entries:
            drop(entry)
        self._reset()
        self.append_text(text)
        if finished:
            self._end()
        self._work()

    def append_text(self, text: str) -> None:
        """Add to the end; it is seen with the next frame."""
        self._parts.append(text)
        for at in range(0, len(text), _PORTION):
            self._waiting.append(text[at : at + _PORTION])
        if not self._frame.isActive():
            self._frame.start(round(min(_SLOWEST_MS, max(FRAME_MS, self._last_cost * 1000 * _REST))))

    def finish(self) -> None:
        """Nothing more comes: the tail is rendered as final."""
        self._end()
        self._work()

    def set_visible_range(self, top: int, bottom: int) -> None:
        """What is seen, in own coordinates: only blocks near it hold boxes, the others a height."""
        if (top, bottom) != self._range:
            self._range = (top, bottom)
            self._show_range()

    def selected_markdown(self) -> str:
        """The selected part; "" when nothing is selected."""
        return self._pointer.selection.markdown(self._stream.text)

    def clear_selection(self) -> None:
        """Nothing is selected any more."""
        self._pointer.select(None, None)

    def select_all(self) -> None:
        """Everything is selected, also what is not seen."""
        self._pointer.select_all()

    def position_of_text(self, offset: int) -> int:
        """The y of the block that holds this offset of the source."""
        entries = self._layout.entries
        offset = clean_offset(self.text, offset)
        low, high = 0, len(entries)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if entries[middle].block.start <= offset else (low, middle)
        return round(self._layout.top(low)) if entries else 0

    def block_at(self, y: int) -> int:
        """The offset in the source where the block at this y starts: position_of_text() finds it again later."""
        entries = self._layout.entries
        if not entries:
            return 0
        offset = entries[self._layout.index_at(y)].block.start
        before = offset
        while before < (at := offset + self.text.count("\r\n", 0, before)):
            before = at
        return before

    def box_resized(self) -> None:
        """A box of this body is higher or lower now."""
        for index in self._live:
            if self._layout.entries[index].boxes is not None:
                self._layout.lay_out(self._layout.entries[index])
        self._layout.moved(-1)
        self._show_range()

    def sizeHint(self) -> QSize:
        return QSize(100, self._wanted_height)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self._wanted_height)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        if width == self.width() or width <= 0:
            return self._wanted_height
        return round(self._wanted_height * self.width() / width)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._layout.width != self.width():
            self._layout.set_width(self.width())
            self._show_range()

    def event(self, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            self._pointer.show_address(event)
            return True
        if kind == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            if event.matches(QKeySequence.StandardKey.Copy) and not self._pointer.selection.is_empty:
                event.accept()
                return True
        elif kind == QEvent.Type.DevicePixelRatioChange:
            self._restyle()
        return super().event(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._restyle()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), QColor(self._style.colours.background))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        paint_blocks(painter, QRectF(event.rect()), self._layout, self._pointer.selection)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pointer.press(event)
        else:
            event.ignore()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._pointer.move(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pointer.release(event)
        else:
            event.ignore()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._pointer.double_click(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._pointer.key(event, self._stream.text):
            event.ignore()

    def wheelEvent(self, event: QWheelEvent) -> None:
        delta = event.angleDelta()
        sideways = delta.x() or (delta.y() if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 0)
        hit = self._pointer.box_at(event.position()) if sideways and abs(sideways) >= abs(delta.y()) else None
        if hit is not None and hit[1].scroll_sideways(-sideways / 2):
            self.update()
            event.accept()
        else:
            event.ignore()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = self.make_menu(event.pos())
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

    def make_menu(self, at: QPoint) -> QMenu:
        """The menu for a right click here."""
        return self._pointer.menu(at, self._stream.text)

    def _reset(self) -> None:
        self._parts = []
        self._stream = BlockStream()
        self._cleaner = Cleaner()
        self._layout = Layout(self._style, self.width())
        self._pointer.use(self._layout)
        self._live = set()
        self._synced = 0
        self._waiting: deque[str] = deque()
        self._ended = self._told_end = False

    def _end(self) -> None:
        self._ended = True

    @Slot()
    def _work(self) -> None:
        """Parse what came, for a slice of time, and show it."""
        self._frame.stop()
        started = time.perf_counter()
        more = True
        while more and time.perf_counter() - started < _SLICE:
            more = self._step()
        self._sync()
        self._show_range()
        self._last_cost = time.perf_counter() - started
        if more:
            self._frame.start(1)
        elif self._ended:
            self.setAccessibleDescription(self._stream.text[:_DESCRIBED])

    def _step(self) -> bool:
        """Parse a little; True when there is more to do at once."""
        if self._stream.step():
            return True
        if self._waiting:
            portion: list[str] = []
            while self._waiting and sum(map(len, portion)) < _PORTION:
                portion.append(self._waiting.popleft())
            self._stream.append(self._cleaner.feed("".join(portion)))
            return True
        if self._ended and not self._told_end:
            self._told_end = True
            self._stream.append(self._cleaner.end())
            self._stream.finish()
            return True
        return False

    def _sync(self) -> None:
        stream, layout = self._stream, self._layout
        if stream.references_version != layout.version:
            layout.version = stream.references_version
            layout.inlines.use(stream.references)
        layout.replace_from(self._synced, stream.final[self._synced :] + stream.tail, stream.text)
        self._live = {index for index in self._live if index < len(layout.entries)}
        self._synced = len(stream.final)

    def _show_range(self) -> None:
        """Make the boxes in sight and drop those far from it."""
        layout = self._layout
        top, bottom = self._range
        self._make(top, bottom, _SEEN_SLICE)
        for index in list(self._live):
            entry = layout.entries[index]
            y = layout.top(index)
            if y > bottom + _KEPT or y + entry.height < top - _KEPT:
                drop(entry)
                self._live.discard(index)
        self._later.start()
        self._fit()

    @Slot()
    def _on_later(self) -> None:
        top, bottom = self._range
        if not self._make(top, bottom, _SLICE) or not self._make(top - _MARGIN, bottom + _MARGIN, _SLICE):
            self._later.start()
        self._fit()

    def _make(self, top: float, bottom: float, seconds: float) -> bool:
        """Make boxes between two heights, for a limited time. True when all are there."""
        layout = self._layout
        until = time.perf_counter() + seconds
        index = layout.index_at(max(0, top))
        while index < len(layout.entries) and layout.top(index) <= bottom:
            if time.perf_counter() > until:
                return False
            layout.make(index)
            self._live.add(index)
            index += 1
        return True

    def _fit(self) -> None:
        layout = self._layout
        top, bottom = self._range
        for index in self._live:
            entry = layout.entries[index]
            y = layout.top(index)
            for box in entry.boxes or ():
                y += box.piece.place.gap
                if box.height and y < bottom + _NEAR and y + box.height > top - _NEAR:
                    box.show_controls(self, box.piece.place.left, y)
                else:
                    box.drop_controls()
                y += box.height
        height = math.ceil(layout.height)
        if height != self._wanted_height:
            self._wanted_height = height
            self.updateGeometry()
            self.height_changed.emit()
        if layout.dirty_from < height:
            above = math.floor(layout.dirty_from) - 2
            self.update(0, above, self.width(), max(height, self.height()) - above)
        layout.dirty_from = math.inf

    def _restyle(self) -> None:
        style = style_for(self)
        if style.key == self._style.key:
            return
        self._style = self._layout.style = style
        for index in self._live:
            drop(self._layout.entries[index])
        self._live.clear()
        self._layout.moved(-1)
        self._show_range()

    @Slot()
    def _on_formulas_ready(self) -> None:
        started = time.perf_counter()
        if started < self._refresh_at:
            self._refresh.start(round(1000 * (self._refresh_at - started)) + 1)
            return
        changed = False
        for index in list(self._live):
            boxes = self._layout.entries[index].boxes or ()
            if any(getattr(box, "has_missing", False) for box in boxes):
                self._layout.refresh(index)
                changed = True
        if changed:
            self._show_range()
        # Formulas come a few at a time, and all lines around them are laid out anew each time.
        self._refresh_at = time.perf_counter() + 8 * (time.perf_counter() - started)
