"""Text as it is, of any length: its beginning, and a button for more."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from desktop.domain.counting import counted
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.theme import SPACE

FIRST = 20_000  # characters: more would take longer to lay out than a window may stand still
_MORE = 20_000


class LongText(QWidget):
    """Shows the first characters; each click on the button shows as many again."""

    def __init__(self, width: int, name: str, parent: QWidget | None = None) -> None:
        """width: in pixels, what the layout will give it. name: what a screen reader says."""
        super().__init__(parent)
        self._text = ""
        self._shown = 0
        self._view = PlainTextView(width, self)
        self._view.setAccessibleName(name)
        self._button = QPushButton(self)
        self._button.clicked.connect(self._on_more_clicked)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[0])
        column.addWidget(self._view)
        column.addWidget(self._button, 0, Qt.AlignmentFlag.AlignLeft)
        self._show_button()

    @property
    def has_selection(self) -> bool:
        """Whether some of it is selected."""
        return self._view.textCursor().hasSelection()

    def set_text(self, text: str) -> None:
        """Show this text instead."""
        self._text = text
        self._shown = min(len(text), FIRST)
        self._view.set_text(text[: self._shown])
        self._show_button()

    def append_text(self, text: str) -> None:
        """Add to the end, where it is shown unless the beginning is long already."""
        self._text += text
        if room := max(FIRST - self._shown, 0):
            self._view.append_text(text[:room])
            self._shown += len(text[:room])
        self._show_button()

    def _show_button(self) -> None:
        rest = len(self._text) - self._shown
        self._button.setVisible(rest > 0)
        self._button.setText(f"Show more ({counted(rest, 'character')})")
        self._button.setAccessibleName(self._button.text())

    @Slot()
    def _on_more_clicked(self) -> None:
        more = self._text[self._shown : self._shown + _MORE]
        self._shown += len(more)
        self._view.append_text(more)
        self._show_button()
