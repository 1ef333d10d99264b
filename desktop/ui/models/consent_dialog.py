"""Asks whether a model may run the program that it brings, and shows that program first."""

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

from desktop.storage.checkpoint_code import CodeReport
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.format import format_bytes
from desktop.ui.theme import SPACE

_SIZE = (820, 560)
_LIST_WIDTH = 260


class ConsentDialog(QDialog):
    """Signals:
    answered: the CodeReport, and whether it is allowed. Closing the dialog is not an answer.
    """

    answered = Signal(object, bool)

    def __init__(self, report: CodeReport, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._report = report
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("A model with its own program")
        self.resize(*_SIZE)
        words = QLabel(
            f"{name} can be loaded only by running Python code that comes with it. That code can do everything "
            "that you can do on this machine. Allow it only if you trust where it comes from; the answer holds for "
            "exactly these files.",
            self,
        )
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        self._files = QListWidget(self)
        self._files.setAccessibleName("Files that would be run")
        self._files.setFixedWidth(_LIST_WIDTH)
        for file in report.files:
            self._files.addItem(f"{file.name}  ({format_bytes(file.size)})")
        for repository in report.elsewhere:
            self._files.addItem(f"code of {repository}, from the network")
        self._text = QPlainTextEdit(self)
        self._text.setReadOnly(True)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
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
        known = 0 <= row < len(self._report.files)
        self._text.setPlainText(clean(self._report.files[row].text) if known else "Its text is not on this machine.")

    @Slot()
    def _on_allow_clicked(self) -> None:
        self.answered.emit(self._report, True)
        self.accept()

    @Slot()
    def _on_decline_clicked(self) -> None:
        self.answered.emit(self._report, False)
        self.reject()
