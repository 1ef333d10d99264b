"""Slim bars above the page for what concerns the whole window."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from desktop.domain.errors import Action, Failure, FailureCode
from desktop.services.notices import Notices
from desktop.ui.icons import IconLabel, icon
from desktop.ui.theme import SPACE
from desktop.ui.words import ACTION_LABELS

_SHOWN = 3


class NoticeBar(QWidget):
    """The newest notices, one bar each; takes no room when there are none.

    Signals:
        action_triggered: the Action of a notice whose button was clicked.
    """

    action_triggered = Signal(object)

    def __init__(self, notices: Notices, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._notices = notices
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self.setAccessibleName("Notices")
        notices.changed.connect(self._on_changed)
        self._on_changed()

    @Slot()
    def _on_changed(self) -> None:
        while (item := self._column.takeAt(0)) is not None:
            if (bar := item.widget()) is not None:
                bar.hide()
                bar.deleteLater()
        for notice in self._notices.current[-_SHOWN:]:
            self._column.addWidget(self._bar(notice))
        self.setVisible(self._column.count() > 0)

    def _bar(self, notice: Failure) -> QFrame:
        bar = QFrame(self)
        bar.setObjectName("Notice")
        bar.setAccessibleName(f"{notice.message} {notice.next_step}")
        calm = notice.code is FailureCode.JOB_ENDED  # nothing is wrong
        bar.setProperty("calm", calm)
        sign = IconLabel("quantize" if calm else "alert", 18, bar)
        words = QLabel(f"{notice.message} {notice.next_step}", bar)
        words.setTextFormat(Qt.TextFormat.PlainText)
        words.setWordWrap(True)
        words.setToolTip(notice.detail[:2_000])
        dismiss = QToolButton(bar)
        dismiss.setIcon(icon("close"))
        dismiss.setAccessibleName("Dismiss the notice")
        dismiss.setToolTip("Dismiss")
        dismiss.clicked.connect(partial(self._notices.dismiss, notice.code))
        row = QHBoxLayout(bar)
        row.setContentsMargins(SPACE[2], SPACE[0], SPACE[1], SPACE[0])
        row.setSpacing(SPACE[1])
        row.addWidget(sign)
        row.addWidget(words, 1)
        if notice.action is not Action.NONE:
            act = QPushButton(ACTION_LABELS[notice.action], bar)
            act.setAccessibleName(ACTION_LABELS[notice.action])
            act.clicked.connect(partial(self.action_triggered.emit, notice.action))
            row.addWidget(act)
        row.addWidget(dismiss)
        return bar
