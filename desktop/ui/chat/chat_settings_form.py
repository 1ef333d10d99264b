"""How a conversation talks to the model, as controls whose range cannot be left."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from desktop.domain.conversation import ChatSettings, WhenFull
from desktop.domain.generation import SamplingParams, ToolSpec
from desktop.domain.json_schema import read_schema
from desktop.ui.controls import ChoiceBox, DecimalBox, NumberBox, TickBox
from desktop.ui.theme import SPACE, TYPE, font_of

_SETTLE_MILLISECONDS = 400
_CHECKED = 10_000  # characters of a schema; a longer one would hold up the typing, and the engine checks it too
_TEXT_HEIGHT = 76
_READ_FILE = "read_file"
_WHEN_FULL = (("Leave out the oldest turns", WhenFull.LEAVE_OUT), ("Stop and say so", WhenFull.STOP))
Control = TypeVar("Control", bound=QWidget)
_THINKING = (("As the model does", None), ("Think first", True), ("Answer at once", False))


class ChatSettingsForm(QWidget):
    """Edits a ChatSettings value; reads and writes nothing.

    Signals:
        settings_changed: the new ChatSettings, a moment after the last change.
        tool_requested: a tool of the user's own is to be declared.
        tool_removed: the name of one that is to go.
    """

    settings_changed = Signal(object)
    tool_requested = Signal()
    tool_removed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = ChatSettings()
        self._quiet = False
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MILLISECONDS)
        self._settle.timeout.connect(self.flush)
        self._tools: dict[str, TickBox] = {}
        self._tool_column = QVBoxLayout()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[0])
        self._build()
        self.show_settings(self._settings)

    @property
    def settings(self) -> ChatSettings:
        """As they are on screen."""
        return self._read()

    def show_settings(self, settings: ChatSettings) -> None:
        """Show these, and forget what was edited before."""
        self._settle.stop()
        self._settings = settings
        self._quiet = True
        params = settings.params
        self._system_prompt.setPlainText(settings.system_prompt)
        self._as_recommended.setChecked(settings.as_recommended)
        self._temperature.setValue(params.temperature)
        self._top_p.setValue(params.top_p)
        self._top_k.setValue(params.top_k)
        self._min_p.setValue(params.min_p)
        self._repetition_penalty.setValue(params.repetition_penalty)
        self._max_new_tokens.setValue(params.max_new_tokens or 0)
        self._seed.setValue(-1 if params.seed is None else params.seed)
        self._stop.setPlainText("\n".join(word.replace("\n", "\\n") for word in params.stop))
        self._thinking.setCurrentIndex([value for _, value in _THINKING].index(settings.thinking))
        self._when_full.setCurrentIndex([value for _, value in _WHEN_FULL].index(settings.when_full))
        self._schema.setPlainText(settings.json_schema)
        self._show_files(settings.files)
        for name, box in self._tools.items():
            box.setChecked(name in settings.tools)
        self._quiet = False
        self._on_recommended_toggled(settings.as_recommended)
        self._on_schema_edited()

    def show_tools(self, specs: tuple[ToolSpec, ...], custom: frozenset[str]) -> None:
        """The tools there are. custom: the names of those the user declared, which can be removed again."""
        while item := self._tool_column.takeAt(0):
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self._tools.clear()
        for spec in specs:
            box = TickBox(spec.name, self)
            box.setToolTip(_tip(spec.description))
            box.setAccessibleName(f"Tool {spec.name}")
            box.setChecked(spec.name in self._settings.tools)
            box.toggled.connect(self._on_edited)
            if spec.name in custom:
                box.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
                remove = box.addAction(f"Remove the tool {spec.name}")
                remove.setData(spec.name)
                remove.triggered.connect(self._on_remove_triggered)
            self._tools[spec.name] = box
            self._tool_column.addWidget(box)

    @Slot()
    def flush(self) -> None:
        """Emit at once what was changed."""
        self._settle.stop()
        changed = self._read()
        if changed != self._settings:
            self._settings = changed
            self.settings_changed.emit(changed)

    def _build(self) -> None:
        self._system_prompt = self._text("System prompt", "Told to the model before the conversation begins.")
        self._system_prompt.setPlaceholderText("For example: Answer briefly.")
        self._as_recommended = self._tick(
            "Sample as the model recommends",
            "Takes temperature, top-p, top-k, min-p and repetition penalty from the model's generation_config.json, "
            "where there is one. Otherwise those below are used.",
        )
        self._as_recommended.toggled.connect(self._on_recommended_toggled)
        self._temperature = self._decimal(
            "Temperature", (0.0, 2.0, 0.1), "How freely words are chosen. 0 always takes the likeliest. 0 to 2."
        )
        self._top_p = self._decimal(
            "Top-p",
            (0.01, 1.0, 0.05),
            "Choose among the likeliest words that together have this probability. 0.01 to 1.",
        )
        self._top_k = self._whole(
            "Top-k",
            (0, 1024, 1),
            "Choose among so many likeliest words. 0 to 1,024, 0 for no limit.",
            special="No limit",
        )
        self._min_p = self._decimal(
            "Min-p", (0.0, 1.0, 0.01), "Leave out words less likely than this share of the likeliest one's. 0 to 1."
        )
        self._repetition_penalty = self._decimal(
            "Repetition penalty",
            (0.01, 2.0, 0.05),
            "Above 1 makes words that were used already less likely, below 1 more likely. 0.01 to 2, 1 is off.",
        )
        self._max_new_tokens = self._whole(
            "Longest reply",
            (0, 10_000_000, 256),
            "A reply is cut off after so many tokens. 0 lets it go on until the context is full. 0 to 10,000,000.",
            special="Until the context is full",
            suffix=" tokens",
        )
        self._seed = self._whole(
            "Seed",
            (-1, 2_147_483_647, 1),
            "The same seed, prompt and settings give the same reply. -1 draws another each time. Up to 2,147,483,647.",
            special="A new one each time",
        )
        self._stop = self._text(
            "Stop words", "One a line; the reply ends before the first of them. \\n stands for a line end."
        )
        self._thinking = self._add(
            "Thinking", ChoiceBox(self), "Whether a model that can choose thinks before it answers."
        )
        for words, _ in _THINKING:
            self._thinking.addItem(words)
        self._thinking.currentIndexChanged.connect(self._on_edited)
        self._when_full = self._add(
            "When the context is full",
            ChoiceBox(self),
            "What is done when the conversation grows too long for the model. Leaving out the oldest turns keeps the "
            "system prompt, the newest message, and room for the reply: as much as the longest reply may take, and a "
            "quarter of the context at most. They stay in the conversation.",
        )
        for words, _ in _WHEN_FULL:
            self._when_full.addItem(words)
        self._when_full.currentIndexChanged.connect(self._on_edited)
        self._schema = self._text(
            "JSON schema", "The reply is then a JSON value that obeys this schema. Empty for free text."
        )
        self._schema.setPlaceholderText('{"type": "object", …}')
        self._schema.textChanged.connect(self._on_schema_edited)
        self._schema_problem = QLabel(self)
        self._schema_problem.setTextFormat(Qt.TextFormat.PlainText)
        self._schema_problem.setWordWrap(True)
        self._schema_problem.setFont(font_of(self._schema_problem, TYPE.small))
        self._schema_problem.hide()
        self._column.addWidget(self._schema_problem)
        self._label("Tools", "What the model may call. Each asks before it runs for the first time in a conversation.")
        self._tool_column.setSpacing(SPACE[0])
        self._column.addLayout(self._tool_column)
        declare = QPushButton("Declare a tool…", self)
        declare.setAccessibleName("Declare a tool")
        declare.clicked.connect(self.tool_requested)
        self._column.addWidget(declare, 0, Qt.AlignmentFlag.AlignLeft)
        self._label("Files the model may read", "With the tool read_file, and only these.")
        self._files = QLabel(self)
        self._files.setTextFormat(Qt.TextFormat.PlainText)
        self._files.setWordWrap(True)
        self._files.setProperty("dim", True)
        self._column.addWidget(self._files)
        pick = QPushButton("Pick files…", self)
        pick.setAccessibleName("Pick files that the model may read")
        pick.clicked.connect(self._on_pick_clicked)
        self._column.addWidget(pick, 0, Qt.AlignmentFlag.AlignLeft)
        self._picked: tuple[str, ...] = ()

    def _read(self) -> ChatSettings:
        schema = self._schema.toPlainText().strip()
        return msgspec.structs.replace(
            self._settings,
            system_prompt=self._system_prompt.toPlainText(),
            as_recommended=self._as_recommended.isChecked(),
            params=SamplingParams(
                max_new_tokens=self._max_new_tokens.value() or None,
                temperature=round(self._temperature.value(), 2),
                top_p=round(self._top_p.value(), 2),
                top_k=self._top_k.value(),
                min_p=round(self._min_p.value(), 2),
                repetition_penalty=round(self._repetition_penalty.value(), 2),
                seed=None if self._seed.value() < 0 else self._seed.value(),
                stop=tuple(w.replace("\\n", "\n") for w in self._stop.toPlainText().split("\n") if w),
            ),
            json_schema=self._settings.json_schema if _schema_problem(schema) else schema,
            tools=(
                *(name for name, box in self._tools.items() if box.isChecked()),
                *(name for name in self._settings.tools if name not in self._tools),
            ),
            files=self._picked,
            thinking=_THINKING[self._thinking.currentIndex()][1],
            when_full=_WHEN_FULL[self._when_full.currentIndex()][1],
        )

    def _label(self, words: str, tip: str) -> QLabel:
        if self._column.count():
            self._column.addSpacing(SPACE[1])
        label = QLabel(words, self)
        label.setFont(font_of(label, TYPE.body, bold=True))
        label.setToolTip(_tip(tip))
        self._column.addWidget(label)
        return label

    def _add(self, words: str, control: Control, tip: str) -> Control:
        label = self._label(words, tip)
        label.setBuddy(control)
        control.setToolTip(_tip(tip))
        control.setAccessibleName(words)
        control.setAccessibleDescription(tip)
        self._column.addWidget(control)
        return control

    def _text(self, words: str, tip: str) -> QPlainTextEdit:
        edit = self._add(words, QPlainTextEdit(self), tip)
        edit.setFixedHeight(_TEXT_HEIGHT)
        edit.setTabChangesFocus(True)
        edit.textChanged.connect(self._on_edited)
        return edit

    def _tick(self, words: str, tip: str) -> TickBox:
        box = TickBox(words, self)
        box.setToolTip(_tip(tip))
        box.setAccessibleName(words)
        box.setAccessibleDescription(tip)
        box.toggled.connect(self._on_edited)
        self._column.addSpacing(SPACE[1])
        self._column.addWidget(box)
        return box

    def _decimal(self, words: str, bounds: tuple[float, float, float], tip: str) -> DecimalBox:
        box = self._add(words, DecimalBox(self), tip)
        box.setRange(*bounds[:2])
        box.setSingleStep(bounds[2])
        box.valueChanged.connect(self._on_edited)
        return box

    def _whole(
        self, words: str, bounds: tuple[int, int, int], tip: str, *, special: str, suffix: str = ""
    ) -> NumberBox:
        box = self._add(words, NumberBox(self), tip)
        box.setRange(*bounds[:2])
        box.setSingleStep(bounds[2])
        box.setSpecialValueText(special)
        box.setSuffix(suffix)
        box.setGroupSeparatorShown(True)
        box.valueChanged.connect(self._on_edited)
        return box

    def _show_files(self, files: tuple[str, ...]) -> None:
        self._picked = files
        self._files.setText("\n".join(Path(file).name for file in files) or "None")

    @Slot()
    def _on_edited(self) -> None:
        if not self._quiet:
            self._settle.start()

    @Slot(bool)
    def _on_recommended_toggled(self, recommended: bool) -> None:
        for box in (self._temperature, self._top_p, self._top_k, self._min_p, self._repetition_penalty):
            box.setEnabled(not recommended)

    @Slot()
    def _on_schema_edited(self) -> None:
        problem = _schema_problem(self._schema.toPlainText().strip())
        self._schema_problem.setText(problem)
        self._schema_problem.setVisible(bool(problem))

    @Slot()
    def _on_remove_triggered(self) -> None:
        action = self.sender()
        if isinstance(action, QAction):
            self.tool_removed.emit(action.data())

    @Slot()
    def _on_pick_clicked(self) -> None:
        from PySide6.QtWidgets import QFileDialog

        dialog = QFileDialog(self, "Files the model may read")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.filesSelected.connect(self._on_files_picked)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(list)
    def _on_files_picked(self, files: list[str]) -> None:
        self._show_files(tuple(dict.fromkeys((*self._picked, *files))))
        if _READ_FILE in self._tools:
            self._tools[_READ_FILE].setChecked(True)
        self._settle.start()


def _schema_problem(text: str) -> str:
    """Why this is no JSON schema, in a sentence; "" when it is one, or nothing."""
    if not text or len(text) > _CHECKED:
        return ""
    try:
        read_schema(text)
    except ValueError as problem:
        return f"Not in force yet: {problem}."
    return ""


def _tip(words: str) -> str:
    """A tooltip that wraps: Qt breaks the lines of rich text only."""
    escaped = words.replace("&", "&amp;").replace("<", "&lt;")
    return f"<qt>{escaped}</qt>"
