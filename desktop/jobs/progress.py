"""How far a job is and how long it will take, from what its steps took so far."""

from __future__ import annotations

import time
from collections.abc import Callable

from desktop.jobs.messages import JobStep, Progress

_SECONDS_BETWEEN = 0.1  # messages within a step
_TRUSTED_SHARE = 0.2  # of a step: from there on what it took counts, and no longer what was expected


class ProgressMeter:
    """Steps are begun one after the other; a step's work is in units of its own.

    Times of steps that have not begun come from expect(). As long as nobody knows how long one will take, no time left
    is told. spent: seconds of each step that is over.
    """

    def __init__(
        self,
        steps: tuple[JobStep, ...],
        tell: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = steps
        self._tell = tell
        self._clock = clock
        self._started = self._step_started = clock()
        self._told_at = 0.0
        self._expected: dict[JobStep, float] = {}
        self._work = self._done = 0.0
        self._forecast: float | None = None  # seconds of this step, from its own work
        self._layer = self._layers = 0
        self._fraction = 0.0
        self.step = steps[0]
        self.spent: dict[JobStep, float] = {}
        self._send()

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return self._clock() - self._started

    @property
    def step_seconds(self) -> float:
        """Since this step began."""
        return self._clock() - self._step_started

    def expect(self, step: JobStep, seconds: float) -> None:
        """Forecast a step that has not begun."""
        self._expected[step] = seconds

    def begin(self, step: JobStep, work: float = 0.0, layers: int = 0) -> None:
        """The next step; work: units of it in all, where it will tell of them."""
        self.finish()
        self.step = step
        self._step_started = self._clock()
        self._work, self._done, self._forecast = work, 0.0, None
        self._layer, self._layers = (1 if layers else 0), layers
        self._send()

    def finish(self) -> None:
        """The step is over. Called by begin(); by others after the last step."""
        self.spent[self.step] = self.spent.get(self.step, 0.0) + self.step_seconds

    def advance(self, work: float = 1.0) -> None:
        """One more layer is done, which was so much of this step's work."""
        self._done += work
        self._layer = min(self._layer + 1, self._layers)
        if self._done > 0 and self._work:
            share = self._done / self._work
            measured = self.step_seconds / share
            expected = self._expected.get(self.step, measured)
            # The first units are often slow, and say little of the rest.
            trust = min(1.0, share / _TRUSTED_SHARE)
            self._forecast = trust * measured + (1 - trust) * (expected + self.step_seconds)
        if self._clock() - self._told_at >= _SECONDS_BETWEEN:
            self._send()

    def seconds_left(self) -> float | None:
        """None as long as a step is still to come whose time nobody knows."""
        whole = self._forecast if self._forecast is not None else self._expected.get(self.step)
        if whole is None:
            return None
        left = max(0.0, whole - self.step_seconds)
        for step in self._steps[self._steps.index(self.step) + 1 :]:
            if step not in self._expected:
                return None
            left += self._expected[step]
        return left

    def _send(self) -> None:
        self._told_at = self._clock()
        left = self.seconds_left()
        if left is not None and (passed := self.seconds) + left > 0:
            self._fraction = max(self._fraction, min(1.0, passed / (passed + left)))
        self._tell(
            Progress(
                step=self.step,
                fraction=self._fraction,
                seconds_left=left,
                layer=self._layer,
                layers=self._layers,
            )
        )
