"""Names and values below each other, as the details of a model show them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QLabel, QWidget

from desktop.ui.theme import SPACE, font_of

_NAME_WIDTH = 110


class FactsForm(QFormLayout):
    """Plain text that can be selected."""

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalSpacing(SPACE[2])
        self.setVerticalSpacing(SPACE[0])
        self.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)

    def add(self, name: str, value: str, *, dim: bool = False) -> QLabel:
        """Another row; what comes back is its value's label."""
        field = QLabel()
        field.setTextFormat(Qt.TextFormat.PlainText)
        field.setText(value)
        field.setWordWrap(True)
        field.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        field.setProperty("dim", dim)
        field.setAccessibleName(f"{name}: {value}" if name else value)
        title = QLabel(name)
        title.setProperty("dim", True)
        title.setFixedWidth(_NAME_WIDTH)
        self.addRow(title, field)
        return field

    def clear(self) -> None:
        """Remove every row."""
        while self.rowCount():
            self.removeRow(0)


def heading(parent: QWidget, size: float) -> QLabel:
    """A bold line above facts. size: points."""
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setFont(font_of(label, size, bold=True))
    return label
