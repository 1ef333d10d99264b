"""A model's card beneath its heading; takes no room without one."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.models.facts_form import heading
from desktop.ui.theme import SPACE, TYPE

_WIDTH = 720


class CardView(QWidget):
    """Signals:
    link_activated: an address in the card.
    """

    link_activated = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.body: MarkdownBody | None = None
        words = heading(self, TYPE.body)
        words.setText("Model card")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[2])
        self._column.addWidget(words)
        self.hide()

    def show_text(self, text: str, width: int) -> None:
        """Show this Markdown. width: pixels that there are."""
        if self.body is not None:
            self._column.removeWidget(self.body)
            self.body.hide()
            self.body.deleteLater()
            self.body = None
        self.setVisible(bool(text))
        if text:
            self.body = MarkdownBody(min(width, _WIDTH), self)
            self.body.setAccessibleName("Model card")
            self.body.link_activated.connect(self.link_activated)
            self.body.set_visible_range(0, 1_000_000)
            self.body.set_text(text, finished=True)
            self.body.height_changed.connect(self._on_height_changed)
            self._on_height_changed()
            self._column.addWidget(self.body)

    @Slot()
    def _on_height_changed(self) -> None:
        # Fixed, because for another width than its own it only estimates its height, and would be cut by that.
        assert self.body is not None
        self.body.setFixedHeight(self.body.sizeHint().height())
