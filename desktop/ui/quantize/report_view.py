"""A comparison that was kept with a model, whether or not the list of jobs still has it."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from desktop.domain.evaluation import Evaluation
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.controls import plain_label
from desktop.ui.quantize.evaluation_view import EvaluationView
from desktop.ui.theme import SPACE, TYPE


class ReportView(QScrollArea):
    """The same view as a job's, beneath the names of both."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        content = QWidget(self)
        self._title = plain_label(content, size=TYPE.heading, bold=True)
        self.evaluation = EvaluationView(content)
        column = QVBoxLayout(content)
        column.setContentsMargins(SPACE[4], SPACE[3], SPACE[4], SPACE[4])
        column.setSpacing(SPACE[1])
        column.addWidget(self._title)
        column.addWidget(self.evaluation)
        column.addStretch(1)
        self.setWidget(content)

    def show_evaluation(self, found: Evaluation) -> None:
        """Show this one."""
        self._title.setText(clean(f"{found.other.name} compared with {found.original.name}"))
        self.evaluation.show_evaluation(found)
        self.verticalScrollBar().setValue(0)
