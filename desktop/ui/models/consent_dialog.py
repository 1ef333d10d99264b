"""Asks whether a model may run the program that it brings, and its pickles be opened; shows first what they are."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.counting import counted
from desktop.domain.one_line import one_line
from desktop.storage.checkpoint_code import CodeReport
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.format import format_bytes
from desktop.ui.theme import SPACE

_SIZE = (940, 560)
_LIST_WIDTH = 380  # the name that libraries give one of several files, and its size

_PICKLE = (
    "A pickle is not only numbers. It is a list of instructions for Python: which functions to call, and with what. In "
    "most models they only make tensors. A file that was made for it can name any function there is: to read your "
    "files, to send them away, to delete them, to install a program that stays.\n\n"
    "It cannot be shown here, because it is not text.\n\n"
    "If you allow it, the file is opened in the engine's process, by PyTorch's reader for weights only, which makes "
    "tensors and calls nothing else. A file that asks for more is not loaded, and you are told what it asked for. That "
    "reader has had errors before, which is why you are asked.\n\n"
    "The same model as .safetensors files needs none of this."
)


class ConsentDialog(QDialog):
    """Signals:
    answered: the CodeReport, and whether it is allowed. Closing the dialog is not an answer.
    """

    answered = Signal(object, bool)

    def __init__(self, report: CodeReport, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._report = report
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(_title(report))
        self.resize(*_SIZE)
        words = QLabel(_question(report, name), self)
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        self._files = QListWidget(self)
        self._files.setAccessibleName(_files_name(report))
        self._files.setFixedWidth(_LIST_WIDTH)
        for file in report.files:
            self._files.addItem(f"{file.name}  ({format_bytes(file.size)})")
        for repository in report.elsewhere:
            self._files.addItem(f"code of {repository}, from the network")
        for pickle in report.pickles:
            self._files.addItem(f"{one_line(pickle.name, 200)}  ({format_bytes(pickle.size)}, pickle)")
        self._text = QPlainTextEdit(self)
        self._text.setReadOnly(True)
        self._text.setAccessibleName("Text of the file")
        self._files.currentRowChanged.connect(self._on_file_chosen)
        middle = QHBoxLayout()
        middle.setSpacing(SPACE[1])
        middle.addWidget(self._files)
        middle.addWidget(self._text, 1)
        self._allow = QPushButton("Allow and load", self)
        self._allow.clicked.connect(self._on_allow_clicked)
        decline = QPushButton("Do not load it", self)
        decline.setProperty("primary", True)
        decline.setDefault(True)
        decline.clicked.connect(self._on_decline_clicked)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self._allow)
        buttons.addWidget(decline)
        column = QVBoxLayout(self)
        column.setSpacing(SPACE[2])
        column.addWidget(words)
        column.addLayout(middle, 1)
        column.addLayout(buttons)
        self._files.setCurrentRow(0)

    @Slot(int)
    def _on_file_chosen(self, row: int) -> None:
        report = self._report
        code = len(report.files)
        if 0 <= row < code:
            self._text.setPlainText(clean(report.files[row].text))
        elif row < code + len(report.elsewhere):
            self._text.setPlainText("Its text is not on this machine.")
        else:
            self._text.setPlainText(_PICKLE)
        # Code keeps its lines; an explanation is read.
        mode = QPlainTextEdit.LineWrapMode
        self._text.setLineWrapMode(mode.NoWrap if row < code else mode.WidgetWidth)

    @Slot()
    def _on_allow_clicked(self) -> None:
        self.answered.emit(self._report, True)
        self.accept()

    @Slot()
    def _on_decline_clicked(self) -> None:
        self.answered.emit(self._report, False)
        self.reject()


def _title(report: CodeReport) -> str:
    code = bool(report.files or report.elsewhere)
    if code and report.pickles:
        return "A model with its own program and pickle weights"
    return "A model with its own program" if code else "A model with pickle weights"


def _question(report: CodeReport, name: str) -> str:
    if not report.pickles:
        words = (
            f"{name} can be loaded only by running Python code that comes with it. That code can do everything that "
            "you can do on this machine."
        )
    elif not report.files and not report.elsewhere:
        words = (
            f"The weights of {name} are in {counted(len(report.pickles), 'pickle file')}. Such a file can hold "
            "instructions to run programs beside the weights; Turbodesk lets it make tensors and refuses everything "
            "else."
        )
    else:
        words = (
            f"{name} can be loaded only by running Python code that comes with it, which can do everything that you "
            f"can do on this machine. Its weights are in {counted(len(report.pickles), 'pickle file')}, which can hold "
            "instructions to run programs too."
        )
    return f"{words} Allow it only if you trust where it comes from; the answer holds for exactly these files."


def _files_name(report: CodeReport) -> str:
    if not report.pickles:
        return "Files that would be run"
    return "Files that would be run or opened" if report.files or report.elsewhere else "Files that would be opened"
