"""Places the views of some of the messages of a column, and keeps what is read where it is while heights change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QRect, Signal, Slot
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QScrollBar, QWidget

from desktop.domain.conversation import Message
from desktop.ui.chat.context_line import ContextLine
from desktop.ui.chat.height_estimate import HeightEstimate
from desktop.ui.chat.message_flash import MessageFlash
from desktop.ui.chat.message_heights import MessageHeights
from desktop.ui.chat.message_view import MessageView
from desktop.ui.theme import SPACE

COLUMN_WIDTH = 720
_LEAST_WIDTH = 200
_EDGE = SPACE[4]  # above the first message
_GAP = SPACE[4]  # beneath every message
_NEAR_END = 24  # pixels
_PASSES = 4  # a view may want another height once it has its place, and so may the next
_KEPT = 6  # views far from what is in sight, at most
_MOST = 2**31 - 1  # of a scroll bar
_FAR = 10_000_000  # a place that Qt can still add to


class MessageColumn(QObject):
    """Knows every message by its place and id only. "Scroll": what part of the column the canvas's top edge shows.

    The anchor is a message and where the canvas's top edge is in it, in pixels (negative: above it). Whatever changes
    its height above, the anchor stays. follows: the end stays in sight instead.

    Signals:
        scrolled: what is in sight has changed.
    """

    scrolled = Signal()

    def __init__(self, canvas: QWidget, bar: QScrollBar) -> None:
        """canvas: what the views stand in. bar: told the range, and asked for the scroll."""
        super().__init__(canvas)
        self._canvas = canvas
        self._bar = bar
        self._flash: MessageFlash | None = None
        self._line: ContextLine | None = None
        self._line_at: int | None = None
        self._heights = MessageHeights()
        self._ids: list[int] = []
        self._places: dict[int, int] = {}  # of what has a view
        self.views: dict[int, MessageView] = {}  # from top to bottom
        self._told: dict[int, tuple[int, int]] = {}  # message id -> its visible range
        self._side, self._width = _EDGE, COLUMN_WIDTH
        self.follows = True
        self._scroll = 0
        self._anchor = (0, 0)
        self._held_end = 0  # the column ends here or further down, so that the scroll need not change
        self._settling = False
        self._moving = False
        bar.valueChanged.connect(self._on_value_changed)

    # messages

    @property
    def width(self) -> int:
        """Of every message, in pixels."""
        return self._width

    def estimate(self) -> Callable[[Message], int]:
        """What guesses a height at the width of now, with the space beneath."""
        metrics = QFontMetricsF(self._canvas.font())
        estimate = HeightEstimate(self._width, round(metrics.lineSpacing()), metrics.averageCharWidth())
        return lambda message: estimate.of(message) + _GAP

    def extend(self, ids: Sequence[int], height: int) -> None:
        """Add messages at the end, all with this estimate; guess() gives each its own."""
        self._ids.extend(ids)
        self._heights.extend(len(ids), height)

    def truncate(self, count: int) -> None:
        """Keep only the first messages."""
        for message_id in [known for known, place in self._places.items() if place >= count]:
            self._drop(message_id)
        del self._ids[count:]
        self._heights.truncate(count)

    def guess(self, place: int, height: int) -> None:
        """Another estimate for a message, unless its height was measured and it has a view."""
        if self._ids[place] not in self.views:
            self._heights.put(place, height, measured=False)

    def is_measured(self, place: int) -> bool:
        """Whether the height of this message was measured, at the width of now."""
        return self._heights.is_measured(place)

    # views

    def missing_in_sight(self) -> int | None:
        """The place of a message in sight that has no view; the nearest to the end or to the anchor comes first."""
        first, last = self._between(self._scroll, self._scroll + self._canvas.height())
        places = range(last, first - 1, -1) if self.follows else range(first, last + 1)
        return self._without_view(places)

    def missing(self) -> int | None:
        """The same, and then of a message within a viewport above or below."""
        place = self.missing_in_sight()
        if place is None:
            room = self._canvas.height()
            first, last = self._between(self._scroll, self._scroll + room)
            before, after = self._between(self._scroll - room, self._scroll + 2 * room)
            place = self._without_view(range(last + 1, after + 1))
            if place is None:
                place = self._without_view(range(first - 1, before - 1, -1))
        return place

    def insert(self, place: int, view: MessageView) -> None:
        """Give a message its view."""
        message_id = self._ids[place]
        view.height_changed.connect(self._on_height_changed)
        view.shifted.connect(self._on_shifted)
        self.views[message_id] = view
        self._places[message_id] = place
        if len(self.views) > 1:
            self.views = dict(sorted(self.views.items(), key=self._place_of))
        view.resize(self._width, view.height())
        view.show()
        self._tell(message_id, view)
        self.settle()
        self._tell(message_id, view)

    def drop_far(self, count: int, is_kept: Callable[[int, MessageView], bool]) -> bool:
        """Delete up to so many views that are far from what is in sight, the farthest first; whether there were any."""
        room = self._canvas.height()
        first, last = self._between(self._scroll - 2 * room, self._scroll + 3 * room)
        far = [known for known, place in self._places.items() if not first <= place <= last]
        if not far:
            return False
        far.sort(key=self._distance)
        kept = [known for known in far if is_kept(self._places[known], self.views[known])][:_KEPT]
        dropped = [known for known in far if known not in kept][-count:]
        for message_id in dropped:
            self._drop(message_id)
        return bool(dropped)

    def put_in_order(self) -> None:
        """Have the canvas's children stand in the order of the messages, as a screen reader goes through them."""
        ours: list[QWidget] = list(self.views.values())
        if self._line is not None and self._line_at is not None:
            ours.insert(sum(place <= self._line_at for place in self._places.values()), self._line)
        if [child for child in self._canvas.children() if child in ours] != ours:
            for widget in ours:
                widget.raise_()

    def views_in_sight(self) -> list[MessageView]:
        """Those of which at least a part is in sight."""
        return [view for view in self.views.values() if -view.height() < view.y() < self._canvas.height()]

    def send_ranges(self) -> None:
        """Tell every view what of it is in sight, if that has changed."""
        for message_id, view in list(self.views.items()):
            self._tell(message_id, view)

    # where it is

    def fit(self, room: int) -> bool:
        """Take the middle of so many pixels. Whether the column has another width now."""
        self._side = max((room - COLUMN_WIDTH) // 2, _EDGE)
        width = min(COLUMN_WIDTH, max(room - 2 * _EDGE, _LEAST_WIDTH))
        if width == self._width:
            return False
        self._width = width
        before, offset = self._anchor_height(), self._anchor[1]
        self._heights.forget_measures()
        for view in self.views.values():
            view.take_width(width)
            view.resize(width, view.height())
        self._measure()
        if before and offset > 0:
            self._anchor = (self._anchor[0], offset * self._anchor_height() // before)
        return True

    def follow(self) -> None:
        """Stay at the end from now on."""
        self.follows = True
        self._held_end = 0
        self.settle()

    def follow_if_at_end(self) -> None:
        """Follow when the end is in sight."""
        self.follows = self._scroll + self._canvas.height() >= self._end() - _NEAR_END

    def hold(self, place: int) -> None:
        """Leave the message at this place, the first of another branch, where it is, even if little follows it."""
        self.follows = False
        place = max(min(place, len(self._ids) - 1), 0)
        top, room = self._top(place), self._canvas.height()
        if top >= self._scroll:
            self._held_end = self._scroll + room
        elif self._end() - self._scroll < room:  # its beginning is out of sight, and so little of it would not be seen
            self._scroll = max(0, self._end() - room)
        if self._anchor[0] >= place:
            self._anchor = (place, self._scroll - top)
        else:
            self._anchor = (self._anchor[0], self._scroll - self._top(self._anchor[0]))

    def bring(self, place: int, y: int) -> None:
        """Scroll so that y inside this message is a third of the way down."""
        self.follows = False
        self._held_end = 0
        self._anchor = (place, y - self._canvas.height() // 3)
        self.settle()

    def draw_line(self, place: int | None) -> None:
        """Have the line of the context stand beneath the message at this place; None takes it away."""
        self._line_at = place
        if self._line is None and place is not None:
            self._line = ContextLine(self._canvas)
        self._place_line()

    def flash(self, message_id: int) -> None:
        """Light up a message for a moment."""
        if self._flash is None:
            self._flash = MessageFlash(self._canvas)
        self._flash.light(message_id)
        self._place_all()

    def settle(self) -> None:
        """Measure what has a view, correct the scroll, and put every view in its place."""
        if self._settling or not self._canvas.isVisible():
            return
        self._settling = True
        try:
            for _ in range(_PASSES):
                changed = self._measure()
                self._correct_scroll()
                self._place_all()
                if not changed:
                    break
        finally:
            self._settling = False

    def _measure(self) -> bool:
        changed = False
        for message_id, view in self.views.items():
            wants = view.heightForWidth(self._width) if view.hasHeightForWidth() else view.sizeHint().height()
            height, place = max(wants, 0) + _GAP, self._places[message_id]
            if height == self._heights[place] and self._heights.is_measured(place):
                continue
            at, offset = self._anchor
            if place == at and offset > 0 and not self._heights.is_measured(place):
                self._anchor = (at, offset * height // self._heights[place])  # nothing was to be read there yet
            changed = changed or height != self._heights[place]
            self._heights.put(place, height, measured=True)
        return changed

    def _correct_scroll(self) -> None:
        room = self._canvas.height()
        most = min(max(self._end(), self._held_end) - room, _MOST)
        wanted = most if self.follows or not self._ids else self._top(self._anchor[0]) + self._anchor[1]
        self._moving = True
        self._bar.setPageStep(room)
        self._bar.setRange(0, max(most, 0))
        self._bar.setValue(wanted)
        self._moving = False
        before, self._scroll = self._scroll, self._bar.value()
        if self.follows:
            self._take_anchor()
        if before != self._scroll:
            self.scrolled.emit()

    def _place_all(self) -> None:
        for message_id, view in self.views.items():
            place = self._places[message_id]
            y = max(min(self._top(place) - self._scroll, _FAR), -_FAR)
            view.setGeometry(self._side, y, self._width, self._heights[place] - _GAP)
        if self._flash is not None and (lit := self.views.get(self._flash.message_id or 0)) is not None:
            self._flash.surround(QRect(lit.pos(), lit.size()))
        self._place_line()

    def _place_line(self) -> None:
        if self._line is None:
            return
        place = self._line_at
        if place is not None and place < len(self._ids):
            y = self._top(place) + self._heights[place] - _GAP - self._scroll
            self._line.setGeometry(self._side, max(min(y, _FAR), -_FAR), self._width, _GAP)
            self._line.show()
        else:
            self._line.hide()

    def _take_anchor(self) -> None:
        """The first message in sight whose height is certain, or else the first."""
        first, last = self._between(self._scroll, self._scroll + self._canvas.height())
        certain = (place for place in range(first, last + 1) if self._heights.is_measured(place))
        place = next(certain, max(first, 0))
        self._anchor = (place, self._scroll - self._top(place))

    def _anchor_height(self) -> int:
        return self._heights[self._anchor[0]] if self._anchor[0] < len(self._heights) else 0

    def _top(self, place: int) -> int:
        return _EDGE + self._heights.top(place)

    def _end(self) -> int:
        return _EDGE + self._heights.total

    def _between(self, top: int, bottom: int) -> tuple[int, int]:
        """The places of the first and last message between these two; (0, -1) when there is none."""
        return max(self._heights.at(top - _EDGE), 0), self._heights.at(bottom - _EDGE)

    def _without_view(self, places: Iterable[int]) -> int | None:
        return next((place for place in places if self._ids[place] not in self.views), None)

    def _place_of(self, entry: tuple[int, MessageView]) -> int:
        return self._places[entry[0]]

    def _distance(self, message_id: int) -> int:
        return abs(self._places[message_id] - self._anchor[0])

    def _tell(self, message_id: int, view: MessageView) -> None:
        top = self._scroll - self._top(self._places[message_id])
        seen = (top, top + self._canvas.height())
        if self._told.get(message_id) != seen:
            self._told[message_id] = seen
            view.set_visible_range(*seen)

    def _drop(self, message_id: int) -> None:
        view = self.views.pop(message_id)
        del self._places[message_id]
        self._told.pop(message_id, None)
        if self._flash is not None and self._flash.message_id == message_id:
            self._flash.put_out()
        view.hide()
        view.deleteLater()

    @Slot(int)
    def _on_value_changed(self, value: int) -> None:
        if self._moving:
            return
        self._scroll = value
        self._held_end = min(self._held_end, value + self._canvas.height())
        self.follow_if_at_end()
        self._take_anchor()
        self._place_all()
        self.scrolled.emit()

    @Slot()
    def _on_height_changed(self) -> None:
        # After what the view is doing, and before the next painting; a second request while one waits is dropped.
        QCoreApplication.postEvent(self._canvas, QEvent(QEvent.Type.LayoutRequest))

    @Slot(int, int, int)
    def _on_shifted(self, message_id: int, y: int, pixels: int) -> None:
        place, offset = self._anchor
        if self._places.get(message_id) == place and y < offset:
            self._anchor = (place, offset + pixels)
        self._on_height_changed()
