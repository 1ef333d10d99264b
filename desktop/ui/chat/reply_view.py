"""A reply: plain text while it is written, Markdown when it is finished, and what became of it beneath."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from desktop.domain.conversation import Message, MessageState
from desktop.domain.errors import Action, Failure, FailureCode
from desktop.domain.generation import FinishReason
from desktop.ui.chat.markdown_view import MarkdownView
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.chat.text_hygiene import clean, fits_markdown
from desktop.ui.failure_card import FailureCard
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of
from desktop.ui.words import reply_line

_ANNOUNCED = 2_000  # characters of a finished reply that a screen reader is given
_CUT = Failure(
    code=FailureCode.REQUEST_FAILED,
    message="This reply was cut off when Turbodesk ended.",
    next_step="What had been written is kept.",
    action=Action.CONTINUE,
)
_UNFORMATTED = "shown as it came: too long to format"
_ABOUT_THE_REPLY = (Action.RELOAD, Action.CONTINUE)


class ReplyView(MessageView):
    """One reply of the model, on the left and without a bubble."""

    def __init__(self, message: Message, width: int, parent: QWidget | None = None) -> None:
        super().__init__(message, parent)
        self._width = width
        self._text: PlainTextView | MarkdownView | None = None
        self._card: FailureCard | None = None
        self._is_last = False
        self._shown = 0  # characters of the content that the plain text holds
        self.setAccessibleName("Reply")
        self._status = QLabel(self)
        self._status.setProperty("dim", True)
        self._status.setTextFormat(Qt.TextFormat.PlainText)
        self._status.setFont(font_of(self._status, TYPE.small))
        self._copy = self._tool("copy", "Copy this reply")
        self._copy.clicked.connect(self._on_copy_clicked)
        self._go_on = self._tool("continue", "Go on with this reply")
        self._go_on.clicked.connect(self._on_go_on_clicked)
        footer = QHBoxLayout()
        footer.setSpacing(SPACE[0])
        footer.addWidget(self._status)
        footer.addWidget(self._copy)
        footer.addWidget(self._go_on)
        footer.addStretch(1)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[1])
        self._column.addLayout(footer)
        self._show()

    def set_message(self, message: Message) -> None:
        was_streaming = self.message.state is MessageState.STREAMING
        super().set_message(message)
        self._show()
        if was_streaming and message.state is not MessageState.STREAMING and self.isVisible():
            self._announce()

    def append_text(self, text: str) -> None:
        if isinstance(self._text, PlainTextView):
            self._text.append_text(text)
            self._shown += len(text)

    def set_progress(self, words: str) -> None:
        if self.message.state is MessageState.STREAMING and self._status.text() != words:
            self._status.setText(words)
            self._status.setVisible(bool(words))

    def set_last(self, is_last: bool) -> None:
        if is_last != self._is_last:
            self._is_last = is_last
            self._show_buttons()

    def take_width(self, width: int) -> None:
        """Fit into a column of this width; the layout sees to all but the first time."""
        self._width = width

    def _tool(self, icon_name: str, words: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(icon(icon_name, Tint.PlaceholderText))
        button.setIconSize(QSize(16, 16))
        button.setToolTip(words)
        button.setAccessibleName(words)
        return button

    def _show(self) -> None:
        message = self.message
        streaming = message.state is MessageState.STREAMING
        self._show_text(streaming)
        words = "generating" if streaming else reply_line(message)
        if not streaming and isinstance(self._text, PlainTextView):
            words = f"{words} · {_UNFORMATTED}" if words else _UNFORMATTED
        self._status.setText(words)
        self._show_card()
        self._show_buttons()

    def _show_text(self, streaming: bool) -> None:
        content = self.message.content
        before = self._text
        if isinstance(before, PlainTextView) and self._shown and not streaming and not fits_markdown(content):
            self.append_text(content[self._shown :])  # a huge text is not laid out twice
            return
        self._text = None
        if streaming or (content and not fits_markdown(content)):
            self._text = PlainTextView(self._width, self)
            self._text.set_text(content)
            self._shown = len(content)
        elif content:
            self._text = MarkdownView(clean(content), self._width, self)
            self._text.link_activated.connect(self.link_activated)
        if self._text is not None:
            self._text.setAccessibleName("Text of the reply")
            self._column.insertWidget(0, self._text)
        if before is not None:
            self._column.removeWidget(before)
            before.hide()
            before.deleteLater()

    def _show_card(self) -> None:
        problem = self.message.failure
        if problem is None and self.message.state is MessageState.INTERRUPTED:
            problem = _CUT
        if self._card is not None:
            self._column.removeWidget(self._card)
            self._card.hide()
            self._card.deleteLater()
            self._card = None
        if problem is not None:
            label = ""
            if problem.action is Action.RELOAD:
                label = "Restart the model and go on" if self.message.content else "Load the model and try again"
            elif problem.action is Action.CONTINUE:
                label = "Go on" if self.message.content else "Try again"
            self._card = FailureCard(problem, label, self)
            self._card.action_triggered.connect(self._on_card_action)
            self._column.addWidget(self._card)

    def _show_buttons(self) -> None:
        self._status.setVisible(bool(self._status.text()))
        finished = self.message.state is not MessageState.STREAMING
        was_cut = self.message.state is MessageState.STOPPED or self.message.finish_reason is FinishReason.LENGTH
        self._copy.setVisible(finished and bool(self.message.content))
        self._go_on.setVisible(finished and was_cut and self._is_last and self._card is None)

    def _announce(self) -> None:
        words = self.message.failure.message if self.message.failure else clean(self.message.content)[:_ANNOUNCED]
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, words))

    @Slot()
    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(clean(self.message.content))

    @Slot()
    def _on_go_on_clicked(self) -> None:
        self.continue_requested.emit(self.message.id)

    @Slot(object)
    def _on_card_action(self, action: Action) -> None:
        if action in _ABOUT_THE_REPLY:
            self.continue_requested.emit(self.message.id)
        else:
            self.action_triggered.emit(action)
