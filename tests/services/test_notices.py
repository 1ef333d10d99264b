"""Notices are kept until they are taken back; one of a kind."""

from pytestqt.qtbot import QtBot

from desktop.domain.errors import FailureCode, failure
from desktop.services.notices import Notices


def test_raise_and_dismiss(qtbot: QtBot) -> None:
    notices = Notices()
    changes: list[int] = []
    notices.changed.connect(lambda: changes.append(len(notices.current)))
    first = failure(FailureCode.INTERNAL, reason="first")
    second = failure(FailureCode.INTERNAL, reason="second")
    full = failure(FailureCode.DISK_FULL)
    for notice in (first, full, second):
        notices.raise_notice(notice)
    assert notices.current == (full, second)
    notices.dismiss(FailureCode.DISK_FULL)
    notices.dismiss(FailureCode.DISK_FULL)
    assert notices.current == (second,)
    assert changes == [1, 2, 2, 1]
