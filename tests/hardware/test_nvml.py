"""The real pynvml code against a driver library of our own that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hardware import fake_nvml as fake
from tests.hardware.fake_nvml import GIB, FakeNvml, ReaderChild


@pytest.fixture
def reader(fake_driver: FakeNvml) -> Iterator[ReaderChild]:
    with ReaderChild(fake_driver.environment()) as child:
        yield child


def test_without_a_driver_library_says_so_and_does_not_import_pynvml(tmp_path):
    import ctypes

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        pass
    else:
        pytest.skip("this machine has an NVIDIA driver")
    driver = FakeNvml(tmp_path, tmp_path / "state")
    with ReaderChild(driver.environment()) as child:
        assert child.read() == ([], "No NVIDIA driver found")
        modules = child.modules()
    assert "pynvml" not in modules
    assert "torch" not in modules
    assert "psutil" not in modules


def test_reads_everything_a_card_tells(fake_driver, reader):
    fake_driver.set(fake.card(24 * GIB, 17 * GIB), fake.process(0, 4242, 9 * GIB))
    cards, note = reader.read()
    assert note == ""
    assert cards == [
        {
            "index": 0,
            "uuid": "GPU-fake-0",
            "name": "NVIDIA GeForce RTX 4090",
            "total_bytes": 24 * GIB,
            "used_bytes": 17 * GIB,
            "processes": [{"pid": 4242, "used_bytes": 9 * GIB, "name": "", "of_engine": False, "of_job": None}],
            "utilisation": 37,
            "temperature": 61,
            "power_watts": 212.4,
            "engine_hidden": False,
        }
    ]
    assert "torch" not in reader.modules()


def test_a_process_on_both_lists_counts_once_with_the_larger_figure(fake_driver, reader):
    fake_driver.set(
        fake.card(),
        fake.process(0, 10, 3 * GIB),
        fake.process(0, 10, 2 * GIB, "graphics"),
        fake.process(0, 11, None),
        fake.process(0, 11, 1 * GIB, "graphics"),
        fake.process(0, 12, None),
    )
    cards, _ = reader.read()
    assert [(p["pid"], p["used_bytes"]) for p in cards[0]["processes"]] == [(10, 3 * GIB), (11, GIB), (12, None)]


def test_a_process_that_holds_nothing_is_one_whose_share_is_not_told(fake_driver, reader):
    fake_driver.set(fake.card(), fake.process(0, 10, 0), fake.process(0, 11, 0), fake.process(0, 11, GIB, "graphics"))
    cards, _ = reader.read()
    assert [(p["pid"], p["used_bytes"]) for p in cards[0]["processes"]] == [(10, None), (11, GIB)]


@pytest.mark.parametrize(("seconds", "asked"), [(0.25, 20), (0.125, 10)])
def test_a_faster_gauge_asks_less_often_who_holds_the_memory(fake_driver, reader, seconds, asked):
    fake_driver.set(fake.card())
    fake_driver.note_calls()
    for _ in range(20):
        reader.read(seconds_later=seconds)
    calls = fake_driver.calls()
    assert calls.count("nvmlDeviceGetMemoryInfo") == 20
    assert calls.count("nvmlDeviceGetComputeRunningProcesses_v3") == asked


def test_processes_are_named(fake_driver, reader):
    fake_driver.set(fake.card(), fake.process(0, reader.pid, GIB))
    cards, _ = reader.read()
    assert cards[0]["processes"][0]["name"].startswith("python")


def test_what_a_card_does_not_support_is_unknown_and_not_zero(fake_driver, reader):
    fake_driver.set(
        fake.card(),
        *(
            fake.error(f"nvmlDeviceGet{name}", fake.NOT_SUPPORTED)
            for name in (
                "UtilizationRates",
                "Temperature",
                "PowerUsage",
                "ComputeRunningProcesses_v3",
                "GraphicsRunningProcesses_v3",
                "UUID",
            )
        ),
    )
    cards, note = reader.read()
    assert note == ""
    assert cards[0]["total_bytes"] == 24 * GIB
    for field in ("utilisation", "temperature", "power_watts", "processes"):
        assert cards[0][field] is None


@pytest.mark.parametrize("code", [fake.NOT_SUPPORTED, fake.NO_PERMISSION])
def test_a_card_that_does_not_report_memory_stays_in_the_list(fake_driver, reader, code):
    fake_driver.set(fake.card(), fake.error("nvmlDeviceGetMemoryInfo", code))
    cards, note = reader.read()
    assert note == ""
    assert cards[0]["total_bytes"] == 0


def test_a_lost_card_leaves_the_others_and_comes_back(fake_driver, reader):
    two = [fake.card(used=GIB), fake.card(used=2 * GIB)]
    fake_driver.set(*two)
    assert len(reader.read()[0]) == 2
    fake_driver.set(*two, fake.error("nvmlDeviceGetMemoryInfo", fake.GPU_IS_LOST, 1))
    cards, note = reader.read()
    assert [card["index"] for card in cards] == [0]
    assert note == "Card 1 does not answer: GPU is lost"
    fake_driver.set(*two, fake.error("nvmlDeviceGetHandleByIndex_v2", fake.GPU_IS_LOST, 0))
    cards, note = reader.read(seconds_later=1)
    assert [card["index"] for card in cards] == [1]
    assert note == "Card 0 does not answer: GPU is lost"
    fake_driver.set(*two)
    cards, note = reader.read(seconds_later=60)
    assert [card["index"] for card in cards] == [0, 1]
    assert note == ""


def test_the_only_card_lost(fake_driver, reader):
    fake_driver.set(fake.card(), fake.error("nvmlDeviceGetMemoryInfo", fake.GPU_IS_LOST))
    assert reader.read() == ([], "The NVIDIA driver does not answer: GPU is lost")


def test_a_driver_reload_is_survived(fake_driver, reader):
    fake_driver.set(fake.card(used=GIB))
    assert len(reader.read()[0]) == 1
    fake_driver.set("driver gone")
    cards, note = reader.read()
    assert cards == []
    assert note.startswith("The NVIDIA driver does not answer: ")
    cards, note = reader.read(seconds_later=1)
    assert (cards, note) == ([], "The NVIDIA driver does not answer: Driver Not Loaded")
    fake_driver.set(fake.card(used=2 * GIB))
    assert reader.read(seconds_later=0.1)[0] == [], "it waits longer after each failure"
    cards, note = reader.read(seconds_later=2)
    assert [card["used_bytes"] for card in cards] == [2 * GIB]
    assert note == ""


def test_waiting_grows_to_half_a_minute_and_no_more(fake_driver, reader):
    for _ in range(10):
        reader.read(seconds_later=60)
    fake_driver.set(fake.card())
    assert reader.read(seconds_later=25)[0] == []
    assert len(reader.read(seconds_later=6)[0]) == 1


def test_an_upgraded_driver_under_a_running_system(fake_driver, reader):
    fake_driver.set(fake.card(), fake.error("nvmlInitWithFlags", fake.VERSION_MISMATCH))
    cards, note = reader.read()
    assert cards == []
    assert note.startswith("The NVIDIA driver does not answer: it was updated. Start Turbodesk anew")
    fake_driver.set(fake.card())
    cards, note = reader.read(seconds_later=1)
    assert (len(cards), note) == (1, ""), "the old version may come back"


def test_a_driver_without_cards(fake_driver, reader):
    fake_driver.set("sleep 0")
    assert reader.read() == ([], "The NVIDIA driver sees no card")


def test_close_and_read_again(fake_driver, reader):
    fake_driver.set(fake.card())
    reader.read()
    reader.close()
    reader.close()
    assert len(reader.read()[0]) == 1
