"""Cards come and go, MIG is switched, a driver reloaded: readings go on, and a note says what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardware import fake_nvml as fake
from tests.hardware.fake_nvml import GIB, FakeNvml, ReaderChild

A100, SMALL, LARGE = "NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
TWO = (fake.card(used=GIB, name="NVIDIA A"), fake.card(used=2 * GIB, name="NVIDIA B"))


@pytest.fixture
def reader(fake_driver: FakeNvml) -> Iterator[ReaderChild]:
    with ReaderChild(fake_driver.environment()) as child:
        yield child


def split_card(*, second: bool = True, name: str = SMALL) -> list[str]:
    """A card in MIG mode with instances in slots 1 and 4."""
    lines = [fake.card(80 * GIB, 30 * GIB, name=A100), fake.mig(0), fake.instance(0, 1, 10 * GIB, 4 * GIB, name)]
    return lines + [fake.instance(0, 4, 40 * GIB, 7 * GIB, LARGE)] * second


def test_instances_are_read_in_place_of_their_card(fake_driver, reader):
    fake_driver.set(*split_card(), fake.process(0, 10, 3 * GIB, slot=1), fake.process(0, 11, 6 * GIB, slot=4))
    cards, note = reader.read()
    assert note == ""
    assert [(c["index"], c["uuid"], c["name"]) for c in cards] == [
        (0, "MIG-fake-0-1", SMALL),
        (1, "MIG-fake-0-4", LARGE),
    ]
    assert [(c["total_bytes"], c["used_bytes"]) for c in cards] == [(10 * GIB, 4 * GIB), (40 * GIB, 7 * GIB)]
    assert [[p["pid"] for p in c["processes"]] for c in cards] == [[10], [11]]


def test_an_instance_has_the_sensors_of_its_card(fake_driver, reader):
    fake_driver.set(*split_card())
    cards, _ = reader.read()
    assert [c["temperature"] for c in cards] == [61, 61]
    assert [c["utilisation"] for c in cards] == [None, None], "a card in MIG mode does not tell"
    assert [c["power_watts"] for c in cards] == [212.4, None], "the sum is what the card draws"


def test_an_instance_without_a_telling_name_gets_one(fake_driver, reader):
    fake_driver.set(*split_card(name=A100, second=False))
    assert [c["name"] for c in reader.read()[0]] == [f"{A100} MIG 1"]


def test_whole_cards_come_first_then_the_first_instance_of_each_card(fake_driver, reader):
    fake_driver.set(
        *split_card(),
        fake.card(name="NVIDIA whole"),
        fake.card(80 * GIB, name=A100),
        fake.mig(2),
        fake.instance(2, 0, 20 * GIB, 0, LARGE),
    )
    cards, _ = reader.read()
    assert [(c["index"], c["uuid"]) for c in cards] == [
        (0, "GPU-fake-1"),
        (1, "MIG-fake-0-1"),
        (2, "MIG-fake-2-0"),
        (3, "MIG-fake-0-4"),
    ]


def test_instances_made_and_destroyed_meanwhile(fake_driver, reader):
    fake_driver.set(*split_card())
    assert len(reader.read()[0]) == 2
    fake_driver.set(*split_card(second=False))
    cards, note = reader.read(seconds_later=2)
    assert ([c["uuid"] for c in cards], note) == (["MIG-fake-0-1"], ""), "nothing is missing: it was taken away"
    fake_driver.set(*split_card())
    assert len(reader.read(seconds_later=1)[0]) == 2


def test_an_instance_destroyed_between_two_looks(fake_driver, reader):
    fake_driver.set(*split_card())
    reader.read()
    fake_driver.set(*split_card(second=False))
    cards, note = reader.read()
    assert ([c["index"] for c in cards], note) == ([0], "Card 1 does not answer: it is gone")
    cards, note = reader.read(seconds_later=1)
    assert ([c["index"] for c in cards], note) == ([0], "")


def test_mig_switched_on_and_off_while_running(fake_driver, reader):
    whole = fake.card(80 * GIB, 30 * GIB, name=A100)
    fake_driver.set(whole)
    assert [c["name"] for c in reader.read()[0]] == [A100]
    fake_driver.set(whole, fake.mig(0))
    assert reader.read(seconds_later=1) == ([], f"{A100} is in MIG mode and has no instance")
    fake_driver.set(*split_card())
    cards, note = reader.read(seconds_later=1)
    assert ([c["name"] for c in cards], note) == ([SMALL, LARGE], "")
    fake_driver.set(whole)
    reader.read()
    cards, note = reader.read(seconds_later=1)
    assert ([(c["uuid"], c["total_bytes"]) for c in cards], note) == ([("GPU-fake-0", 80 * GIB)], "")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (fake.GPU_IS_LOST, "GPU is lost"),
        (fake.NOT_FOUND, "it is gone"),
        (fake.INVALID_ARGUMENT, "it is gone"),
        (fake.UNKNOWN, "Unknown Error"),
    ],
)
def test_one_card_of_two_fails_the_other_never_flickers(fake_driver, reader, code, reason):
    fake_driver.set(*TWO)
    before = reader.read()[0][0]
    fake_driver.set(*TWO, fake.error("nvmlDeviceGetMemoryInfo", code, 1))
    fake_driver.note_calls()
    for _ in range(20):
        cards, note = reader.read(seconds_later=0.5)
        assert (cards, note) == ([before], f"Card 1 does not answer: {reason}")
    assert "nvmlInitWithFlags" not in fake_driver.calls(), "for ten seconds at least the driver stays open"
    for _ in range(60):
        assert reader.read(seconds_later=0.5)[0] == [before]
    assert "nvmlInitWithFlags" in fake_driver.calls(), "then a new start may help"
    fake_driver.set(*TWO)
    cards, note = reader.read()
    assert ([c["index"] for c in cards], note) == ([0, 1], "")


def test_opening_the_driver_anew_does_not_ask_sensors_more_often(fake_driver, reader):
    fake_driver.set(*TWO, fake.error("nvmlDeviceGetMemoryInfo", fake.GPU_IS_LOST, 1))
    reader.read()
    fake_driver.note_calls()
    for _ in range(400):
        reader.read(seconds_later=0.25)
    calls = fake_driver.calls()
    assert calls.count("nvmlInitWithFlags") >= 2
    assert 99 <= calls.count("nvmlDeviceGetPowerUsage") <= 101


def test_a_card_that_is_unplugged_and_plugged_in_again(fake_driver, reader):
    first, second = TWO
    fake_driver.set(first, second)
    reader.read()
    fake_driver.set(first)
    cards, note = reader.read()
    assert (len(cards), note) == (1, "Card 1 does not answer: it is gone")
    for _ in range(5):
        cards, note = reader.read(seconds_later=31)
        assert (len(cards), note) == (1, "NVIDIA B is gone"), "it is not forgotten"
    fake_driver.set(first, second)
    cards, note = reader.read(seconds_later=31)
    assert ([c["uuid"] for c in cards], note) == (["GPU-fake-0", "GPU-fake-1"], "")


def test_the_first_card_unplugged_the_second_takes_its_number(fake_driver, reader):
    second = (TWO[1], "uuid 0 GPU-second")
    fake_driver.set(*TWO, "uuid 1 GPU-second")
    reader.read()
    fake_driver.set(*second)
    reader.read(seconds_later=1)
    cards, note = reader.read(seconds_later=1)
    assert [(c["index"], c["uuid"], c["used_bytes"]) for c in cards] == [(0, "GPU-second", 2 * GIB)]
    assert note == "NVIDIA A is gone"


def test_a_card_that_was_never_there_before(fake_driver, reader):
    fake_driver.set(TWO[0])
    assert len(reader.read()[0]) == 1
    fake_driver.set(*TWO)
    cards, note = reader.read(seconds_later=1)
    assert (len(cards), note) == (2, "")


def test_a_driver_that_was_reloaded_between_two_readings(fake_driver, reader):
    fake_driver.set(TWO[0])
    reader.read()
    failing = [fake.error(f, fake.UNINITIALIZED) for f in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCount_v2")]
    fake_driver.set(TWO[0], *failing)
    assert reader.read() == ([], "The NVIDIA driver does not answer: it was reloaded")
    assert reader.read(seconds_later=1) == ([], "The NVIDIA driver does not answer: it was reloaded")
    fake_driver.set(TWO[0])
    cards, note = reader.read(seconds_later=2)
    assert (len(cards), note) == (1, "")


def test_all_cards_lost_opens_the_driver_at_the_first_retry(fake_driver, reader):
    fake_driver.set(*TWO)
    reader.read()
    fake_driver.set(*TWO, fake.error("nvmlDeviceGetMemoryInfo", fake.GPU_IS_LOST))
    reader.read()
    fake_driver.note_calls()
    reader.read(seconds_later=1)
    assert fake_driver.calls()[:2] == ["nvmlShutdown", "nvmlInitWithFlags"]
