"""A file beside a message: a thumbnail or an icon, its name, and what it costs."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QImage, QPixmap
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from desktop.domain.conversation import Attachment
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.format import format_bytes
from desktop.ui.icons import IconLabel, Tint, icon
from desktop.ui.theme import SPACE, TYPE, font_of

_SIDE = 40
_NAME_WIDTH = 180


class AttachmentChip(QFrame):
    """Signals:
    removed: its button was clicked.
    """

    removed = Signal()

    def __init__(self, name: str, *, removable: bool, parent: QWidget | None = None) -> None:
        """name: of the file. Until show_attachment() it says that the file is being read."""
        super().__init__(parent)
        self.attachment: Attachment | None = None
        self._full_name = clean(name)
        self.setObjectName("AttachmentChip")
        self._picture = QLabel(self)
        self._picture.hide()
        self._icon = IconLabel("file", 20, self)
        self._name = QLabel(self)
        self._name.setTextFormat(Qt.TextFormat.PlainText)
        short = QFontMetrics(self._name.font()).elidedText(self._full_name, Qt.TextElideMode.ElideMiddle, _NAME_WIDTH)
        self._name.setText(short)
        self._detail = QLabel("reading …", self)
        self._detail.setTextFormat(Qt.TextFormat.PlainText)
        self._detail.setProperty("dim", True)
        self._detail.setFont(font_of(self._detail, TYPE.small))
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self._name)
        words.addWidget(self._detail)
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE[1], SPACE[0], SPACE[1], SPACE[0])
        row.setSpacing(SPACE[1])
        row.addWidget(self._picture)
        row.addWidget(self._icon)
        row.addLayout(words)
        if removable:
            button = QToolButton(self)
            button.setIcon(icon("close", Tint.PlaceholderText))
            button.setIconSize(QSize(14, 14))
            button.setToolTip("Remove")
            button.setAccessibleName(f"Remove {self._full_name}")
            button.clicked.connect(self.removed)
            row.addWidget(button)
        self.setAccessibleName(self._full_name)

    def show_attachment(self, attachment: Attachment, data: bytes) -> None:
        """Show what was read. data: the attachment's bytes; b"" when they are lost."""
        self.attachment = attachment
        detail = format_bytes(attachment.size)
        if attachment.kind == "image":
            detail = f"{attachment.width} × {attachment.height}"
            image = QImage.fromData(data)
            if not image.isNull():
                scaled = image.scaled(
                    QSize(_SIDE, _SIDE),
                    Qt.AspectRatioMode.KeepAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
                self._picture.setPixmap(QPixmap.fromImage(scaled))
                self._picture.show()
                self._icon.hide()
        self._size_words = detail if data else "its content is lost"
        self._show_detail(self._size_words)

    def show_cost(self, words: str) -> None:
        """What it costs, after its size; "" where nobody knows."""
        self._show_detail(f"{self._size_words} · {words}" if words else self._size_words)

    def _show_detail(self, words: str) -> None:
        self._detail.setText(words)
        self.setAccessibleName(f"{self._full_name}, {words}")
        self.setToolTip(f"{self._full_name}\n{words}")
