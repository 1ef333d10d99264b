"""The names of chosen cards, and what cannot be chosen."""

from __future__ import annotations

import pytest

from desktop.domain.card_choice import card_of, usable_together, with_uuids
from desktop.domain.engine_config import Backend, EngineConfig, visible_devices
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.memory_reading import CardReading


def cards(*uuids: str) -> list[CardReading]:
    return [
        CardReading(index=index, uuid=uuid, name="card", total_bytes=1, used_bytes=0)
        for index, uuid in enumerate(uuids)
    ]


WHOLE, MIXED, PARTS = cards("GPU-a", "GPU-b", "GPU-c"), cards("GPU-a", "MIG-b", "MIG-c"), cards("MIG-a", "MIG-b")


@pytest.mark.parametrize(
    ("there", "devices", "uuid"),
    [
        (WHOLE, None, "GPU-a"),
        (WHOLE, (2, 1), "GPU-b"),
        (MIXED, (2,), "MIG-c"),
        (PARTS, None, "MIG-a"),
        (WHOLE, (7,), "GPU-a"),
        ([], (1,), None),
    ],
)
def test_a_job_runs_on_the_card_of_the_models(
    there: list[CardReading], devices: tuple[int, ...] | None, uuid: str | None
) -> None:
    found = card_of(there, EngineConfig(devices=devices))
    assert (found.uuid if found else None) == uuid


@pytest.mark.parametrize(
    ("there", "setting", "uuids", "numbers"),
    [
        (WHOLE, {}, (), None),
        (WHOLE, {"tp": 2}, (), None),
        (WHOLE, {"devices": (2,)}, ("GPU-c",), (0,)),
        (WHOLE, {"devices": (2, 0), "tp": 2}, ("GPU-c", "GPU-a"), (0, 1)),
        (MIXED, {"devices": (2,)}, ("MIG-c",), (0,)),
        (PARTS, {}, (), None),
        (PARTS, {"devices": (1,)}, ("MIG-b",), (0,)),
        ([], {"devices": (1,)}, (), (1,)),  # nothing is known of the cards
        (cards("", ""), {"devices": (1,)}, (), (1,)),
        (WHOLE, {"devices": (1,), "backend": Backend.CPU}, (), (1,)),
    ],
)
def test_a_chosen_card_is_named(there, setting, uuids, numbers):
    found = with_uuids(EngineConfig(card_uuids=("GPU-stale",), **setting), there)
    assert found.card_uuids == uuids
    assert visible_devices(found) == numbers
    found.check()


@pytest.mark.parametrize(
    ("there", "setting", "words"),
    [
        (PARTS, {"tp": 2}, "one MIG instance only"),
        (PARTS, {"tp": 2, "devices": (0, 1)}, "one MIG instance only"),
        (MIXED, {"tp": 2, "devices": (0, 1)}, "one MIG instance only"),
        (WHOLE, {"devices": (3,)}, "is not there"),
    ],
)
def test_what_cannot_be_is_refused_in_words(there, setting, words):
    with pytest.raises(TurbodeskError) as caught:
        with_uuids(EngineConfig(**setting), there).check()
    assert caught.value.failure.code is FailureCode.ENGINE_CONFIG_INVALID
    assert words in caught.value.failure.message


@pytest.mark.parametrize(
    ("there", "devices", "usable"),
    [
        (WHOLE, None, [0, 1, 2]),
        (WHOLE, (1,), [0, 1, 2]),
        (MIXED, None, [0]),
        (MIXED, (2,), [2]),
        (PARTS, None, [0]),
        (PARTS, (1,), [1]),
        ([], None, []),
    ],
)
def test_an_instance_is_planned_for_alone(there, devices, usable):
    assert [card.index for card in usable_together(there, EngineConfig(devices=devices))] == usable
