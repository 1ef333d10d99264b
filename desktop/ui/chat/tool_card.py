"""Tool calls and their results, each a card of one line that opens."""

from __future__ import annotations

import json

import msgspec
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from desktop.domain.conversation import Message
from desktop.domain.generation import ToolCall
from desktop.services.tool_desk import ToolState
from desktop.ui.chat.fold import Fold
from desktop.ui.chat.long_text import LongText
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.icons import IconLabel
from desktop.ui.theme import SPACE, TYPE, font_of

_LINE = 80  # characters of the arguments on the line
_LAID_OUT = 20_000  # characters of JSON, at most, that get line ends


class ToolAnswer(msgspec.Struct, frozen=True):
    """What the user said to a call of this reply: run it, or don't, or the result of a tool of the user's own.

    always: never ask again for this tool.
    """

    message: Message
    call: ToolCall
    always: bool = False
    declined: bool = False
    result: str | None = None


class ToolCallCard(QFrame):
    """One call of the model, and what it waits for.

    Signals:
        allowed, always_allowed, declined: the user's consent, or not.
    answered: the result the user gave, for a tool of their own.
    """

    allowed = Signal()
    always_allowed = Signal()
    declined = Signal()
    answered = Signal(str)

    def __init__(self, call: ToolCall, width: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.call = call
        self._width = width
        self._state: ToolState | None = None
        self._field: QPlainTextEdit | None = None
        self.setObjectName("ToolCard")
        self.setAccessibleName(f"Tool call: {call.name}")
        self._fold = Fold(self)
        self._fold.set_line(f"{call.name}   {_one_line(call.arguments)}")
        self._fold.toggled.connect(self._on_opened)
        top = QHBoxLayout()
        top.setSpacing(SPACE[0])
        picture = QVBoxLayout()
        picture.setContentsMargins(0, 3, 0, 0)
        picture.addWidget(IconLabel("tool", 16, self))
        picture.addStretch(1)
        top.addLayout(picture)
        top.addWidget(self._fold, 1)
        self._question = QWidget(self)
        self._question.hide()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(SPACE[2], SPACE[1], SPACE[2], SPACE[1])
        self._column.setSpacing(SPACE[1])
        self._column.addLayout(top)
        self._column.addWidget(self._question)

    def set_state(self, state: ToolState | None) -> None:
        """What the call waits for; None when it has a result, or nothing is to be said yet."""
        if state is self._state:
            return
        self._state = state
        self._column.removeWidget(self._question)
        self._question.hide()
        self._question.deleteLater()
        self._field = None
        self._question = self._ask(state)
        self._column.addWidget(self._question)

    def _ask(self, state: ToolState | None) -> QWidget:
        box = QWidget(self)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        if state is ToolState.CONSENT:
            column.addWidget(_words(f"The model wants to use {self.call.name}.", box))
            _button("Allow in this chat", box, buttons, primary=True).clicked.connect(self.allowed)
            _button("Always allow", box, buttons).clicked.connect(self.always_allowed)
            _button("Decline", box, buttons).clicked.connect(self.declined)
        elif state is ToolState.ANSWER:
            column.addWidget(_words("This tool is yours: what is its result?", box))
            self._field = QPlainTextEdit(box)
            self._field.setAccessibleName(f"Result of {self.call.name}")
            self._field.setTabChangesFocus(True)
            self._field.setFixedHeight(72)
            column.addWidget(self._field)
            _button("Give the result", box, buttons, primary=True).clicked.connect(self._on_result_given)
            _button("Decline", box, buttons).clicked.connect(self.declined)
        elif state is ToolState.RUNNING:
            column.addWidget(_words("Running …", box))
        elif state is ToolState.PASSED:
            column.addWidget(_words("Not answered: the conversation went on.", box))
        else:
            box.hide()
            return box
        buttons.addStretch(1)
        column.addLayout(buttons)
        return box

    @Slot()
    def _on_result_given(self) -> None:
        if self._field is not None:
            self.answered.emit(self._field.toPlainText())

    @Slot(bool)
    def _on_opened(self, is_open: bool) -> None:
        self._fold.set_content(_text(_pretty(self.call.arguments), self._width, "Arguments") if is_open else None)


class ToolResultCard(QFrame):
    """The result of a call of this tool, or its error. tool: "" when it is not known which."""

    def __init__(self, result: str, tool: str, *, failed: bool, width: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._result = result
        self._width = width
        self.setObjectName("ToolCard")
        title = f"{'Error' if failed else 'Result'} of {_one_line(tool) or 'the tool'}"
        self.setAccessibleName(title)
        self._fold = Fold(self)
        self._fold.set_line(f"{title}   {_one_line(result)}")
        self._fold.toggled.connect(self._on_opened)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[2], SPACE[1], SPACE[2], SPACE[1])
        column.addWidget(self._fold)

    @Slot(bool)
    def _on_opened(self, is_open: bool) -> None:
        self._fold.set_content(_text(_pretty(self._result), self._width, "Result") if is_open else None)


def _one_line(text: str) -> str:
    line = " ".join(clean(text[: 4 * _LINE]).split())
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _pretty(text: str) -> str:
    """JSON with line ends, anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if len(text) <= _LAID_OUT else text
    except (ValueError, RecursionError):
        return text


def _text(text: str, width: int, name: str) -> LongText:
    view = LongText(width, name)
    view.set_text(text)
    return view


def _words(words: str, parent: QWidget) -> QLabel:
    label = QLabel(words, parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setFont(font_of(label, TYPE.body))
    return label


def _button(words: str, parent: QWidget, row: QHBoxLayout, *, primary: bool = False) -> QPushButton:
    button = QPushButton(words, parent)
    button.setProperty("primary", primary)
    button.setAccessibleName(words)
    row.addWidget(button)
    return button
