"""What a hub refused, with another try, and a field for the token where that would help."""

from __future__ import annotations

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from desktop.domain.errors import Failure, FailureCode
from desktop.ui.failure_card import FailureCard
from desktop.ui.theme import SPACE

_MAY_NEED_TOKEN = (FailureCode.MODEL_GATED, FailureCode.TOKEN_REFUSED, FailureCode.MODEL_NOT_ON_HUB)


class HubTrouble(QWidget):
    """One failure.

    Signals:
        retry_requested: the same again. token_given: a token to use from now on.
        page_requested: the address at which a gated model's conditions stand.
    """

    retry_requested = Signal()
    token_given = Signal(str)
    page_requested = Signal(str)

    def __init__(self, problem: Failure, page: str = "", parent: QWidget | None = None) -> None:
        """page: the model's address on the hub, "" where there is none."""
        super().__init__(parent)
        self.failure = problem
        self._page = page
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        column.addWidget(FailureCard(problem, parent=self))
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        column.addLayout(buttons)
        if problem.code is FailureCode.MODEL_GATED and page:
            buttons.addWidget(self._button("Open its page", self._on_page_clicked))
        self.retry = self._button("Try again", self.retry_requested)
        buttons.addWidget(self.retry)
        buttons.addStretch(1)
        self.token: QLineEdit | None = None
        if problem.code in _MAY_NEED_TOKEN:
            self.token = QLineEdit(self)
            self.token.setEchoMode(QLineEdit.EchoMode.Password)
            self.token.setPlaceholderText("Token of your account there")
            self.token.setAccessibleName("Token of your account on the hub")
            self.token.setToolTip("Kept in the system's keyring, and sent to this hub only")
            self.token.returnPressed.connect(self._on_token_entered)
            self._use = self._button("Use this token", self._on_token_entered)
            self._use.setEnabled(False)
            self.token.textChanged.connect(self._on_token_edited)
            row = QHBoxLayout()
            row.setSpacing(SPACE[1])
            row.addWidget(self.token, 1)
            row.addWidget(self._use)
            column.addLayout(row)

    def _button(self, words: str, slot: object) -> QPushButton:
        button = QPushButton(words, self)
        button.setAccessibleName(words)
        button.clicked.connect(slot)
        return button

    @Slot()
    def _on_page_clicked(self) -> None:
        self.page_requested.emit(self._page)

    @Slot(str)
    def _on_token_edited(self, text: str) -> None:
        self._use.setEnabled(bool(text.strip()))

    @Slot()
    def _on_token_entered(self) -> None:
        assert self.token is not None
        if text := self.token.text().strip():
            self.token.clear()
            self.token_given.emit(text)
