"""A reply: what the model thought, its Markdown, the tools it called, and what became of it beneath."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from PySide6.QtCore import Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QGuiApplication
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from desktop.domain.conversation import Message, MessageState
from desktop.domain.errors import Action, Failure, FailureCode
from desktop.domain.generation import FinishReason, ToolCall
from desktop.services.tool_desk import ToolState
from desktop.ui.chat.message_footer import MessageFooter
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.reasoning_fold import ReasoningFold
from desktop.ui.chat.spoken_sentences import SpokenSentences
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.chat.tool_card import ToolAnswer, ToolCallCard
from desktop.ui.failure_card import FailureCard
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.theme import SPACE
from desktop.ui.words import reply_line

_CUT = Failure(
    code=FailureCode.REQUEST_FAILED,
    message="This reply was cut off when Turbodesk ended.",
    next_step="What had been written is kept.",
    action=Action.CONTINUE,
)
_BEGINNING = 500  # characters: a reply that already has more was not begun just now, and is heard from here on
_CUT_REASONS = (FinishReason.LENGTH, FinishReason.CUT_JSON)
_ABOUT_THE_REPLY = (Action.RELOAD, Action.CONTINUE)


class _Buttons(NamedTuple):
    copy: QToolButton
    again: QToolButton
    edit: QToolButton
    fork: QToolButton
    go_on: QToolButton


class ReplyView(MessageView):
    """One reply of the model, on the left and without a bubble."""

    def __init__(self, message: Message, width: int, parent: QWidget | None = None) -> None:
        super().__init__(message, parent)
        self._width = width
        self._reasoning: ReasoningFold | None = None
        self._body: MarkdownBody | None = None
        self._cards: dict[str, ToolCallCard] = {}
        self._failure_card: FailureCard | None = None
        self._spoken = SpokenSentences()
        self._heard = len(message.content)  # characters of the content that a screen reader was given
        begun_just_now = message.state is MessageState.STREAMING and self._heard < _BEGINNING
        self._unheard = message.content if begun_just_now else ""  # and those that it will be given with the next
        self._is_last = False
        self._visible = (0, 3_000)
        self._held = (0, 0)  # an offset of the text, and where its block stands in the body
        self.setAccessibleName("Reply")
        self._footer = MessageFooter(parent=self)
        self._footer.sibling_requested.connect(self._on_sibling_requested)
        self._buttons: _Buttons | None = None  # there is nothing to do with a reply that is being written
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[1])
        self._column.addWidget(self._footer)
        self._show(was_streaming=False)

    @property
    def has_selection(self) -> bool:
        return super().has_selection or (self._body is not None and bool(self._body.selected_markdown()))

    def set_message(self, message: Message) -> None:
        was_streaming = self.message.state is MessageState.STREAMING
        super().set_message(message)
        self._show(was_streaming=was_streaming)
        if was_streaming and message.state is not MessageState.STREAMING:
            self._speak(message.content[self._heard :])
            rest = self._spoken.finish() if QAccessible.isActive() else []
            self._announce([*rest, *([message.failure.message] if message.failure is not None else [])])

    def append_text(self, text: str) -> None:
        if self._reasoning is not None and not self._body_is_begun:
            self._reasoning.set_done(0)
        self._need_body().append_text(text)
        self._speak(text)

    def append_reasoning(self, text: str) -> None:
        fold = self._need_reasoning()
        fold.set_running()
        fold.append_text(text)

    def set_progress(self, words: str) -> None:
        if self.message.state is MessageState.STREAMING:
            self._footer.set_status(words)

    def set_last(self, is_last: bool) -> None:
        if is_last != self._is_last:
            self._is_last = is_last
            self._show_buttons()

    def set_siblings(self, position: int, count: int) -> None:
        self._footer.set_place(position, count)

    def set_visible_range(self, top: int, bottom: int) -> None:
        self._visible = (top, bottom)
        if self._body is not None:
            above = self._body.y()
            self._body.set_visible_range(top - above, bottom - above)
            self._hold(max(top - above, 0))

    def take_width(self, width: int) -> None:
        """Fit into a column of this width; the layout sees to all but the first time."""
        self._width = width

    def position_of(self, offset: int) -> int:
        return 0 if self._body is None else self._body.y() + self._body.position_of_text(offset)

    def show_tool_states(self, states: Mapping[str, ToolState]) -> None:
        """What each call that has no result waits for, by its id."""
        for call_id, card in self._cards.items():
            card.set_state(states.get(call_id))

    @Slot()
    def edit(self) -> None:
        """Let the user write this reply anew."""
        if self._body is not None and self.message.state is not MessageState.STREAMING:
            self._begin_edit(self._body, self._column, "Save")

    @property
    def _body_is_begun(self) -> bool:
        return self._body is not None and bool(self._body.text)

    def _show(self, *, was_streaming: bool) -> None:
        message = self.message
        streaming = message.state is MessageState.STREAMING
        self._show_reasoning()
        if self._body is not None and was_streaming and message.content.startswith(self._body.text):
            if rest := message.content[len(self._body.text) :]:
                self._body.append_text(rest)
            if not streaming:
                self._body.finish()
        elif message.content or self._body is not None:
            self._need_body().set_text(message.content, finished=not streaming)
        self._show_tool_calls()
        self._footer.set_status("generating" if streaming else reply_line(message))
        self._show_failure()
        self._show_buttons()

    def _show_reasoning(self) -> None:
        message = self.message
        if not message.reasoning:
            return
        fold = self._need_reasoning()
        fold.set_text(message.reasoning)
        if message.state is not MessageState.STREAMING:
            fold.set_done(message.stats.reasoning_seconds if message.stats is not None else 0.0)

    def _show_tool_calls(self) -> None:
        for call in self.message.tool_calls:
            if call.id not in self._cards:
                card = ToolCallCard(call, self._width, self)
                card.allowed.connect(partial(self._on_tool_allowed, call))
                card.always_allowed.connect(partial(self._on_tool_always_allowed, call))
                card.declined.connect(partial(self._on_tool_declined, call))
                card.answered.connect(partial(self._on_tool_answered, call))
                self._cards[call.id] = card
                self._column.insertWidget(self._column.indexOf(self._footer), card)

    def _show_failure(self) -> None:
        problem = self.message.failure
        if problem is None and self.message.state is MessageState.INTERRUPTED:
            problem = _CUT
        if self._failure_card is not None:
            self._column.removeWidget(self._failure_card)
            self._failure_card.hide()
            self._failure_card.deleteLater()
            self._failure_card = None
        if problem is not None:
            label = ""
            if problem.setting:
                label = "Load with this setting and go on" if self.message.content else "Load with it and try again"
            elif problem.action is Action.RELOAD:
                label = "Restart the model and go on" if self.message.content else "Load the model and try again"
            elif problem.action is Action.CONTINUE:
                label = "Go on" if self.message.content else "Try again"
            self._failure_card = FailureCard(problem, label, self)
            self._failure_card.action_triggered.connect(self._on_card_action)
            self._column.addWidget(self._failure_card)

    def _show_buttons(self) -> None:
        finished = self.message.state is not MessageState.STREAMING
        if self._buttons is None:
            if not finished:
                return
            self._buttons = self._make_buttons()
        buttons = self._buttons
        was_cut = self.message.state is MessageState.STOPPED or self.message.finish_reason in _CUT_REASONS
        # Another engine, or other settings, may be able to.
        problem = self.message.failure
        may_go_on = self._failure_card is None or (problem and problem.code is FailureCode.JSON_NOT_CONTINUED)
        for button in (buttons.copy, buttons.edit):
            button.setVisible(finished and bool(self.message.content))
        buttons.edit.setEnabled(self._is_editable)
        for button in (buttons.again, buttons.fork):
            button.setVisible(finished)
        buttons.go_on.setVisible(finished and was_cut and self._is_last and bool(may_go_on))

    def _make_buttons(self) -> _Buttons:
        add = self._footer.add
        made = _Buttons(
            copy=add("copy", "Copy this reply"),
            again=add("again", "Write another reply"),
            edit=add("edit", "Edit this reply"),
            fork=add("fork", "Begin a new conversation from here"),
            go_on=add("continue", "Go on with this reply"),
        )
        made.copy.clicked.connect(self._on_copy_clicked)
        made.again.clicked.connect(self._on_again_clicked)
        made.edit.clicked.connect(self.edit)
        made.fork.clicked.connect(self._on_fork_clicked)
        made.go_on.clicked.connect(self._on_go_on_clicked)
        return made

    def _hold(self, y: int) -> None:
        """Remember which block stands at this height of the body, to tell when it moves."""
        if self._body is not None:
            offset = self._body.block_at(y)
            self._held = offset, self._body.position_of_text(offset)

    @Slot()
    def _on_body_height_changed(self) -> None:
        if self._body is not None and self._visible[0] > self._body.y():
            offset, before = self._held
            now = self._body.position_of_text(offset)
            if now != before:
                self._held = offset, now
                self.shifted.emit(self.message.id, self._body.y() + before, now - before)
        self.height_changed.emit()

    def _need_body(self) -> MarkdownBody:
        if self._body is None:
            self._body = MarkdownBody(self._width, self)
            self._body.setAccessibleName("Text of the reply")
            self._body.link_activated.connect(self.link_activated)
            self._body.drag_left.connect(self.drag_left)
            self._body.height_changed.connect(self._on_body_height_changed)
            self._column.insertWidget(0 if self._reasoning is None else 1, self._body)
        return self._body

    def _need_reasoning(self) -> ReasoningFold:
        if self._reasoning is None:
            self._reasoning = ReasoningFold(self._width, self)
            self._column.insertWidget(0, self._reasoning)
        return self._reasoning

    def _speak(self, text: str) -> None:
        self._heard += len(text)
        if QAccessible.isActive():
            self._announce(self._spoken.feed(self._unheard + text))
            self._unheard = ""

    def _announce(self, sentences: list[str]) -> None:
        if sentences and self.isVisible():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, " ".join(sentences)))

    @Slot()
    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(clean(self.message.content))

    @Slot()
    def _on_again_clicked(self) -> None:
        self.regenerate_requested.emit(self.message.id)

    @Slot()
    def _on_fork_clicked(self) -> None:
        self.fork_requested.emit(self.message.id)

    @Slot()
    def _on_go_on_clicked(self) -> None:
        self.continue_requested.emit(self.message.id)

    @Slot(object)
    def _on_card_action(self, action: Action) -> None:
        assert self._failure_card is not None
        if setting := self._failure_card.failure.setting:
            self.reload_requested.emit(self.message.id, setting)
        elif action is Action.REGENERATE:
            self.regenerate_requested.emit(self.message.id)
        elif action in _ABOUT_THE_REPLY:
            self.continue_requested.emit(self.message.id)
        else:
            self.action_triggered.emit(action)

    def _on_tool_allowed(self, call: ToolCall) -> None:
        self.tool_answered.emit(ToolAnswer(self.message, call))

    def _on_tool_always_allowed(self, call: ToolCall) -> None:
        self.tool_answered.emit(ToolAnswer(self.message, call, always=True))

    def _on_tool_declined(self, call: ToolCall) -> None:
        self.tool_answered.emit(ToolAnswer(self.message, call, declined=True))

    def _on_tool_answered(self, call: ToolCall, result: str) -> None:
        self.tool_answered.emit(ToolAnswer(self.message, call, result=result))
