"""A line that opens and closes what stands beneath it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QToolButton, QVBoxLayout, QWidget

from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of


class Fold(QWidget):
    """Signals:
    toggled: whether it is open now.
    """

    toggled = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QToolButton(self)
        self._line.setObjectName("FoldLine")
        self._line.setCheckable(True)
        self._line.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._line.setIconSize(QSize(14, 14))
        self._line.setFont(font_of(self._line, TYPE.small))
        self._line.toggled.connect(self._on_toggled)
        self._content: QWidget | None = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[0])
        self._column.addWidget(self._line, 0, Qt.AlignmentFlag.AlignLeft)
        self._show_arrow()

    @property
    def is_open(self) -> bool:
        """Whether the content is shown."""
        return self._line.isChecked()

    def set_line(self, words: str) -> None:
        """What stands on the line."""
        self._line.setText(words.replace("&", "&&"))  # a single one would mark a letter for the keyboard
        self._line.setAccessibleName(words)

    def set_open(self, is_open: bool) -> None:
        """Open or close it."""
        self._line.setChecked(is_open)

    def set_content(self, content: QWidget | None) -> None:
        """What opens; the one before is deleted."""
        if self._content is not None:
            self._column.removeWidget(self._content)
            self._content.hide()
            self._content.deleteLater()
        self._content = content
        if content is not None:
            content.setVisible(self.is_open)
            self._column.addWidget(content)

    def _show_arrow(self) -> None:
        self._line.setIcon(icon("fold" if self.is_open else "right", Tint.PlaceholderText))

    @Slot(bool)
    def _on_toggled(self, is_open: bool) -> None:
        self._show_arrow()
        self.toggled.emit(is_open)
        if self._content is not None:
            self._content.setVisible(is_open)
