"""The end of a job is told once, where it is seen; the tray is the desktop's, so a fake one stands for it."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtCore import QObject, Signal

from desktop.domain.errors import Action, FailureCode, failure
from desktop.jobs.job_record import JobRecord, JobStatus
from desktop.jobs.messages import QuantizeJob
from desktop.ui.job_notifier import JobNotifier, system_tray
from tests.domain.test_evaluation import found
from tests.ui.conftest import Desk
from tests.ui.test_quantize_page import PLAN


class Tray(QObject):
    messageClicked = Signal()
    activated = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.shown: bool | None = None
        self.messages: list[tuple[str, str]] = []

    def show(self) -> None:
        self.shown = True

    def hide(self) -> None:
        self.shown = False

    def showMessage(self, title: str, words: str) -> None:
        assert self.shown
        self.messages.append((title, words))


class Bell:
    """A notifier on the runner of a window, whose jobs are put in and ended by hand."""

    def __init__(self, desk: Desk, *, tray: bool) -> None:
        self.desk = desk
        self.runner = desk.models.quantizer.runner
        self.trays: list[Tray] = []
        self.has_tray = tray
        self.notifier = JobNotifier(self.runner, desk.notices, desk.window, self._make, linger=50)
        self.number = 0

    def _make(self) -> Tray | None:
        if not self.has_tray:
            return None
        self.trays.append(Tray())
        return self.trays[-1]

    def begin(self) -> JobRecord:
        self.number += 1
        record = JobRecord(
            id=self.number, title=f"AWQ {self.number}", work=QuantizeJob(plan=PLAN), status=JobStatus.RUNNING
        )
        self.runner._records[record.id] = record
        self.runner.jobs_changed.emit()
        return record

    def end(self, record: JobRecord, status: JobStatus = JobStatus.DONE, **changes: object) -> None:
        ended = msgspec.structs.replace(record, status=status, started_at=100.0, ended_at=340.0, **changes)
        self.runner._records[record.id] = ended
        self.runner.job_ended.emit(ended)

    @property
    def notices(self) -> list[str]:
        return [notice.message for notice in self.desk.notices.current]


@pytest.fixture
def inactive(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(desk.window, "isActiveWindow", lambda: False)
    return desk


def test_without_a_tray_there_is_a_notice_that_leads_to_the_jobs(inactive: Desk) -> None:
    assert system_tray() is None, "the offscreen platform has none, and nothing may warn"
    bell = Bell(inactive, tray=False)
    bell.end(bell.begin())
    assert bell.notices == ["AWQ 1: done in 4 min."]
    bell.end(bell.begin(), evaluation=found())
    assert bell.notices == ["AWQ 2: done in 4 min, the verdict is good."], "the newest takes the place"
    (notice,) = inactive.notices.current
    assert notice.action is Action.SHOW_JOBS
    problem = failure(FailureCode.JOB_NO_ROOM, reason="2 GB are needed and 1 GB is free")
    bell.end(bell.begin(), JobStatus.FAILED, failure=problem)
    notice = inactive.notices.current[-1]
    assert (notice.code, notice.message) == (problem.code, f"AWQ 3: {problem.message}")
    assert (notice.next_step, notice.action) == (problem.next_step, Action.SHOW_JOBS)
    bell.end(bell.begin(), JobStatus.STOPPED)
    assert len(bell.notices) == 2, "who stopped a job knows that it has ended"


def test_the_tray_tells_whoever_is_elsewhere_and_goes_with_the_last_job(inactive: Desk) -> None:
    bell = Bell(inactive, tray=True)
    assert bell.trays == []
    first, second = bell.begin(), bell.begin()
    (tray,) = bell.trays
    bell.end(first)
    assert tray.messages == [("AWQ 1", "Done in 4 min.")]
    assert bell.notices == []
    inactive.bot.wait(100)
    assert tray.shown, "another job runs"
    bell.end(second)
    inactive.until(lambda: tray.shown is False)
    assert [words for _, words in tray.messages] == ["Done in 4 min."] * 2
    bell.begin()
    assert len(bell.trays) == 2
    with inactive.bot.waitSignal(bell.notifier.jobs_wanted, timeout=1000):
        bell.trays[1].messageClicked.emit()


def test_who_looks_at_the_window_is_told_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.window, "isActiveWindow", lambda: True)
    bell = Bell(desk, tray=True)
    bell.end(bell.begin())
    assert bell.trays[0].messages == []
    assert bell.notices == ["AWQ 1: done in 4 min."]
