"""The memory gauge: what it says and shows in every state, and that it paints no more than it must."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt
from PySide6.QtGui import QHelpEvent, QPaintEvent, QPalette
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from desktop.domain.engine_config import Backend
from desktop.domain.engine_memory import EngineMemory
from desktop.domain.memory import Confidence, Forecast
from desktop.domain.memory_reading import CardReading, HostReading, JobKind, MemoryReading, ProcessMemory
from desktop.ui import theme
from desktop.ui.memory.content import tooltip_of
from desktop.ui.memory.gauge import BAR_HEIGHT, MemoryGauge

GIB = 2**30
HOST = HostReading(total=64 * GIB, used=20 * GIB, available=44 * GIB, engine_bytes=3 * GIB)


def card(index: int = 0, used: float = 17.2, engine: float = 9.1, **changes: object) -> CardReading:
    whole = CardReading(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA GeForce RTX 4090",
        total_bytes=24 * GIB,
        used_bytes=round(used * GIB),
        processes=(ProcessMemory(10, round(engine * GIB), "python3", of_engine=True), ProcessMemory(11, GIB, "Xorg")),
        utilisation=37,
        temperature=61 + index,
        power_watts=212.4,
    )
    return msgspec.structs.replace(whole, **changes)


def reading(*cards: CardReading, time: float = 1000.0, note: str = "", host: HostReading = HOST) -> MemoryReading:
    return MemoryReading(monotonic_time=time, cards=cards, host=host, driver_note=note)


STATES = {
    "one card": reading(card()),
    "four cards": reading(*(card(i) for i in range(4))),
    "eight cards": reading(*(card(i) for i in range(8))),
    "sixteen cards": reading(*(card(i) for i in range(16))),
    "mixed cards": reading(card(), card(1, name="NVIDIA RTX A6000")),
    "a lost card": reading(card(), note="Card 1 does not answer: GPU is lost"),
    "no driver": reading(note="No NVIDIA driver found"),
    "no driver and no host": reading(note="No NVIDIA driver found", host=HostReading(total=0, used=0, available=0)),
    "no memory reported": reading(card(total_bytes=0, used_bytes=0)),
    "no sensors": reading(card(utilisation=None, temperature=None, power_watts=None)),
    "no process list": reading(card(processes=None)),
    "more used than there is": reading(card(used=30, engine=40)),
    "empty": reading(card(used=0, engine=0)),
}


LOADED = EngineMemory(
    forecast=Forecast(
        backend=Backend.TURBOMIND,
        cards=1,
        total=24 * GIB,
        others=8 * GIB,
        context=GIB // 2,
        language=4 * GIB,
        embeddings=0,
        vision=0,
        ratio=0.5,
        kv=4 * GIB,
        workspace=GIB // 2,
        residual=0,
        margin=GIB // 4,
        before_cache=8 * GIB,
        block=2**20,
        block_tokens=64,
        page=2**25,
        state=0,
        session=8192,
        batch=4,
        confidence=Confidence.SIMILAR,
    ),
    cards=(0,),
    cache_usage=0.25,
)


class PaintCounter(QObject):
    """Counts the paintings of the widgets it watches. area: what was painted last."""

    count = 0
    area = QRect()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.count += 1
            self.area = event.rect()
        return False


@pytest.fixture
def gauge(qtbot) -> MemoryGauge:
    widget = MemoryGauge()
    qtbot.addWidget(widget)
    widget.resize(1280, widget.sizeHint().height())
    return widget


def parts(gauge: MemoryGauge, bar: int = 0) -> dict[str, float]:
    return {part.label: round(part.bytes / GIB, 1) for part in gauge.content.bars[bar].segments}


def test_before_the_first_reading(gauge):
    assert gauge.content.detail == "Reading memory…"
    assert gauge.accessibleDescription() == "Reading memory…"
    assert gauge.accessibleName() != ""


def test_one_card(gauge):
    gauge.show_reading(STATES["one card"])
    assert gauge.content.title == "RTX 4090"
    assert gauge.content.detail == "17.2 of 24.0 GB · 61 °C · 212 W"
    assert parts(gauge) == {"other programs": 8.1, "this engine": 9.1, "free": 6.8}
    assert sum(part.bytes for part in gauge.content.bars[0].segments) == 24 * GIB
    assert gauge.accessibleDescription() == "RTX 4090: 17.2 of 24.0 GB in use, engine 9.1 GB"


def test_without_an_engine_no_share_of_it_is_shown(gauge):
    gauge.show_reading(reading(card(processes=())))
    assert parts(gauge) == {"other programs": 17.2, "free": 6.8}
    assert "engine" not in gauge.accessibleDescription()


def test_an_unknown_share_is_not_called_other_programs(gauge):
    gauge.show_reading(STATES["no process list"])
    assert parts(gauge) == {"in use": 17.2, "free": 6.8}


def test_sums_of_shared_memory_stay_within_the_bar(gauge):
    gauge.show_reading(STATES["more used than there is"])
    assert parts(gauge) == {"other programs": 0, "this engine": 24, "free": 0}


def test_the_parts_of_the_engine_are_told_apart_and_marked_as_reckoned(gauge):
    gauge.show_reading(STATES["one card"])
    gauge.show_engine(LOADED)
    assert parts(gauge) == {
        "other programs": 8.1,
        "weights": 4,
        "KV cache in use": 1,
        "KV cache, not in use": 3,
        "workspace": 1.1,
        "free": 6.8,
    }
    assert sum(part.bytes for part in gauge.content.bars[0].segments) == 24 * GIB
    figures = {part.label: part.figure for part in gauge.content.legend}
    assert figures["weights"] == "≈ 4.0"
    assert figures["other programs"] == "8.1"
    assert "engine 9.1 GB (weights ≈ 4.0, KV cache in use ≈ 1.0, " in gauge.accessibleDescription()
    assert "     weights: ≈ 4.0 GB" in tooltip_of(STATES["one card"], LOADED)
    gauge.show_engine(None)
    assert parts(gauge) == {"other programs": 8.1, "this engine": 9.1, "free": 6.8}


def test_a_running_job_is_not_another_program(gauge):
    quantizes = ProcessMemory(12, 2 * GIB, "python3", of_job=JobKind.QUANTIZATION)
    busy = card()
    busy = msgspec.structs.replace(busy, processes=(*busy.processes, quantizes))
    gauge.show_reading(reading(busy))
    assert parts(gauge) == {"other programs": 6.1, "quantization": 2, "this engine": 9.1, "free": 6.8}
    assert sum(part.bytes for part in gauge.content.bars[0].segments) == 24 * GIB
    assert gauge.accessibleDescription().endswith("in use, engine 9.1 GB, quantization 2.0 GB")
    assert "2.0 GB  quantization (12)" in tooltip_of(reading(busy))
    gauge.show_engine(LOADED)
    beside = busy.used_bytes - busy.engine_bytes
    assert gauge.content.bars[0].outline == (beside, beside + LOADED.forecast.loaded), "the job's memory is taken"
    # What of the memory is the job's is not told: then nothing is called another program's.
    untold = msgspec.structs.replace(busy, processes=(msgspec.structs.replace(quantizes, used_bytes=None),))
    gauge.show_reading(reading(untold, time=2000.0))
    assert parts(gauge) == {"in use": 17.2, "free": 6.8}


def test_without_a_card_a_job_has_its_part_of_the_machines_memory(gauge):
    host = msgspec.structs.replace(HOST, job=JobKind.COMPARISON, job_bytes=5 * GIB)
    gauge.show_reading(reading(note="No NVIDIA driver found", host=host))
    assert parts(gauge) == {"other programs": 12, "comparison": 5, "this engine": 3, "free": 44}
    assert gauge.accessibleDescription().endswith("in use, engine 3.0 GB, comparison 5.0 GB")
    assert "of it this engine 3.0 GB, comparison 5.0 GB" in tooltip_of(reading(host=host))


def test_the_outline_stands_where_the_engine_was_forecast(gauge):
    gauge.setPalette(theme.qt_palette(theme.LIGHT))
    gauge.show_reading(reading(card(used=8.1, engine=0)))
    plain = gauge.grab().toImage()
    gauge.show_engine(LOADED)
    (bar,) = gauge.content.bars
    assert bar.outline == (round(8.1 * GIB), round(8.1 * GIB) + LOADED.forecast.loaded)
    assert gauge.grab().toImage() != plain
    # Cards that it does not run on have none, and neither has the machine's memory.
    gauge.show_reading(reading(card(), card(1)))
    assert [bar.outline is None for bar in gauge.content.bars] == [False, True]
    assert parts(gauge, bar=1) == {"other programs": 8.1, "this engine": 9.1, "free": 6.8}
    gauge.show_reading(STATES["no driver"])
    assert gauge.content.bars[0].outline is None


def test_on_the_processor_the_machines_memory_has_the_parts(gauge):
    on_cpu = msgspec.structs.replace(LOADED.forecast, backend=Backend.CPU, language=2 * GIB)
    gauge.show_engine(EngineMemory(forecast=on_cpu, cache_usage=0.5))
    gauge.show_reading(STATES["no driver"])
    assert parts(gauge) == {"other programs": 17, "weights": 2, "libraries and cache": 1, "free": 44}


def test_a_click_or_a_key_asks_for_details(gauge, qtbot):
    with qtbot.waitExposed(gauge):
        gauge.show()
    with qtbot.waitSignal(gauge.details_requested, timeout=1000):
        qtbot.mouseClick(gauge, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(gauge.details_requested, timeout=1000):
        qtbot.keyClick(gauge, Qt.Key.Key_Return)


def test_several_cards_have_a_bar_each_and_one_legend(gauge):
    gauge.show_reading(STATES["four cards"])
    assert gauge.content.title == "4 × RTX 4090"
    assert gauge.content.detail == "68.8 of 96.0 GB · 64 °C · 850 W"
    assert [bar.label for bar in gauge.content.bars] == ["0", "1", "2", "3"]
    assert [part.label for part in gauge.content.legend] == ["other programs", "this engine", "free"]
    assert sum(part.bytes for part in gauge.content.legend) == 96 * GIB
    gauge.show_reading(STATES["mixed cards"])
    assert gauge.content.title == "2 cards"
    assert [bar.label for bar in gauge.content.bars] == ["0 RTX 4090", "1 RTX A6000"]


def test_more_cards_make_it_taller_only_up_to_a_point(gauge):
    heights = []
    for state in ("one card", "four cards", "eight cards"):
        gauge.show_reading(STATES[state])
        heights.append(gauge.sizeHint().height())
    assert heights[0] < heights[1] == heights[2]


def test_without_a_driver_it_says_so_and_shows_host_memory(gauge):
    gauge.show_reading(STATES["no driver"])
    assert gauge.content.title == "No NVIDIA driver found"
    assert gauge.content.detail == "host memory · 20.0 of 64.0 GB"
    assert parts(gauge) == {"other programs": 17, "this engine": 3, "free": 44}
    assert gauge.accessibleDescription() == (
        "No NVIDIA driver found. Host memory: 20.0 of 64.0 GB in use, engine 3.0 GB"
    )


def test_why_a_card_is_missing_is_said(gauge):
    gauge.show_reading(STATES["a lost card"])
    assert "Card 1 does not answer: GPU is lost" in gauge.content.detail
    assert "Card 1 does not answer: GPU is lost" in gauge.accessibleDescription()
    gauge.show_reading(reading(note="The NVIDIA driver does not answer: Driver Not Loaded"))
    assert gauge.content.title == "The NVIDIA driver does not answer"
    assert gauge.content.detail.endswith("Driver Not Loaded")


@pytest.mark.parametrize("width", [200, 400, 640, 1280, 2560])
@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_every_state_can_be_painted(gauge, width, colours):
    gauge.setPalette(theme.qt_palette(colours))
    gauge.resize(width, gauge.sizeHint().height())
    assert not gauge.grab().isNull()
    for state in STATES.values():
        gauge.show_reading(state)
        gauge.resize(width, gauge.sizeHint().height())
        picture = gauge.grab().toImage()
        assert picture.pixelColor(2, picture.height() - 2).name() == colours.panel


def test_the_bar_has_the_colours_of_its_parts(gauge):
    gauge.setPalette(theme.qt_palette(theme.LIGHT))
    gauge.show_reading(STATES["one card"])
    image = gauge.grab().toImage()
    seen = {image.pixelColor(x, y).name() for x in range(0, image.width(), 4) for y in range(0, image.height(), 4)}
    assert {theme.LIGHT.other, theme.LIGHT.weights, theme.LIGHT.free, theme.LIGHT.panel} <= seen


def test_nothing_is_painted_while_nothing_changes(gauge, qtbot):
    counter = PaintCounter()
    with qtbot.waitExposed(gauge):
        gauge.show()
    gauge.show_reading(reading(card(), time=0.0))
    gauge.show_reading(reading(card(), time=700.0))
    qtbot.wait(50)
    gauge.installEventFilter(counter)
    gauge.timeline.installEventFilter(counter)
    for tick in range(20):
        # A few bytes more, a fraction of a watt: not a pixel, not a digit.
        noisy = card(used_bytes=round(17.2 * GIB) + tick, power_watts=212.4 + tick / 1000)
        gauge.show_reading(reading(noisy, time=700.0 + tick / 4))
        qtbot.wait(2)
    assert counter.count == 0
    gauge.show_reading(reading(card(used=18), time=710.0))
    qtbot.waitUntil(lambda: counter.count >= 2, timeout=5000)


def test_the_timeline_keeps_ten_minutes(gauge):
    for tick in range(4 * 900):
        gauge.show_reading(reading(card(used=tick % 24), time=tick / 4))
    times = [time for time, _ in gauge.timeline.values()]
    assert times[-1] - times[0] == pytest.approx(600, abs=3)
    assert len(times) <= 301


def test_the_timeline_says_what_was_at_a_place(gauge):
    timeline = gauge.timeline
    assert timeline.words_at(0) == "Nothing was measured yet"
    gauge.show_reading(reading(card(used=6), time=1000.0))
    gauge.show_reading(reading(card(used=12), time=1300.0))
    right = timeline.width()
    assert timeline.words_at(right) == "Now: 50 % in use"
    assert timeline.words_at(round(right * 0.75)).endswith(" ago: 25 % in use")
    assert timeline.words_at(0) == "Not measured then"


def test_the_timeline_remembers_changes_only(gauge):
    for tick in range(1000):
        gauge.show_reading(reading(card(used=6 if tick < 900 else 12), time=tick / 4))
    assert [fraction for _, fraction in gauge.timeline.values()] == [0.25, 0.5]


def test_the_timeline_starts_anew_when_it_measures_something_else(gauge):
    gauge.show_reading(reading(card(used=6), time=1.0))
    gauge.show_reading(reading(note="No NVIDIA driver found", time=2.0))
    assert gauge.timeline.values() == [(2.0, pytest.approx(20 / 64, abs=0.01))]


def test_screen_readers_hear_small_changes_seldom_and_big_ones_at_once(gauge):
    gauge.show_reading(reading(card(used=10), time=100.0))
    gauge.show_reading(reading(card(used=10.2), time=100.25))
    assert "10.0 of" in gauge.accessibleDescription()
    gauge.show_reading(reading(card(used=10.2), time=104.0))
    assert "10.2 of" in gauge.accessibleDescription()
    gauge.show_reading(reading(card(used=16), time=104.25))
    assert "16.0 of" in gauge.accessibleDescription()


def test_the_tooltip_lists_programs_by_size():
    many = tuple(ProcessMemory(100 + i, i * GIB, f"program{i}") for i in range(1, 12))
    text = tooltip_of(reading(card(processes=many)))
    assert "RTX 4090: 17.2 of 24.0 GB · 37 % busy · 61 °C · 212 W" in text
    assert text.index("11.0 GB  program11 (111)") < text.index("10.0 GB  program10 (110)")
    assert "and 3 more" in text
    assert "Host memory: 20.0 of 64.0 GB, of it this engine 3.0 GB" in text
    assert "9.1 GB  this engine (10)" in tooltip_of(STATES["one card"])
    assert "size unknown  Xorg (1)" in tooltip_of(reading(card(processes=(ProcessMemory(1, None, "Xorg"),))))
    assert "does not list programs" in tooltip_of(STATES["no process list"])


@pytest.mark.qt_log_ignore("does not support raise")  # the offscreen platform, of the tooltip's window
def test_the_tooltip_takes_a_programs_name_for_text(gauge, qtbot):
    with qtbot.waitExposed(gauge):
        gauge.show()
    gauge.show_reading(reading(card(processes=(ProcessMemory(1, GIB, "<b>x"),))))
    QApplication.sendEvent(gauge, QHelpEvent(QEvent.Type.ToolTip, QPoint(5, 5), gauge.mapToGlobal(QPoint(5, 5))))
    assert "&lt;b&gt;x" in QToolTip.text()
    QToolTip.hideText()


def test_it_follows_a_change_of_colours(gauge):
    gauge.show_reading(STATES["one card"])
    for colours in (theme.DARK, theme.LIGHT):
        gauge.setPalette(theme.qt_palette(colours))
        assert theme.palette_of(gauge) is colours
        assert gauge.palette().color(QPalette.ColorRole.Window).name() == colours.background


def test_figures_follow_four_times_a_second_and_the_line_keeps_every_peak(gauge):
    for tick in range(4):
        gauge.show_reading(reading(card(used=10 + 4 * (tick == 1)), time=100 + tick / 10))
    assert gauge.content.used == 10 * GIB
    assert max(fraction for _, fraction in gauge.timeline.values()) == pytest.approx(14 / 24, abs=0.01)
    gauge.show_reading(reading(card(used=12), time=100.4))
    gauge.show_reading(reading(card(used=13), time=100.5))
    assert gauge.content.used == 12 * GIB
    # The last one is not lost, although nothing changes any more.
    gauge.show_reading(reading(card(used=13), time=100.7))
    assert gauge.content.used == 13 * GIB


def test_painting_a_part_leaves_what_painting_all_would(gauge: MemoryGauge, qtbot: QtBot) -> None:
    """What stands on the screen, after changes of the bars alone, of the legend too, and of the words."""
    gauge.resize(1000, gauge.sizeHint().height())
    with qtbot.waitExposed(gauge):
        gauge.show()
    counter = PaintCounter()
    gauge.installEventFilter(counter)
    areas = set()
    used_and_engine = [(17.2, 9.1), (17.23, 9.1), (17.21, 9.13), (17.21, 5.0), (12.0, 5.0), (12.03, 5.0), (23.0, 2.0)]
    for step, (used, engine) in enumerate(used_and_engine):
        gauge.show_reading(reading(card(used=used, engine=engine), time=2000.0 + step))
        QApplication.processEvents()
        areas.add((counter.area.width(), counter.area.height()))
        left = QRect(0, 0, gauge.timeline.x(), gauge.height())  # the line beside it is painted at its own pace
        on_screen = gauge.screen().grabWindow(gauge.winId()).toImage().copy(left)
        assert on_screen == gauge.grab(left).toImage().convertedTo(on_screen.format()), (used, engine)
    assert len(areas) == 3, "the bars, the bars with the legend, and all"
    below = on_screen.copy(gauge._bars_area().adjusted(0, BAR_HEIGHT + 1, 0, BAR_HEIGHT))
    colours = {below.pixel(x, y) for x in range(below.width()) for y in range(below.height())}
    assert len(colours) > 10, "the legend"
