"""What the user wrote: a bubble on the right, as wide as its text, with what was attached above it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QFontMetricsF, QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from desktop.domain.conversation import Attachment, Message
from desktop.ui.chat.attachment_chip import AttachmentChip
from desktop.ui.chat.long_text import LongText
from desktop.ui.chat.message_footer import MessageFooter
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.theme import SPACE

_SHARE = 0.85  # of the column, at most
_MEASURED_LINES = 50


class UserBubble(MessageView):
    """Plain text, never Markdown: it shows what was sent."""

    def __init__(
        self,
        message: Message,
        width: int,
        parent: QWidget | None = None,
        data_of: Callable[[Attachment], bytes] | None = None,
    ) -> None:
        """data_of: gives the bytes of an attachment, for its thumbnail."""
        super().__init__(message, parent)
        self.setAccessibleName("You wrote")
        self._bubble = QFrame(self)
        self._bubble.setObjectName("UserBubble")
        most = int(width * _SHARE)
        padding = 2 * SPACE[2]
        self._ideal_width = min(self._text_width(message.content) + padding, 4 * width)
        self._text = LongText(min(most, self._ideal_width) - padding, "Your message", self._bubble)
        self._text.set_text(message.content)
        inside = QHBoxLayout(self._bubble)
        inside.setContentsMargins(SPACE[2], SPACE[1], SPACE[2], SPACE[1])
        inside.addWidget(self._text)
        self._footer = MessageFooter(right=True, parent=self)
        self._footer.sibling_requested.connect(self._on_sibling_requested)
        self._footer.add("copy", "Copy your message").clicked.connect(self._on_copy_clicked)
        edit = self._footer.add("edit", "Edit and send again" if self._is_editable else "Too long to be edited")
        edit.setEnabled(self._is_editable)
        edit.clicked.connect(self.edit)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(SPACE[0])
        for attachment in message.attachments:
            chip = AttachmentChip(attachment.name, removable=False, parent=self)
            chip.show_attachment(attachment, data_of(attachment) if data_of is not None else b"")
            self._column.addWidget(chip, 0, Qt.AlignmentFlag.AlignRight)
        self._column.addWidget(self._bubble, 0, Qt.AlignmentFlag.AlignRight)
        self._column.addWidget(self._footer)
        self._bubble.setVisible(bool(message.content))
        self.take_width(width)

    @property
    def has_selection(self) -> bool:
        return super().has_selection or self._text.has_selection

    def take_width(self, width: int) -> None:
        """Fit into a column of this width."""
        self._bubble.setFixedWidth(min(int(width * _SHARE), self._ideal_width))

    def set_siblings(self, position: int, count: int) -> None:
        self._footer.set_place(position, count)

    @Slot()
    def edit(self) -> None:
        """Let the user write this message anew."""
        self._begin_edit(self._bubble, self._column, "Send")

    def _text_width(self, text: str) -> int:
        metrics = QFontMetricsF(self.font())
        lines = clean(text[:20_000]).split("\n")[:_MEASURED_LINES]
        # A character is at least some 2 pixels wide: what is longer fills the bubble anyway.
        return int(max(metrics.horizontalAdvance(line[:1_000]) for line in lines)) + SPACE[0]

    @Slot()
    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(clean(self.message.content))
