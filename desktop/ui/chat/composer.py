"""Where a message is written: the box, a hint, and the button that sends or stops."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Signal, Slot
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from desktop.ui.chat.attachment_bar import AttachmentBar
from desktop.ui.chat.context_meter import ContextMeter
from desktop.ui.chat.message_edit import MessageEdit
from desktop.ui.controls import ElidedLabel
from desktop.ui.icons import Tint, icon
from desktop.ui.theme import SPACE, current_palette

_RADIUS = 14


class Composer(QFrame):
    """Signals:
    send_requested: the text as it was typed; white space only when something is attached.
    stop_requested: the button was clicked while it said Stop.
    attach_requested, settings_requested: the buttons were clicked.
    """

    send_requested = Signal(str)
    stop_requested = Signal()
    attach_requested = Signal()
    settings_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._generating = False
        self._refused = False
        self._focused = False
        self.edit = MessageEdit(self, attaches=True)
        self.edit.setAccessibleName("Message")
        self.edit.submitted.connect(self.submit)
        self.edit.focus_changed.connect(self._on_focus_changed)
        self.edit.textChanged.connect(self._on_text_changed)
        self._hint = ElidedLabel(self)
        self._hint.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.bar = AttachmentBar(self)
        self.bar.changed.connect(self._on_text_changed)
        self.meter = ContextMeter(self)
        self._attach = self._tool("attach", "Attach a picture, a text or a PDF (Ctrl+U)")
        self._attach.clicked.connect(self.attach_requested)
        self._settings = self._tool("settings", "Settings of this conversation (Ctrl+.)")
        self._settings.clicked.connect(self.settings_requested)
        self.button = QPushButton(self)
        self.button.setProperty("primary", True)
        self.button.setIconSize(QSize(16, 16))
        self.button.clicked.connect(self._on_button_clicked)
        row = QHBoxLayout()
        row.setSpacing(SPACE[1])
        row.addWidget(self._attach)
        row.addWidget(self._settings)
        row.addWidget(self._hint, 1)
        row.addWidget(self.meter)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[2], SPACE[2], SPACE[2])
        column.setSpacing(SPACE[1])
        column.addWidget(self.bar)
        column.addWidget(self.edit)
        column.addLayout(row)
        self.set_model_name("")
        self._show_button()

    @property
    def text(self) -> str:
        """What has been typed."""
        return self.edit.toPlainText()

    def set_text(self, text: str) -> None:
        """Put this text in the box, the cursor after it."""
        self.edit.setPlainText(text)
        self.edit.moveCursor(self.edit.textCursor().MoveOperation.End)

    def set_model_name(self, name: str) -> None:
        """Whom the message goes to."""
        self.edit.setPlaceholderText(f"Message {name} …" if name else "Write a message …")
        if self.isVisible():  # asked for while the window is built, the first viewport costs 15 ms
            self.edit.viewport().update()  # Qt does not repaint when only the placeholder changes

    def set_hint(self, words: str) -> None:
        """A short line beside the button."""
        self._hint.show_words(words)

    def set_generating(self, generating: bool) -> None:
        """Whether the button stops the reply that is being written."""
        if generating != self._generating:
            self._generating = generating
            self._show_button()

    def paintEvent(self, _event: QPaintEvent) -> None:
        # Painted and not left to the style sheet, which would have to be worked out anew at each change of focus.
        colours = current_palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours.accent if self._focused else colours.line), 1))
        painter.setBrush(QColor(colours.field))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
        painter.end()

    @Slot()
    def submit(self) -> None:
        """Send what has been typed or attached; nothing while a reply is being written or a file is being read."""
        if self._generating:
            self._hint.show_words("A reply is being written · Esc stops it")
        elif self.bar.is_reading:
            self._hint.show_words("A file is still being read")
        elif self._is_sendable:
            self.send_requested.emit(self.text)

    @property
    def _is_sendable(self) -> bool:
        return not (self._refused or self.bar.is_reading) and bool(self.text.strip() or self.bar.attachments)

    def refuse(self, words: str) -> None:
        """Say why what is attached cannot be sent; "" lets it be sent."""
        if words or self._refused:
            self.bar.say(words)
        self._refused = bool(words)
        self._on_text_changed()

    def _tool(self, icon_name: str, words: str) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(icon(icon_name, Tint.PlaceholderText))
        button.setIconSize(QSize(18, 18))
        button.setToolTip(words)
        button.setAccessibleName(words.partition(" (")[0])
        return button

    def _show_button(self) -> None:
        words = "Stop" if self._generating else "Send"
        self.button.setText(words)
        self.button.setIcon(icon("stop" if self._generating else "send", Tint.HighlightedText))
        self.button.setAccessibleName("Stop the reply" if self._generating else "Send the message")
        self.button.setToolTip("Stop the reply (Esc)" if self._generating else "Send (Enter)")
        self._on_text_changed()

    @Slot()
    def _on_text_changed(self) -> None:
        self.button.setEnabled(self._generating or self._is_sendable)

    @Slot()
    def _on_button_clicked(self) -> None:
        if self._generating:
            self.stop_requested.emit()
        else:
            self.submit()

    @Slot(bool)
    def _on_focus_changed(self, focused: bool) -> None:
        self._focused = focused
        self.update()
