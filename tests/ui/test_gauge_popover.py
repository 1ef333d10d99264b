"""What a click on the gauge opens: ten minutes, parts, sensors and programs, live."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QMainWindow
from pytestqt.qtbot import QtBot

from desktop.domain.memory_reading import JobKind, MemoryReading, ProcessMemory
from desktop.services.memory_history import MemoryHistory
from desktop.ui import theme
from desktop.ui.memory.gauge import MemoryGauge
from desktop.ui.memory.gauge_popover import GaugePopover
from desktop.ui.memory.history_chart import HistoryChart, moments_of
from tests.ui.test_gauge import GIB, LOADED, card, reading

pytestmark = pytest.mark.qt_log_ignore("does not support raise")  # the offscreen platform


def at(time: float, found: MemoryReading) -> MemoryReading:
    return msgspec.structs.replace(found, monotonic_time=time)


@pytest.fixture
def window(qtbot: QtBot) -> QMainWindow:
    made = QMainWindow()
    made.resize(1000, 700)
    gauge = MemoryGauge()
    made.setCentralWidget(gauge)
    qtbot.addWidget(made)
    with qtbot.waitExposed(made):
        made.show()
    return made


def open_over(window: QMainWindow, history: MemoryHistory) -> GaugePopover:
    gauge = window.centralWidget()
    assert isinstance(gauge, MemoryGauge)
    if history.newest is not None:
        gauge.show_reading(history.newest)
    made = GaugePopover(history, gauge)
    made.open_above()
    return made


def history_of(*readings: MemoryReading) -> MemoryHistory:
    made = MemoryHistory()
    for found in readings:
        made.add(found)
    return made


def programs(popover: GaugePopover) -> list[list[str]]:
    table = popover._table
    return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]


def test_it_lists_programs_sensors_and_parts(window: QMainWindow) -> None:
    window.centralWidget().show_engine(LOADED)
    popover = open_over(window, history_of(at(10.0, reading(card()))))
    assert popover._state.text() == "17.2 of 24.0 GB · 37 % busy · 61 °C · 212 W"
    assert programs(popover) == [["This engine", "10", "9.1 GB"], ["Xorg", "11", "1.0 GB"]]
    assert "weights" in popover._parts.text()
    assert "are reckoned" in popover._note.text()
    assert popover._moment.text() == (
        "now: other programs 8.1 GB · engine 9.1 GB · free 6.8 GB · 37 % busy · 61 °C · 212 W"
    )
    assert window.rect().contains(window.mapFromGlobal(popover.geometry().topLeft()))
    popover.close()


def test_it_knows_a_job(window: QMainWindow) -> None:
    busy = msgspec.structs.replace(
        card(), processes=(*card().processes, ProcessMemory(12, 3 * GIB, "python3", of_job=JobKind.QUANTIZATION))
    )
    popover = open_over(window, history_of(at(9.0, reading(card())), at(10.0, reading(busy)), at(60.0, reading(busy))))
    assert programs(popover) == [
        ["This engine", "10", "9.1 GB"],
        ["Quantization", "12", "3.0 GB"],
        ["Xorg", "11", "1.0 GB"],
    ]
    assert popover._moment.text().startswith("now: other programs 5.1 GB · quantization 3.0 GB · engine 9.1 GB · ")
    before, _, now = moments_of(popover._history.readings, "GPU-0")
    assert (before.job, now.job, now.others + now.job) == (0, 3 * GIB, before.others)
    image = popover._chart.grab().toImage()
    column = {image.pixelColor(image.width() - 3, y).name() for y in range(image.height())}
    assert theme.palette_of(popover._chart).job in column
    popover.close()


def test_it_stays_live_and_keeps_the_card_that_was_chosen(window: QMainWindow) -> None:
    history = history_of(at(10.0, reading(card(), card(1, used=5, engine=0))))
    popover = open_over(window, history)
    assert [popover._choice.itemText(i) for i in range(popover._choice.count())] == [
        "0 RTX 4090",
        "1 RTX 4090",
        "This machine",
    ]
    popover._choice.setCurrentIndex(1)
    assert popover._state.text().startswith("5.0 of 24.0 GB")
    later = at(11.0, reading(card(), card(1, used=7, engine=0)))
    history.add(later)
    popover.show_reading(later)
    assert popover._state.text().startswith("7.0 of 24.0 GB")
    # The first card is lost: the choice follows the card, not its place.
    last = at(12.0, reading(card(1, used=8, engine=0)))
    history.add(last)
    popover.show_reading(last)
    assert popover._state.text().startswith("8.0 of 24.0 GB")
    popover._choice.setCurrentIndex(popover._choice.count() - 1)
    assert popover._state.text() == "20.0 of 64.0 GB"
    assert not popover._table.isVisible()
    popover.close()


def test_without_a_card_or_a_list_of_programs_it_says_so(window: QMainWindow) -> None:
    popover = open_over(window, history_of(at(1.0, reading(note="No NVIDIA driver found"))))
    assert popover._title.text() == "This machine"
    assert popover._note.text() == "No NVIDIA driver found"
    popover.close()
    popover = open_over(window, history_of(at(1.0, reading(card(processes=None)))))
    assert "does not tell which programs" in popover._note.text()
    popover.close()
    popover = open_over(window, MemoryHistory())
    assert popover._state.text() == "Reading memory…"
    popover.close()


def test_a_programs_name_is_text_and_an_unknown_size_is_not_zero(window: QMainWindow) -> None:
    hostile = card(processes=(ProcessMemory(1, None, "<b>x</b>"),))
    popover = open_over(window, history_of(at(1.0, reading(hostile))))
    assert programs(popover) == [["<b>x</b>", "1", "not told"]]
    popover.close()


def test_the_mouse_and_the_keys_choose_a_moment(window: QMainWindow, qtbot: QtBot) -> None:
    steps = [at(float(second), reading(card(used=10 + second // 300, engine=0))) for second in range(0, 600, 10)]
    popover = open_over(window, history_of(*steps))
    chart = popover._chart
    assert chart.moment.others == 11 * GIB
    qtbot.mouseMove(chart, QPoint(chart.width() // 4, 20))
    assert chart.moment.others == 10 * GIB
    assert " ago: other programs 10.0 GB" in popover._moment.text()
    qtbot.keyClick(chart, Qt.Key.Key_End)
    assert popover._moment.text().startswith("now: ")
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert popover._moment.text().startswith("10 s ago: ")
    qtbot.keyClick(chart, Qt.Key.Key_Home)
    assert chart.moment.time == 0.0
    assert chart.accessibleDescription().startswith("9 min 50 s ago: ")
    popover.close()


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_the_areas_have_the_colours_of_their_owners(qtbot: QtBot, colours: theme.Palette) -> None:
    chart = HistoryChart()
    qtbot.addWidget(chart)
    chart.setPalette(theme.qt_palette(colours))
    chart.resize(400, 132)
    chart.show_moments(moments_of([at(float(second), reading(card())) for second in range(600)], "GPU-0"), 599.0)
    image = chart.grab().toImage()
    seen = {image.pixelColor(x, y).name() for x in range(0, 400, 3) for y in range(0, 110, 3)}
    assert {colours.other, colours.weights, colours.free} <= seen
    chart.show_moments([], 0.0)
    assert chart.moment is None
    assert not chart.grab().isNull()
