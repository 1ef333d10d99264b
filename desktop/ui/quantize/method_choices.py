"""The methods as a list of which one is chosen; what is not possible says why."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QLabel, QRadioButton, QVBoxLayout, QWidget

from desktop.domain.quantization import QuantizationMethod
from desktop.domain.quantization_choice import MethodChoice
from desktop.ui.theme import SPACE, TYPE, font_of

_INDENT = 26


class MethodChoices(QWidget):
    """Signals:
    method_chosen: by the user; `method` has it.
    """

    method_chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Method")
        self._choices: tuple[MethodChoice, ...] = ()
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.method_chosen)
        self._parts: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[0])

    @property
    def method(self) -> QuantizationMethod | None:
        """The chosen one; None where none is possible."""
        number = self._group.checkedId()
        return self._choices[number].facts.method if number >= 0 else None

    def show_choices(self, choices: Sequence[MethodChoice]) -> None:
        """Show these; the recommended one is chosen, unless the one chosen before is possible too."""
        before = self.method
        for part in self._parts:
            if isinstance(part, QRadioButton):
                self._group.removeButton(part)
            self._column.removeWidget(part)
            part.hide()
            part.deleteLater()
        self._parts = []
        self._choices = tuple(choices)
        for number, choice in enumerate(self._choices):
            facts = choice.facts
            button = QRadioButton(f"{facts.name}{'  (recommended)' if choice.recommended else ''}", self)
            button.setEnabled(choice.possible)
            words = choice.why_not or f"{facts.quality} {facts.memory} {facts.speed} {facts.engine}"
            button.setAccessibleDescription(words)
            self._group.addButton(button, number)
            line = QLabel(words, self)
            line.setTextFormat(Qt.TextFormat.PlainText)
            line.setWordWrap(True)
            line.setProperty("dim", True)
            line.setFont(font_of(line, TYPE.small))
            line.setContentsMargins(_INDENT, 0, 0, SPACE[0])
            self._parts += [button, line]
            self._column.addWidget(button)
            self._column.addWidget(line)
        wanted = [
            number for number, choice in enumerate(self._choices) if choice.possible and choice.facts.method is before
        ] or [number for number, choice in enumerate(self._choices) if choice.recommended]
        if wanted:
            self._group.button(wanted[0]).setChecked(True)
