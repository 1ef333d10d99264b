"""How one download stands, as one value, and how fast it goes."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from desktop.domain.errors import Failure
from desktop.domain.hub import DownloadPlan

_SMOOTHED_OVER = 5.0  # seconds


class DownloadState(StrEnum):
    """What is being done. FAILED keeps what was fetched, like PAUSED."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    FINISHED = "finished"


class DownloadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One download. Sizes in bytes; speed in bytes a second over the last seconds; seconds_left: None if unknown."""

    plan: DownloadPlan
    state: DownloadState
    on_disk: int
    total: int
    speed: float = 0.0
    seconds_left: float | None = None
    failure: Failure | None = None

    @property
    def key(self) -> str:
        """What names the download: the folder that it becomes."""
        return self.plan.destination


class Pace:
    """Speed as a running mean, in which the last seconds count most."""

    def __init__(self) -> None:
        self.speed = 0.0
        self._weight = 0.0
        self._last: tuple[float, int] | None = None

    def add(self, now: float, received: int) -> None:
        """So many bytes had come in all by this time, in seconds of any clock."""
        if self._last is None:
            self._last = now, received
            return
        seconds, count = now - self._last[0], received - self._last[1]
        if seconds <= 0:
            return
        self._last = now, received
        share = 1 - math.exp(-seconds / _SMOOTHED_OVER)
        # As long as there were few samples, they are all there is to the mean.
        self._weight = self._weight * (1 - share) + share
        self.speed += (count / seconds - self.speed) * share / self._weight
