"""Where the user declares a tool of their own, in JSON."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from desktop.tools import check_tool_spec
from desktop.ui.theme import SPACE

_EXAMPLE = """\
{
  "name": "weather",
  "description": "The weather in a city now.",
  "parameters": {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"]
  }
}"""


class ToolDialog(QDialog):
    """Cannot be left with a declaration that is none.

    Signals:
        declared: the ToolSpec.
    """

    declared = Signal(object)

    def __init__(self, taken: frozenset[str], parent: QWidget | None = None) -> None:
        """taken: names of built-in tools, which no other may bear."""
        super().__init__(parent)
        self._taken = taken
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Declare a tool")
        words = QLabel(
            "The model is told of this tool and may call it. When it does, you are asked for the result, which then "
            "goes back to the model.",
            self,
        )
        words.setWordWrap(True)
        self._edit = QPlainTextEdit(_EXAMPLE, self)
        self._edit.setAccessibleName("Declaration of the tool, in JSON")
        self._edit.textChanged.connect(self._on_edited)
        self._problem = QLabel(self)
        self._problem.setTextFormat(Qt.TextFormat.PlainText)
        self._problem.setWordWrap(True)
        self._declare = QPushButton("Declare", self)
        self._declare.setProperty("primary", True)
        self._declare.setDefault(True)
        self._declare.clicked.connect(self._on_declare_clicked)
        cancel = QPushButton("Cancel", self)
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._declare)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[3], SPACE[3], SPACE[3])
        column.setSpacing(SPACE[1])
        column.addWidget(words)
        column.addWidget(self._edit, 1)
        column.addWidget(self._problem)
        column.addLayout(buttons)
        self.resize(520, 420)
        self._on_edited()

    @Slot()
    def _on_edited(self) -> None:
        problem = ""
        try:
            spec = check_tool_spec(self._edit.toPlainText())
            if spec.name in self._taken:
                problem = f"There is a built-in tool named {spec.name}. Choose another name."
        except ValueError as known:
            problem = str(known)
        self._problem.setText(problem)
        self._declare.setEnabled(not problem)

    @Slot()
    def _on_declare_clicked(self) -> None:
        self.declared.emit(check_tool_spec(self._edit.toPlainText()))
        self.accept()
