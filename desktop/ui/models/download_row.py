"""One download: its name, how far it is, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QToolButton, QVBoxLayout, QWidget

from desktop.domain.errors import FailureCode
from desktop.services.download_status import DownloadState, DownloadStatus
from desktop.ui.controls import ElidedLabel
from desktop.ui.icons import icon
from desktop.ui.models.hub_words import download_line
from desktop.ui.theme import SPACE, TYPE, font_of

_STEPS = 1000  # of the bar; bytes would be more than Qt's integers hold
_NEEDS_TOKEN = (FailureCode.MODEL_GATED, FailureCode.TOKEN_REFUSED)
_CAN_PAUSE = (DownloadState.WAITING, DownloadState.RUNNING)


class DownloadRow(QFrame):
    """Signals:
    pause_requested, resume_requested, cancel_requested, show_requested: the download's key.
    token_requested: the DownloadPlan of a model that needs a token.
    """

    pause_requested = Signal(str)
    resume_requested = Signal(str)
    cancel_requested = Signal(str)
    show_requested = Signal(str)
    token_requested = Signal(object)

    def __init__(self, status: DownloadStatus, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("AttachmentChip")
        self.status = status
        self._name = ElidedLabel(self)
        self._name.show_words(status.plan.model_id)
        self._name.setProperty("dim", False)
        self._bar = QProgressBar(self)
        self._bar.setRange(0, _STEPS)
        self._bar.setTextVisible(False)
        self._words = QLabel(self)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setWordWrap(True)
        self._words.setProperty("dim", True)
        self._words.setFont(font_of(self._words, TYPE.small))
        self._go_on = self._button()
        self._go_on.clicked.connect(self._on_go_on_clicked)
        self._end = self._button()
        self._end.setIcon(icon("close"))
        self._end.clicked.connect(self._on_end_clicked)
        top = QHBoxLayout()
        top.setSpacing(0)
        top.addWidget(self._name, 1)
        top.addWidget(self._go_on)
        top.addWidget(self._end)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[1], SPACE[0], SPACE[0], SPACE[1])
        column.setSpacing(SPACE[0])
        column.addLayout(top)
        column.addWidget(self._bar)
        column.addWidget(self._words)
        self.show_status(status)

    def show_status(self, status: DownloadStatus) -> None:
        """It stands like this now."""
        self.status = status
        state, name = status.state, status.plan.model_id
        self._bar.setVisible(state is not DownloadState.FINISHED)
        self._bar.setValue(round(_STEPS * status.on_disk / status.total) if status.total else 0)
        self._bar.setAccessibleName(f"Downloaded of {name}")
        words = download_line(status)
        if words != self._words.text():
            self._words.setText(words)
            self.setAccessibleName(f"Download of {name}: {words}")
        if state in _CAN_PAUSE:
            self._say(self._go_on, "pause", "Pause", name)
        elif state is DownloadState.FINISHED:
            self._say(self._go_on, "right", "Show", name)
        elif self._needs_token:
            self._say(self._go_on, "right", "Enter a token for", name)
        else:
            self._say(self._go_on, "again" if state is DownloadState.FAILED else "continue", "Go on with", name)
        self._end.setToolTip("Dismiss" if state is DownloadState.FINISHED else "Cancel, and delete what was fetched")
        self._end.setAccessibleName(f"{'Dismiss' if state is DownloadState.FINISHED else 'Cancel'} {name}")

    @property
    def _needs_token(self) -> bool:
        problem = self.status.failure
        return self.status.state is DownloadState.FAILED and problem is not None and problem.code in _NEEDS_TOKEN

    def _button(self) -> QToolButton:
        button = QToolButton(self)
        button.setIconSize(QSize(16, 16))
        return button

    def _say(self, button: QToolButton, icon_name: str, words: str, name: str) -> None:
        accessible = f"{words} {name}"
        if button.accessibleName() != accessible:
            button.setIcon(icon(icon_name))
            button.setToolTip(words.removesuffix(" for").removesuffix(" with"))
            button.setAccessibleName(accessible)

    @Slot()
    def _on_go_on_clicked(self) -> None:
        key = self.status.key
        if self.status.state in _CAN_PAUSE:
            self.pause_requested.emit(key)
        elif self.status.state is DownloadState.FINISHED:
            self.show_requested.emit(key)
        elif self._needs_token:
            self.token_requested.emit(self.status.plan)
        else:
            self.resume_requested.emit(key)

    @Slot()
    def _on_end_clicked(self) -> None:
        self.cancel_requested.emit(self.status.key)
