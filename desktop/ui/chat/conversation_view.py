"""The messages of one conversation, in a column that scrolls and follows what is being written."""

from __future__ import annotations

import time

from PySide6.QtCore import QEvent, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.conversation import Message
from desktop.ui.chat.message_view import MessageView
from desktop.ui.icons import icon
from desktop.ui.theme import SPACE

COLUMN_WIDTH = 720
PAGE = 60  # messages that get widgets, and as many more with each click
_FIRST = 8  # of them at once when a conversation is opened, which fills the page; the others follow
_SLICE = 3  # at a time
_FRAME_MILLISECONDS = 16
_BUSY_SHARE = 4  # painting more text takes at most one part in so many of the thread's time
_NEAR_BOTTOM = 24  # pixels


class ConversationView(QScrollArea):
    """Shows messages; knows nothing of where they come from.

    Signals: those of MessageView.
    """

    continue_requested = Signal(int)
    action_triggered = Signal(object)
    link_activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._messages: list[Message] = []
        self._views: dict[int, MessageView] = {}
        self._pending: dict[int, list[str]] = {}
        self._follows = True
        self._wanted = 0
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Conversation")
        self._content = QWidget()
        self._column = QVBoxLayout(self._content)
        self._column.setSpacing(SPACE[4])
        self._earlier = QPushButton("Show earlier messages", self._content)
        self._earlier.setAccessibleName("Show earlier messages")
        self._earlier.clicked.connect(self._on_earlier_clicked)
        self._earlier.hide()
        self._column.addWidget(self._earlier, 0, Qt.AlignmentFlag.AlignHCenter)
        self._column.addStretch(1)
        self.setWidget(self._content)
        self._jump = QPushButton("Latest", self)
        self._jump.setIcon(icon("down"))
        self._jump.setIconSize(QSize(16, 16))
        self._jump.setAccessibleName("Jump to the latest message")
        self._jump.clicked.connect(self._on_jump_clicked)
        self._jump.hide()
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.timeout.connect(self._flush)
        self._fill = QTimer(self)
        self._fill.setInterval(0)
        self._fill.timeout.connect(self._on_fill)
        self.verticalScrollBar().rangeChanged.connect(self._on_range_changed)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self._set_margins()

    def show_messages(self, messages: list[Message]) -> None:
        """Show another conversation, at its end."""
        self._pending.clear()
        for view in self._views.values():
            self._column.removeWidget(view)
            view.hide()
            view.deleteLater()
        self._views.clear()
        self._messages = list(messages)
        self._follows = True
        self._wanted = PAGE
        self._earlier.hide()
        self._insert(messages[-_FIRST:], 1)
        self._mark_last()
        self._on_range_changed()
        self._fill.start()

    def add_message(self, message: Message) -> None:
        """Show one more message at the end."""
        self._messages.append(message)
        self._insert([message], self._column.count() - 1)
        self._mark_last()
        if message.role == "user":
            self.jump_to_latest()

    def change_message(self, message: Message) -> None:
        """Show what a message has become; ignored when it is not on screen."""
        self._pending.pop(message.id, None)
        for place in range(len(self._messages) - 1, -1, -1):
            if self._messages[place].id == message.id:
                self._messages[place] = message
                break
        if (view := self._views.get(message.id)) is not None:
            view.set_message(message)

    def append_text(self, message_id: int, text: str) -> None:
        """Show more of a reply, with the next frame; ignored when it is not on screen."""
        if message_id in self._views:
            self._pending.setdefault(message_id, []).append(text)
            if not self._frame.isActive() and self.isVisible():
                self._frame.start(_FRAME_MILLISECONDS)

    def set_progress(self, message_id: int, words: str) -> None:
        """Say how the writing of a reply goes; ignored when it is not on screen."""
        if (view := self._views.get(message_id)) is not None:
            view.set_progress(words)

    @property
    def last_message(self) -> Message | None:
        """The last message on screen."""
        return self._messages[-1] if self._messages else None

    @Slot()
    def jump_to_latest(self) -> None:
        """Go to the end and follow it again."""
        self._follows = True
        self._on_range_changed()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_jump()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._pending:
            self._frame.start(0)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._set_margins()
        handled = super().viewportEvent(event)
        if event.type() == QEvent.Type.Resize:
            self._on_range_changed()
        return handled

    def _column_width(self) -> int:
        return min(COLUMN_WIDTH, max(self.width() - 2 * SPACE[4], 200))

    def _set_margins(self) -> None:
        side = max((self.width() - COLUMN_WIDTH) // 2, SPACE[4])
        # The column stays where it is when the scroll bar comes. Not viewport(): see MainWindow._on_idle.
        bar = self.verticalScrollBar().width() if self.verticalScrollBar().isVisible() else 0
        self._column.setContentsMargins(side, SPACE[4], max(side - bar, SPACE[1]), SPACE[4])
        width = self._column_width()
        for view in self._views.values():
            view.take_width(width)

    def _insert(self, messages: list[Message], place: int) -> None:
        # Imported here: with the first message, or when the window has nothing to do, and not before it is shown.
        from desktop.ui.chat.reply_view import ReplyView
        from desktop.ui.chat.user_bubble import UserBubble

        width = self._column_width()
        for offset, message in enumerate(messages):
            make = UserBubble if message.role == "user" else ReplyView
            view: MessageView = make(message, width, self._content)
            view.continue_requested.connect(self.continue_requested)
            view.action_triggered.connect(self.action_triggered)
            view.link_activated.connect(self.link_activated)
            self._views[message.id] = view
            self._column.insertWidget(place + offset, view)
            view.show()
        self._wanted = max(self._wanted, len(self._views))

    def _mark_last(self) -> None:
        last = self.last_message
        for message_id, view in self._views.items():
            view.set_last(last is not None and message_id == last.id)

    @Slot()
    def _flush(self) -> None:
        started = time.perf_counter()
        pending, self._pending = self._pending, {}
        for message_id, texts in pending.items():
            self._views[message_id].append_text("".join(texts))
        if pending:
            spent = (time.perf_counter() - started) * 1_000
            # Text that arrives meanwhile waits: other work of this thread goes first.
            self._frame.start(max(_FRAME_MILLISECONDS, round(spent * _BUSY_SHARE)))

    @Slot()
    def _on_earlier_clicked(self) -> None:
        self._wanted = len(self._views) + PAGE
        self._fill.start()

    @Slot()
    def _on_fill(self) -> None:
        """Put a few more messages above those that are there, and leave in sight what is in sight."""
        shown = len(self._views)
        room = min(self._wanted, len(self._messages)) - shown
        if room <= 0:
            self._fill.stop()
            self._earlier.setVisible(shown < len(self._messages))
            return
        bar = self.verticalScrollBar()
        from_bottom = bar.maximum() - bar.value()
        self._insert(self._messages[-shown - min(room, _SLICE) : -shown], 1)
        if not self._follows:
            self._column.activate()
            self._content.resize(self._content.width(), self._content.sizeHint().height())
            bar.setValue(bar.maximum() - from_bottom)

    @Slot()
    def _on_jump_clicked(self) -> None:
        self.jump_to_latest()

    @Slot()
    def _on_range_changed(self) -> None:
        bar = self.verticalScrollBar()
        if self._follows:
            bar.setValue(bar.maximum())
        self._place_jump()

    @Slot()
    def _on_scrolled(self) -> None:
        bar = self.verticalScrollBar()
        self._follows = bar.value() >= bar.maximum() - _NEAR_BOTTOM
        self._place_jump()

    def _place_jump(self) -> None:
        self._jump.setVisible(not self._follows)
        if not self._follows:
            self._jump.adjustSize()
            self._jump.move((self.width() - self._jump.width()) // 2, self.height() - self._jump.height() - SPACE[1])
