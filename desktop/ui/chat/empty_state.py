"""What stands where no conversation is open: what to do first, and how the model is."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.icons import icon
from desktop.ui.theme import SPACE, TYPE, font_of
from desktop.ui.words import engine_line

EXAMPLES = (
    "What is the KV cache?",
    "How do I load a model?",
    "What can I do when video memory runs out?",
    "KV 缓存是什么？",
)


class EmptyState(QWidget):
    """Signals:
    question_chosen: an example was clicked.
    demo_requested, folder_requested, server_requested: which model to load.
    """

    question_chosen = Signal(str)
    demo_requested = Signal()
    folder_requested = Signal()
    server_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading = QLabel(self)
        self._heading.setFont(font_of(self._heading, TYPE.heading, bold=True))
        self._words = QLabel(self)
        self._words.setProperty("dim", True)
        for label in (self._heading, self._words):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            label.setWordWrap(True)
        self._progress = QProgressBar(self)
        self._progress.setTextVisible(False)
        self._progress.setFixedSize(240, 4)
        self._progress.setAccessibleName("Loading")
        self._load_demo = self._button("Load the demo model", primary=True)
        self._load_demo.clicked.connect(self.demo_requested)
        self._open_folder = self._button("Open a model folder…")
        self._open_folder.setIcon(icon("folder"))
        self._open_folder.setIconSize(QSize(16, 16))
        self._open_folder.clicked.connect(self.folder_requested)
        self._connect = self._button("Connect to a server…")
        self._connect.clicked.connect(self.server_requested)
        loading = QHBoxLayout()
        loading.setSpacing(SPACE[1])
        loading.addStretch(1)
        loading.addWidget(self._load_demo)
        loading.addWidget(self._open_folder)
        loading.addStretch(1)
        self._examples_title = QLabel("Or ask right away", self)
        self._examples_title.setProperty("dim", True)
        self._examples_title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._examples = [self._button(question) for question in EXAMPLES]
        self._has_examples = True
        middle = Qt.AlignmentFlag.AlignHCenter
        column = self._column = QVBoxLayout(self)
        column.setSpacing(SPACE[1])
        column.addStretch(2)
        column.addWidget(self._heading)
        column.addWidget(self._words)
        column.addSpacing(SPACE[1])
        column.addWidget(self._progress, 0, middle)
        column.addLayout(loading)
        column.addWidget(self._connect, 0, middle)
        column.addSpacing(SPACE[3])
        column.addWidget(self._examples_title)
        for question, button in zip(EXAMPLES, self._examples, strict=True):
            button.clicked.connect(partial(self.question_chosen.emit, question))
            column.addWidget(button, 0, middle)
        column.addStretch(3)

    def show_status(self, status: EngineStatus, name: str, *, is_demo: bool) -> None:
        """Say what fits the engine's state. name: of the model there is or would be."""
        absent = status.state in (EngineState.UNLOADED, EngineState.STOPPING)
        heading, words = "Chat with a model on this machine", "No model is loaded yet."
        if status.state is EngineState.LOADING:
            heading = f"Loading {name}"
            words = f"{engine_line(status)}\nYou can write already: the message is sent when the model is ready."
        elif status.state is EngineState.READY:
            heading = f"Ask {name} something"
            label = status.checkpoint.label if status.checkpoint is not None else ""
            words = "\n".join(line for line in (label, engine_line(status)) if line)
        elif status.state is EngineState.FAILED:
            heading, words = f"{name[:1].upper()}{name[1:]} is not loaded", "What happened stands below."
        self._heading.setText(heading)
        self._words.setText(words)
        fraction = status.progress.fraction if status.progress is not None else None
        self._progress.setRange(0, 0 if fraction is None else 1_000)
        self._progress.setValue(round((fraction or 0) * 1_000))
        self._progress.setVisible(status.state is EngineState.LOADING)
        for button in (self._load_demo, self._open_folder, self._connect):
            button.setVisible(absent or status.state is EngineState.FAILED)
        self._examples_title.setVisible(absent and is_demo)
        self._has_examples = is_demo and status.state is not EngineState.FAILED
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """As many examples as have room: pressed together none could be read."""
        for button in self._examples:
            button.setVisible(self._has_examples)
        for button in reversed(self._examples):
            self._column.invalidate()
            if self._column.minimumSize().height() <= self.height():
                break
            button.hide()

    def _button(self, words: str, *, primary: bool = False) -> QPushButton:
        button = QPushButton(words, self)
        button.setAccessibleName(words)
        button.setProperty("primary", primary)
        return button
