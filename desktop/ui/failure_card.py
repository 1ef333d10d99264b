"""Shows a failure: what happened, what to do, the click that does it, and the details to copy."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from desktop.domain.errors import Action, Failure
from desktop.ui.icons import icon
from desktop.ui.theme import SPACE
from desktop.ui.words import ACTION_LABELS

_DETAIL_HEIGHT = 160
_DETAIL_LIMIT = 20_000  # characters
_WITH_SETTING = "Load with this setting"


class FailureCard(QFrame):
    """One failure.

    Signals:
        setting_chosen: what the failure changes of the settings of a load (Failure.setting), before
        action_triggered: the failure's Action.
    """

    setting_chosen = Signal(object)
    action_triggered = Signal(object)

    def __init__(self, problem: Failure, label: str = "", parent: QWidget | None = None) -> None:
        """label: of the button, where the usual words for the action do not fit."""
        super().__init__(parent)
        self.failure = problem
        self.setObjectName("FailureCard")
        self.setAccessibleName(f"{problem.message} {problem.next_step}")
        self._message = _text(problem.message)
        font = self._message.font()
        font.setBold(True)
        self._message.setFont(font)
        self._next_step = _text(problem.next_step)
        self._details: QPlainTextEdit | None = None
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(SPACE[1])
        self.action_button: QPushButton | None = None
        if problem.action is not Action.NONE:
            self.action_button = self._button(
                label or (_WITH_SETTING if problem.setting else ACTION_LABELS[problem.action])
            )
            self.action_button.clicked.connect(self._on_action_clicked)
        self._details_button: QPushButton | None = None
        self._copy_button: QPushButton | None = None
        if problem.detail:
            self._details_button = self._button("Show details")
            self._details_button.clicked.connect(self._on_details_clicked)
            self._copy_button = self._button("Copy details")
            self._copy_button.setIcon(icon("copy"))
            self._copy_button.setIconSize(QSize(16, 16))
            self._copy_button.clicked.connect(self._on_copy_clicked)
            self._copy_button.hide()
        self._buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[2], SPACE[2], SPACE[2])
        column.setSpacing(SPACE[0])
        column.addWidget(self._message)
        column.addWidget(self._next_step)
        if self._buttons.count() > 1:
            column.addSpacing(SPACE[0])
            column.addLayout(self._buttons)
        self._column = column

    def _button(self, words: str) -> QPushButton:
        button = QPushButton(words, self)
        button.setAccessibleName(words)
        self._buttons.addWidget(button)
        return button

    @Slot()
    def _on_action_clicked(self) -> None:
        if self.failure.setting:
            self.setting_chosen.emit(self.failure.setting)
        self.action_triggered.emit(self.failure.action)

    @Slot()
    def _on_details_clicked(self) -> None:
        assert self._details_button is not None
        assert self._copy_button is not None
        if self._details is None:
            self._details = QPlainTextEdit(self.failure.detail[-_DETAIL_LIMIT:], self)
            self._details.setReadOnly(True)
            self._details.setAccessibleName("Details of the failure")
            self._details.setFixedHeight(_DETAIL_HEIGHT)
            self._details.hide()
            self._column.addWidget(self._details)
        show = self._details.isHidden()
        self._details.setVisible(show)
        self._copy_button.setVisible(show)
        self._details_button.setText("Hide details" if show else "Show details")

    @Slot()
    def _on_copy_clicked(self) -> None:
        words = (self.failure.message, self.failure.next_step, "", self.failure.detail)
        QGuiApplication.clipboard().setText("\n".join(words))


def _text(words: str) -> QLabel:
    label = QLabel(words)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
