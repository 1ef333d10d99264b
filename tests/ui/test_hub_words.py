"""Downloads and results of a search in words."""

from __future__ import annotations

import pytest

from desktop.domain.errors import FailureCode, failure
from desktop.domain.hub import HUGGING_FACE, DownloadPlan, HubHit
from desktop.services.download_status import DownloadState, DownloadStatus
from desktop.ui.models.hub_words import download_line, hit_line, size_line, time_words

GIB = 2**30


def status(
    state: DownloadState, *, repair: bool = False, speed: float = 0, left: float | None = None
) -> DownloadStatus:
    plan = DownloadPlan(
        address=HUGGING_FACE, model_id="a/b", revision="c", files=(), destination="/models/a--b", repair=repair
    )
    problem = failure(FailureCode.HUB_BUSY, hub="it", reason="why") if state is DownloadState.FAILED else None
    return DownloadStatus(
        plan=plan, state=state, on_disk=GIB, total=4 * GIB, speed=speed, seconds_left=left, failure=problem
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status(DownloadState.WAITING), "waiting · 1.0 GB of 4.0 GB"),
        (status(DownloadState.RUNNING), "1.0 GB of 4.0 GB"),
        (status(DownloadState.RUNNING, speed=10 * 2**20, left=307), "1.0 GB of 4.0 GB · 10 MB/s · 5 min left"),
        (status(DownloadState.RUNNING, repair=True), "checking · 1.0 GB of 4.0 GB"),
        (status(DownloadState.PAUSED), "paused · 1.0 GB of 4.0 GB"),
        (status(DownloadState.FAILED), "it is busy: why. Wait some minutes, then try again; what was fetched is kept."),
        (status(DownloadState.FINISHED), "finished · 4.0 GB"),
        (status(DownloadState.FINISHED, repair=True), "checked: every file is whole"),
    ],
)
def test_a_download(said: DownloadStatus, words: str) -> None:
    assert download_line(said) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (7800, "2 h 10 min")]
)
def test_time(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_a_result() -> None:
    hit = HubHit(model_id="a/b", downloads=1_234_567, likes=1, gated=True, licence="mit", tags=(), updated_at=None)
    assert hit_line(hit) == "gated · 1.2 M downloads · 1 like · a · mit"


def test_room() -> None:
    assert size_line(4 * GIB, None) == "4.0 GB"
    assert size_line(4 * GIB, 100 * GIB) == "4.0 GB; 100.0 GB are free on the disk"
    assert size_line(4 * GIB, 5 * GIB).startswith("4.0 GB: too much for the disk, where 5.0 GB are free")
