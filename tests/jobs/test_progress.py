"""The forecast of the time left, with a clock that is turned by hand."""

from __future__ import annotations

import pytest

from desktop.jobs.messages import JobStep, Progress
from desktop.jobs.progress import ProgressMeter

STEPS = (JobStep.LOADING, JobStep.CALIBRATING, JobStep.PACKING, JobStep.CHECKING)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_layers_alike_are_forecast_right_from_the_first_on() -> None:
    clock, told = Clock(), list[Progress]()
    meter = ProgressMeter(STEPS, told.append, clock)
    assert told[-1] == Progress(step=JobStep.LOADING)
    meter.expect(JobStep.PACKING, 20.0)
    meter.expect(JobStep.CHECKING, 5.0)
    clock.now += 10
    meter.begin(JobStep.CALIBRATING, work=4, layers=4)
    assert meter.seconds_left() is None
    for layer in range(4):
        clock.now += 15
        meter.advance()
        assert meter.seconds_left() == pytest.approx(25 + 15 * (3 - layer))
    assert [one.layer for one in told[1:]] == [1, 2, 3, 4, 4]
    meter.begin(JobStep.PACKING, work=100)
    assert meter.seconds_left() == pytest.approx(25)
    clock.now += 40  # twice as slow as expected
    meter.advance(50)
    assert meter.seconds_left() == pytest.approx(45)
    clock.now += 40
    meter.advance(50)
    meter.begin(JobStep.CHECKING)
    clock.now += 5
    meter.begin(JobStep.CHECKING)
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.96


def test_a_slow_first_unit_does_not_frighten() -> None:
    clock = Clock()
    meter = ProgressMeter(STEPS, lambda progress: None, clock)
    meter.expect(JobStep.PACKING, 10.0)
    meter.expect(JobStep.CHECKING, 1.0)
    meter.begin(JobStep.PACKING, work=1000)
    clock.now += 2  # a library was loaded
    meter.advance(1)
    left = meter.seconds_left()
    assert left is not None
    assert 11 < left < 25


def test_no_time_is_told_while_a_step_is_unknown() -> None:
    clock = Clock()
    meter = ProgressMeter(STEPS, lambda progress: None, clock)
    meter.begin(JobStep.CALIBRATING, work=2, layers=2)
    clock.now += 1
    meter.advance()
    assert meter.seconds_left() is None
