"""The messages of one conversation, in a column that scrolls and follows what is being written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QHideEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QFrame, QScrollBar, QWidget

from desktop.domain.conversation import Attachment, Message, MessageState
from desktop.services.tool_desk import ToolState
from desktop.ui.chat.focus_walk import FocusWalk
from desktop.ui.chat.frame_texts import FrameTexts
from desktop.ui.chat.height_guesses import HeightGuesses
from desktop.ui.chat.latest_button import LatestButton
from desktop.ui.chat.message_column import COLUMN_WIDTH, MessageColumn
from desktop.ui.chat.message_log import MessageLog
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.message_views import make_view, pass_on

__all__ = ("COLUMN_WIDTH", "ConversationView")

_FIRST_SECONDS = 0.05  # for what is in sight when a conversation is opened; what takes longer follows
_TURN_SECONDS = 0.006  # for views, in one turn of the event loop; at least one is built
_DROPPED_AT_ONCE = 4
_FRAME_MILLISECONDS = 16  # what is in sight is told to the views at most once in this time
_RESIZED_MILLISECONDS = 200  # without another width, before all heights are estimated anew
_DRAG_STEP = 60  # pixels, at most, of one step while something is selected with the mouse
_STEP = 20  # pixels of one step of the scroll bar


class ConversationView(QAbstractScrollArea):
    """Shows messages; knows nothing of where they come from.

    Only messages in sight and about a viewport above and below have a MessageView; of the others only the height is
    known, or estimated. Views are built a few in each turn of the event loop; until then their place is empty.

    Signals: those of MessageView.
    """

    continue_requested = Signal(int)
    reload_requested = Signal(int, object)
    action_triggered = Signal(object)
    link_activated = Signal(str)
    edit_requested = Signal(int, str)
    edit_ended = Signal()
    regenerate_requested = Signal(int)
    fork_requested = Signal(int)
    sibling_requested = Signal(int, int)
    tool_answered = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._log = MessageLog()
        self._texts = FrameTexts(self._show_texts, self)
        self._siblings_of: Callable[[int], tuple[int, int]] | None = None
        self._tool_states_of: Callable[[Message], Mapping[str, ToolState]] | None = None
        self._data_of: Callable[[Attachment], bytes] = _no_data
        self._goal: tuple[int, int] | None = None  # message id, offset: where to jump to when this is shown
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Conversation")
        # A viewport and a scroll bar of our own: those that Qt makes are dear to ask for, see MainWindow._on_idle, and
        # what Python knows of them may be gone before they are.
        self._canvas = QWidget()
        self.setViewport(self._canvas)
        self._canvas.setAutoFillBackground(False)
        self._bar = QScrollBar(Qt.Orientation.Vertical, self)
        self.setVerticalScrollBar(self._bar)
        self._bar.setSingleStep(_STEP)
        self._column = MessageColumn(self._canvas, self._bar)
        self._column.scrolled.connect(self._on_scrolled)
        self._guesses = HeightGuesses(self._log, self._column)
        self._jump = LatestButton(self)
        self._jump.clicked.connect(self.jump_to_latest)
        self._work = self._timer(self._on_work, 0, once=False)
        self._resized = self._timer(self._on_resized, _RESIZED_MILLISECONDS, once=True)
        self._ranges = self._timer(self._column.send_ranges, _FRAME_MILLISECONDS, once=True)
        self._walk = FocusWalk(self, self._canvas, self._column, self._jump)

    # what is shown

    def show_messages(self, messages: Sequence[Message]) -> None:
        """Show another conversation, at its end; or another branch of the same, where it parts from this one.

        What both begin with stays as it is, and so does what is on screen of it.
        """
        shared = self._log.shared(messages)
        same = self._log.is_of(messages)
        for place in range(shared):
            self._replace(place, messages[place])
        parted = len(self._log) > shared
        focused = self._walk.focused_view
        if focused is not None and (self._log.place(focused.message.id) or 0) >= shared:
            self.setFocus()
        self._column.truncate(shared)
        self._log.truncate(shared)
        self._fit()
        self._guesses.extend(messages[shared:])
        self._goal = None
        if not same:
            self._column.follow()
        elif parted:
            self._column.hold(shared)
        self._fill(_FIRST_SECONDS)
        if same and parted:
            self._column.follow_if_at_end()
        self._mark_last()
        self._place_jump()

    def add_message(self, message: Message) -> None:
        """Show one more message at the end."""
        if self._log.place(message.id) is not None:
            self.change_message(message)
            return
        self._guesses.extend([message])
        if message.role == "user":
            self._column.follow()
        self._fill(_FIRST_SECONDS)
        self._mark_last()
        self._place_jump()

    def change_message(self, message: Message) -> None:
        """Show what a message has become; ignored when it is not of this conversation."""
        if (place := self._log.place(message.id)) is not None:
            self._replace(place, message)
            self._column.settle()
            self._work.start()

    def append_text(self, message_id: int, text: str) -> None:
        """Show more of a reply, with the next frame; ignored when it is not of this conversation."""
        if self._log.place(message_id) is not None:
            self._log.add_text(message_id, text)
            self._texts.add(message_id, text)

    def append_reasoning(self, message_id: int, text: str) -> None:
        """Show more of a reply's reasoning, with the next frame; ignored when it is not of this conversation."""
        if self._log.place(message_id) is not None:
            self._log.add_reasoning(message_id, text)
            self._texts.add(message_id, reasoning=text)

    def set_progress(self, message_id: int, words: str) -> None:
        """Say how the writing of a reply goes; ignored when it has no view."""
        if (view := self._views.get(message_id)) is not None:
            view.set_progress(words)

    def set_sibling_source(self, siblings_of: Callable[[int], tuple[int, int]]) -> None:
        """siblings_of: for a message id, which of its siblings it is, from 1, and how many there are with it."""
        self._siblings_of = siblings_of
        self.refresh_siblings()

    def set_data_source(self, data_of: Callable[[Attachment], bytes]) -> None:
        """data_of: the bytes of an attachment."""
        self._data_of = data_of

    def set_tool_source(self, states_of: Callable[[Message], Mapping[str, ToolState]]) -> None:
        """states_of: what each tool call of a message that has no result waits for, by the call's id."""
        self._tool_states_of = states_of

    def refresh_tools(self, message_id: int) -> None:
        """Ask again for the state of a message's tool calls."""
        place = self._log.place(message_id)
        if place is not None and self._tool_states_of is not None and (view := self._views.get(message_id)) is not None:
            view.show_tool_states(self._tool_states_of(self._log[place]))

    @Slot(object)
    def set_left_out(self, message_id: int | None) -> None:
        """The last message that the model does not read any more: a line is drawn beneath it. None: it reads all."""
        self._column.draw_line(None if message_id is None else self._log.place(message_id))
        self._walk.tidy()

    @property
    def edits(self) -> dict[int, str]:
        """What the user has written so far in messages that are being edited, by their ids."""
        texts = {message_id: view.edited_text for message_id, view in self._views.items()}
        return {message_id: text for message_id, text in texts.items() if text is not None}

    def edit(self, message_id: int, text: str | None = None) -> bool:
        """Let the user write this message anew, beginning with this text; whether that can be done."""
        if (place := self._log.place(message_id)) is None:
            return False
        view = self._views.get(message_id) or self._build(place)
        view.edit()
        if view.edited_text is None:
            return False
        if text is not None:
            view.set_edited_text(text)
        return True

    def refresh_siblings(self) -> None:
        """Ask again for the siblings of what has a view."""
        if self._siblings_of is not None:
            for message_id, view in self._views.items():
                view.set_siblings(*self._siblings_of(message_id))

    @property
    def last_message(self) -> Message | None:
        """The last message of the branch."""
        return self._log[len(self._log) - 1] if len(self._log) else None

    @property
    def _views(self) -> dict[int, MessageView]:
        """The views there are, by message id, from top to bottom."""
        return self._column.views

    # where it is

    @Slot()
    def jump_to_latest(self) -> None:
        """Go to the end and follow it again."""
        self._goal = None
        self._column.follow()
        self._fill(_FIRST_SECONDS)
        self._place_jump()

    def jump_to(self, message_id: int, offset: int = 0) -> None:
        """Bring a message, and the character at this offset of its text, into sight and light it up for a moment.

        Ignored when the message is not of this conversation.
        """
        place = self._log.place(message_id)
        if place is None:
            return
        if not self.isVisible():
            self._goal = (message_id, offset)
            return
        view = self._views.get(message_id) or self._build(place)
        for _ in range(2):  # what is in sight of a long message may be laid out only then
            position = view.position_of(offset) if offset else 0
            self._column.bring(place, position)
            self._column.send_ranges()
        self._column.flash(message_id)
        self._fill(_FIRST_SECONDS)
        self._column.follow_if_at_end()
        self._place_jump()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Home:
            self._bar.setValue(0)
        elif event.key() == Qt.Key.Key_End:
            self.jump_to_latest()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit()
        self._column.settle()
        self._work.start()
        self._place_jump()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._fit()
        self._texts.resume()
        self._fill(_FIRST_SECONDS)
        if self._goal is not None:
            goal, self._goal = self._goal, None
            self.jump_to(*goal)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._texts.pause()

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._on_loosened()
            return True
        return super().viewportEvent(event)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        """Nothing: the column places every view."""

    def focusNextPrevChild(self, forward: bool) -> bool:
        current = QApplication.focusWidget()
        if current is None or not (current is self or self.isAncestorOf(current)):
            return super().focusNextPrevChild(forward)
        return self._walk.step(current, forward=forward)

    # views

    def _fill(self, seconds: float) -> None:
        """Build what is in sight, as long as that takes no longer than this, and leave the rest to later turns."""
        if not self.isVisible():
            return
        started = time.perf_counter()
        self._column.settle()
        while time.perf_counter() - started < seconds and (place := self._column.missing_in_sight()) is not None:
            self._build(place)
        self._work.start()

    @Slot()
    def _on_work(self) -> None:
        started = time.perf_counter()
        if not self.isVisible():
            self._work.stop()
            return
        self._column.drop_far(_DROPPED_AT_ONCE, self._is_kept)
        while (place := self._column.missing()) is not None:
            self._build(place)
            if time.perf_counter() - started > _TURN_SECONDS:
                return
        if self._guesses.are_due:
            self._guesses.look()
        elif not self._column.drop_far(_DROPPED_AT_ONCE, self._is_kept):
            self._work.stop()

    def _build(self, place: int) -> MessageView:
        message = self._log[place]
        self._texts.forget(message.id)
        view = make_view(message, self._column.width, self._canvas, self._data_of, self._log.call_of(place))
        pass_on(view, self)
        view.drag_left.connect(self._on_drag_left)
        view.edit_begun.connect(self._on_edit_begun)
        view.set_last(place == len(self._log) - 1)
        if self._siblings_of is not None:
            view.set_siblings(*self._siblings_of(message.id))
        if self._tool_states_of is not None:
            view.show_tool_states(self._tool_states_of(message))
        self._column.insert(place, view)
        self._walk.tidy()
        return view

    def _replace(self, place: int, message: Message) -> None:
        known = self._log[place]
        if known is message or known == message:
            return
        self._log.put(place, message)
        self._texts.forget(message.id)
        if (view := self._views.get(message.id)) is not None:
            view.set_message(message)
            self.refresh_tools(message.id)
        else:
            self._column.guess(place, self._column.estimate()(message))

    def _is_kept(self, place: int, view: MessageView) -> bool:
        """Whether a view stays although it is far from what is in sight."""
        is_streaming = self._log.state_at(place) is MessageState.STREAMING
        return is_streaming or view.has_selection or view is self._walk.focused_view

    def _mark_last(self) -> None:
        last = len(self._log) - 1
        for message_id, view in self._views.items():
            view.set_last(self._log.place(message_id) == last)

    def _show_texts(self, texts: dict[int, tuple[str, str]]) -> None:
        for message_id, (text, reasoning) in texts.items():
            view, place = self._views.get(message_id), self._log.place(message_id)
            if view is not None:
                if reasoning:
                    view.append_reasoning(reasoning)
                if text:
                    view.append_text(text)
            elif place is not None:
                self._column.guess(place, self._column.estimate()(self._log[place]))
        self._column.settle()

    @Slot()
    def _on_resized(self) -> None:
        self._guesses.begin_anew()
        self._work.start()

    @Slot()
    def _on_loosened(self) -> None:
        self._column.settle()
        self._work.start()
        self._walk.tidy()

    @Slot()
    def _on_scrolled(self) -> None:
        self._work.start()
        if not self._ranges.isActive():
            self._ranges.start()
        self._place_jump()

    @Slot(int)
    def _on_edit_begun(self, message_id: int) -> None:
        """The editor stays where it is, and the end may go out of sight."""
        if (place := self._log.place(message_id)) is not None:
            self._column.hold(place)

    @Slot(int)
    def _on_drag_left(self, pixels: int) -> None:
        self._bar.setValue(self._bar.value() + max(-_DRAG_STEP, min(pixels, _DRAG_STEP)))

    def _fit(self) -> None:
        if self._column.fit(self.width()):
            self._resized.start()

    def _place_jump(self) -> None:
        self._jump.offer(not self._column.follows)

    def _timer(self, slot: Callable[[], None], milliseconds: int, *, once: bool) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(once)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer


def _no_data(_attachment: Attachment) -> bytes:
    return b""
