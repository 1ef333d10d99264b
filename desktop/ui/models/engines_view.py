"""Which engine runs a model and why, beneath its heading."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.domain.engine_support import EngineSupport
from desktop.ui.models.facts_form import FactsForm, heading
from desktop.ui.models.model_words import ENGINE_NAMES
from desktop.ui.theme import SPACE, TYPE


class EnginesView(QWidget):
    """LMDeploy's verdicts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        words = heading(self, TYPE.body)
        words.setText("What runs it")
        self._form = FactsForm()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[2])
        column.addWidget(words)
        column.addLayout(self._form)

    def show_support(self, support: EngineSupport | None) -> None:
        """Show this; None while LMDeploy is being asked."""
        self._form.clear()
        if support is None:
            self._form.add("", "LMDeploy is being asked …")
        elif support.failure:
            self._form.add("", support.failure)
        else:
            for verdict in support.verdicts:
                words = " ".join((verdict.reason, *verdict.notes))
                self._form.add(ENGINE_NAMES[verdict.backend], words, dim=not verdict.runs)
