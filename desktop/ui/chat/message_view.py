"""What every message on screen has in common; ConversationView knows no more of them than this."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.domain.conversation import Message
from desktop.services.tool_desk import ToolState
from desktop.ui.chat.message_editor import LONGEST, MessageEditor


class MessageView(QWidget):
    """One message. Exists only while it is near what is in sight; its height is its sizeHint or heightForWidth.

    Signals:
        continue_requested: go on with this reply (its message id).
        reload_requested: the same after a load with another setting (Failure.setting).
        action_triggered: an Action that is not about this reply alone.
        link_activated: the address of a clicked link.
        edit_requested: message id and the new text.
        edit_begun: message id. edit_ended: it is not being edited any more.
        regenerate_requested, fork_requested: message id.
        sibling_requested: the id of the message, and -1 for the sibling before or 1 for the one after.
        tool_answered: a ToolAnswer.
        drag_left: see Pointer; scroll by about so many pixels.
        height_changed: it wants another height by itself. (One that a layout reports is noticed without this.)
        shifted: message id, y, pixels: what stands at y and below it, in own coordinates, has moved down by so many.
            Keeps what is read in place when something above it inside a long message takes another height.
    """

    continue_requested = Signal(int)
    reload_requested = Signal(int, object)
    action_triggered = Signal(object)
    link_activated = Signal(str)
    edit_requested = Signal(int, str)
    edit_begun = Signal(int)
    edit_ended = Signal()
    regenerate_requested = Signal(int)
    fork_requested = Signal(int)
    sibling_requested = Signal(int, int)
    tool_answered = Signal(object)
    drag_left = Signal(int)
    height_changed = Signal()
    shifted = Signal(int, int, int)

    def __init__(self, message: Message, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.message = message
        self._editor: MessageEditor | None = None
        self._edited: QWidget | None = None

    @property
    def has_selection(self) -> bool:
        """Whether the user would lose something with this widget: selected text, or an edit that is begun."""
        return self._editor is not None

    @property
    def edited_text(self) -> str | None:
        """What the user has written so far in place of this message; None when it is not being edited."""
        return None if self._editor is None else self._editor.edit.toPlainText()

    def set_edited_text(self, text: str) -> None:
        """Put this text into the editor."""
        if self._editor is not None:
            self._editor.edit.setPlainText(text)
            self._editor.edit.moveCursor(self._editor.edit.textCursor().MoveOperation.End)

    def set_message(self, message: Message) -> None:
        """Show what the message has become."""
        self.message = message

    def append_text(self, text: str) -> None:
        """Show more of a reply that is being written."""

    def append_reasoning(self, text: str) -> None:
        """Show more of the reasoning of a reply that is being written."""

    def set_progress(self, words: str) -> None:
        """Say how the writing goes."""

    def set_last(self, is_last: bool) -> None:
        """Whether this is the last message of the conversation."""

    def set_siblings(self, position: int, count: int) -> None:
        """Which of its siblings this message is, from 1, and how many there are with it."""

    def set_visible_range(self, top: int, bottom: int) -> None:
        """What is in sight, from top to bottom in own coordinates; outside 0 to height() when that is elsewhere."""

    def show_tool_states(self, states: Mapping[str, ToolState]) -> None:
        """What each tool call that has no result waits for, by the call's id."""

    def edit(self) -> None:
        """Let the user write this message anew."""

    def position_of(self, offset: int) -> int:
        """Where the character at this offset of the content is: y in own coordinates, in pixels."""
        return 0

    def take_width(self, width: int) -> None:
        """Fit into a column of this width, in pixels."""

    @property
    def _is_editable(self) -> bool:
        return len(self.message.content) <= LONGEST

    def _begin_edit(self, edited: QWidget, column: QVBoxLayout, save_words: str) -> None:
        """Put an editor into this column in place of the widget that shows the message's text."""
        if self._editor is None and self._is_editable:
            self._editor = MessageEditor(self.message.content, save_words, self)
            self._editor.saved.connect(self._on_edit_saved)
            self._editor.cancelled.connect(self._end_edit)
            self._edited = edited
            column.insertWidget(column.indexOf(edited), self._editor)
            edited.hide()
            self._editor.edit.setFocus()
            self.edit_begun.emit(self.message.id)

    @Slot()
    def _end_edit(self) -> None:
        if self._editor is not None and self._edited is not None:
            self._editor.hide()
            self._editor.deleteLater()
            self._editor = None
            self._edited.setVisible(bool(self.message.content))
            self.edit_ended.emit()

    @Slot(str)
    def _on_edit_saved(self, text: str) -> None:
        self._end_edit()
        # What the user wrote can be sent again as it is.
        if text != self.message.content or self.message.role == "user":
            self.edit_requested.emit(self.message.id, text)

    @Slot(int)
    def _on_sibling_requested(self, step: int) -> None:
        self.sibling_requested.emit(self.message.id, step)
