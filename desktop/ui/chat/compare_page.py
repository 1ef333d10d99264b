"""One prompt to two settings, side by side, and where the replies part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.domain.conversation import ChatSettings, Message
from desktop.domain.counting import counted
from desktop.domain.engine_config import EngineConfig
from desktop.services.chats import Chats
from desktop.services.comparison import Comparison, Side, with_kv_precision
from desktop.services.engine_host import EngineHost
from desktop.ui.chat import presets
from desktop.ui.chat.conversation_view import ConversationView
from desktop.ui.chat.message_edit import MessageEdit
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.controls import ChoiceBox
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of

_DEFAULTS = "As on the settings page"
_PRECISIONS = (("As it is loaded", 0), ("KV cache 16 bit", 16), ("KV cache int8", 8), ("KV cache int4", 4))
_AROUND = 40  # characters shown on each side of the point


@dataclass(frozen=True, slots=True)
class _Column:
    settings: ChoiceBox
    precision: ChoiceBox
    view: ConversationView


class ComparePage(QWidget):
    """Signals:
    closed: back to the chat.
    """

    closed = Signal()

    def __init__(self, chats: Chats, host: EngineHost, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._host = host
        self._presets: dict[str, ChatSettings] = {}
        self._config = EngineConfig()
        self._told: tuple[int, bool] | None = None  # the parting on screen, and whether more may come
        self.comparison = Comparison(chats, host, self)
        self.columns = tuple(self._column(name) for name in ("A", "B"))
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.RichText)
        self._words.setWordWrap(True)
        self._words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._words.setAccessibleName("Where the replies part")
        self.edit = MessageEdit(self)
        self.edit.setAccessibleName("Prompt for both")
        self.edit.setPlaceholderText("One prompt for both …")
        self.edit.submitted.connect(self.submit)
        self.button = QPushButton("Compare", self)
        self.button.setProperty("primary", True)
        self.button.setIconSize(QSize(16, 16))
        self.button.clicked.connect(self._on_button_clicked)
        back = QPushButton("Back to the chat", self)
        back.setAccessibleName("Back to the chat")
        back.clicked.connect(self.closed)
        self._lay_out(back)
        self.comparison.begun.connect(self._on_begun)
        self.comparison.changed.connect(self._show_parting)
        self.comparison.ended.connect(self._on_ended)
        library = chats.library
        library.message_added.connect(self._on_message_added)
        library.message_changed.connect(self._on_message_changed)
        chats.text_appended.connect(self._on_text_appended)
        chats.reasoning_appended.connect(self._on_reasoning_appended)
        self.show_presets({})
        self._show_parting()

    def _column(self, name: str) -> _Column:
        settings, precision, view = ChoiceBox(self), ChoiceBox(self), ConversationView(self)
        settings.setAccessibleName(f"Settings of side {name}")
        settings.setToolTip("Sampling and system prompt")
        precision.setAccessibleName(f"Precision of side {name}")
        precision.setToolTip("Another precision loads the model anew, first for A, then for B")
        precision.addItems([words for words, _ in _PRECISIONS])
        view.setAccessibleName(f"Conversation of side {name}")
        return _Column(settings, precision, view)

    def _lay_out(self, back: QPushButton) -> None:
        sides = QHBoxLayout()
        sides.setSpacing(0)
        for number, column in enumerate(self.columns):
            top = QHBoxLayout()
            top.setContentsMargins(SPACE[3], SPACE[2], SPACE[3], SPACE[1])
            top.setSpacing(SPACE[1])
            label = QLabel("AB"[number], self)
            label.setFont(font_of(label, TYPE.title, bold=True))
            top.addWidget(label)
            top.addWidget(column.settings, 1)
            top.addWidget(column.precision, 1)
            side = QVBoxLayout()
            side.setSpacing(0)
            side.addLayout(top)
            side.addWidget(column.view, 1)
            if number:
                line = QFrame(self)
                line.setObjectName("Divider")
                line.setFixedWidth(1)
                sides.addWidget(line)
            sides.addLayout(side, 1)
        bottom = QHBoxLayout()
        bottom.setContentsMargins(SPACE[3], SPACE[1], SPACE[3], SPACE[2])
        bottom.setSpacing(SPACE[1])
        bottom.addWidget(back)
        field = QFrame(self)
        field.setObjectName("Field")
        inside = QHBoxLayout(field)
        inside.setContentsMargins(SPACE[2], SPACE[1], SPACE[2], SPACE[1])
        inside.addWidget(self.edit)
        bottom.addWidget(field, 1)
        bottom.addWidget(self.button)
        words = QHBoxLayout()
        words.setContentsMargins(SPACE[3], SPACE[1], SPACE[3], 0)
        words.addWidget(self._words)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.setSpacing(0)
        page.addLayout(sides, 1)
        page.addLayout(words)
        page.addLayout(bottom)

    def show_presets(self, known: Mapping[str, ChatSettings]) -> None:
        """The user's presets there are."""
        self._presets = dict(known)
        names = [_DEFAULTS, *presets.names(self._presets)]
        for number, column in enumerate(self.columns):
            chosen = column.settings.currentText()
            column.settings.clear()
            column.settings.addItems(names)
            first = column.settings.findText(chosen) if chosen else number  # two different ones to begin with
            column.settings.setCurrentIndex(max(first, 0))

    def set_config(self, config: EngineConfig) -> None:
        """The configuration of the next load, from which the precisions depart."""
        self._config = config

    @Slot()
    def submit(self) -> None:
        """Send the prompt to both."""
        prompt = self.edit.toPlainText()
        if not prompt.strip() or self.comparison.is_running:
            return
        left, right = (self._side(column) for column in self.columns)
        if refusal := self.comparison.refusal(left, right):
            self._words.setText(refusal)
            return
        self._told = None
        for column in self.columns:
            column.view.show_messages([])
        self.comparison.start(prompt, left, right, self._config)
        self._show_parting()

    def _side(self, column: _Column) -> Side:
        name = column.settings.currentText()
        settings = presets.chosen(name, self._presets, self._chats.defaults) or self._chats.defaults
        bits = _PRECISIONS[column.precision.currentIndex()][1]
        return Side(settings, with_kv_precision(self._config, bits) if bits else None)

    def _shown(self, message: Message) -> ConversationView | None:
        for number, column in enumerate(self.columns):
            if self.comparison.conversation(number) == message.conversation_id:
                return column.view
        return None

    @Slot(int)
    def _on_begun(self, side: int) -> None:
        conversation = self.comparison.conversation(side)
        if conversation is not None:
            self.columns[side].view.show_messages(self._chats.messages(conversation))
        self._show_parting()

    @Slot(object)
    def _on_message_added(self, message: Message) -> None:
        if (view := self._shown(message)) is not None:
            view.add_message(message)

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if (view := self._shown(message)) is not None:
            view.change_message(message)

    @Slot(int, str, int)
    def _on_text_appended(self, message_id: int, text: str, _tokens: int) -> None:
        for side, column in enumerate(self.columns):
            if self.comparison.reply_id(side) == message_id:
                column.view.append_text(message_id, text)

    @Slot(int, str, int)
    def _on_reasoning_appended(self, message_id: int, text: str, _tokens: int) -> None:
        for side, column in enumerate(self.columns):
            if self.comparison.reply_id(side) == message_id:
                column.view.append_reasoning(message_id, text)

    @Slot()
    def _on_ended(self) -> None:
        self._show_parting()

    @Slot()
    def _on_button_clicked(self) -> None:
        if self.comparison.is_running:
            self.comparison.stop()
        else:
            self.submit()

    @Slot()
    def _show_parting(self) -> None:
        running = self.comparison.is_running
        self.button.setText("Stop" if running else "Compare")
        self.button.setAccessibleName("Stop both replies" if running else "Send the prompt to both")
        self.button.setIcon(icon("stop" if running else "compare", Tint.HighlightedText))
        point = self.comparison.parting
        if point is None:
            words = "The replies are the same, word for word." if self.comparison.are_same else ""
            if running:
                words = "No difference yet." if self.comparison.text(1) else "Writing …"
            self._words.setText(words or "Choose two settings, and ask both the same.")
        elif (point, running) != self._told:
            self._told = point, running
            common = self.comparison.text(0)[max(point - _AROUND, 0) : point]
            after = [self._words_from(side, point) for side in (0, 1)]
            self._words.setText(
                f"The replies part after <b>{counted(point, 'character')}</b>: …{_escaped(common)} "
                f"<b>▸ A:</b> {after[0]} <b>▸ B:</b> {after[1]}"
            )
            for side, column in enumerate(self.columns):
                if not running and (reply := self.comparison.reply_id(side)) is not None:
                    column.view.jump_to(reply, point)

    def _words_from(self, side: int, point: int) -> str:
        if words := self.comparison.text(side)[point : point + _AROUND]:
            return _escaped(words)
        return "(ends here)" if self.comparison.is_whole(side) else "(was cut off here)"


def _escaped(text: str) -> str:
    line = " ".join(clean(text).split("\n"))
    return line.replace("&", "&amp;").replace("<", "&lt;")
