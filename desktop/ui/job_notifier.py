"""Says that a job has ended: through the desktop while the window is not looked at, else in the window."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from desktop.domain.errors import FailureCode, failure
from desktop.jobs.job_record import ENDED, JobRecord, JobStatus
from desktop.services.job_runner import JobRunner
from desktop.services.notices import Notices
from desktop.ui.icons import icon
from desktop.ui.quantize.job_words import end_words

LINGER_MILLISECONDS = 10_000  # the message goes with the icon
MakeTray = Callable[[], QSystemTrayIcon | None]


def system_tray() -> QSystemTrayIcon | None:
    """An icon in the desktop's tray; None where there is no tray, or it takes no messages."""
    if not QSystemTrayIcon.isSystemTrayAvailable() or not QSystemTrayIcon.supportsMessages():
        return None
    made = QSystemTrayIcon(icon("quantize"))
    made.setToolTip("Turbodesk: a job is running")
    return made


class JobNotifier(QObject):
    """Has one icon in the tray while there are jobs that have not ended, where the desktop has a tray; else none.

    Signals:
        jobs_wanted: the user clicked the message or the icon.
    """

    jobs_wanted = Signal()

    def __init__(
        self,
        runner: JobRunner,
        notices: Notices,
        window: QWidget,
        make_tray: MakeTray = system_tray,
        linger: int = LINGER_MILLISECONDS,
        parent: QObject | None = None,
    ) -> None:
        """linger: milliseconds for which the icon stays after the last job."""
        super().__init__(parent)
        self._runner = runner
        self._notices = notices
        self._window = window
        self._make_tray = make_tray
        self._tray: QSystemTrayIcon | None = None
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(linger)
        self._leaving.timeout.connect(self._on_leaving_due)
        runner.jobs_changed.connect(self._on_jobs_changed)
        runner.job_ended.connect(self._on_job_ended)
        self._on_jobs_changed()

    @Slot()
    def _on_jobs_changed(self) -> None:
        if not self._is_busy():
            return
        self._leaving.stop()
        if self._tray is None and (tray := self._make_tray()) is not None:
            self._tray = tray
            tray.messageClicked.connect(self.jobs_wanted)
            tray.activated.connect(self._on_activated)
            tray.show()

    @Slot(object)
    def _on_job_ended(self, record: JobRecord) -> None:
        if record.status is not JobStatus.STOPPED:
            self._tell(record)
        if not self._is_busy():
            self._leaving.start()

    def _tell(self, record: JobRecord) -> None:
        words = end_words(record)
        if self._tray is not None and not self._window.isActiveWindow():
            self._tray.showMessage(record.title, f"{words[:1].upper()}{words[1:]}.")
        else:
            QApplication.alert(self._window)  # the task bar says so where the window is not looked at
            ended = failure(FailureCode.JOB_ENDED, title=record.title, how=words)
            if record.failure is not None:
                ended = msgspec.structs.replace(record.failure, message=ended.message, action=ended.action)
            self._notices.raise_notice(ended)

    def _is_busy(self) -> bool:
        return any(record.status not in ENDED for record in self._runner.jobs)

    @Slot()
    def _on_activated(self) -> None:
        self.jobs_wanted.emit()

    @Slot()
    def _on_leaving_due(self) -> None:
        if self._tray is not None and not self._is_busy():
            tray, self._tray = self._tray, None
            tray.hide()
            tray.deleteLater()
