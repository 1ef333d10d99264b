"""Whose memory it is, when the driver tells and when it does not."""

from __future__ import annotations

import pytest

from desktop.domain.memory_reading import CardReading, JobKind, ProcessMemory, with_engine

GIB = 2**30
ENGINE, OTHER, UNTOLD = (
    ProcessMemory(8, GIB, "python3"),
    ProcessMemory(9, 2 * GIB, "blender"),
    ProcessMemory(7, None, "x"),
)
# A process of another PID namespace: it has a number here, and no name.
OUTSIDE = ProcessMemory(91_234, 3 * GIB)


def card(*processes: ProcessMemory, told: bool = True) -> CardReading:
    return CardReading(
        index=0, uuid="", name="", total_bytes=24 * GIB, used_bytes=9 * GIB, processes=processes if told else None
    )


@pytest.mark.parametrize(
    ("cards", "pids", "shares"),
    [
        ([card(ENGINE, OTHER)], {8}, [GIB]),
        ([card(ENGINE, OTHER)], {8, 9}, [3 * GIB]),
        ([card(ENGINE, UNTOLD)], {7}, [None]),
        ([card(ENGINE, UNTOLD)], {8}, [GIB]),
        ([card(OTHER)], {8}, [0]),
        ([card(OTHER)], set(), [0]),
        ([card(told=False)], {8}, [None]),
        ([card(told=False)], set(), [None]),
        # In a container: the engine runs, and is among processes that have other numbers here.
        ([card(OUTSIDE)], {8}, [None]),
        ([card(OUTSIDE), card()], {8}, [None, 0]),
        ([card(OUTSIDE)], set(), [0]),
        # One process that is known shows that the numbers are those of this machine.
        ([card(OUTSIDE), card(ENGINE)], {8}, [0, GIB]),
        ([card(OUTSIDE), card(OTHER)], {8}, [0, 0]),
    ],
)
def test_the_engines_share_is_told_or_unknown_and_never_guessed(cards, pids, shares):
    assert [one.engine_bytes for one in with_engine(cards, pids)] == shares


@pytest.mark.parametrize(
    ("processes", "engine", "job", "shares"),
    [
        ([ENGINE, OTHER], {8}, {9}, (GIB, 2 * GIB)),
        ([ENGINE, OTHER], set(), {8, 9}, (0, 3 * GIB)),
        ([ENGINE, OTHER], {8}, set(), (GIB, 0)),
        ([ENGINE, UNTOLD], {8}, {7}, (GIB, None)),
        ([OUTSIDE], set(), {9}, (None, None)),
        ([OUTSIDE, OTHER], set(), {8}, (0, 0)),
    ],
)
def test_the_share_of_a_job_is_told_apart(processes, engine, job, shares):
    (found,) = with_engine([card(*processes)], engine, job, JobKind.COMPARISON)
    assert (found.engine_bytes, found.job_bytes) == shares
    assert found.job is (JobKind.COMPARISON if any(one.pid in job for one in processes) else None)
