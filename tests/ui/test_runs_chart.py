"""The chart of loads: what it shows of them, how one is chosen with mouse and keys, and what it says in words."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QHelpEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from desktop.domain.load_run import LoadRun
from desktop.ui.format import GIB
from desktop.ui.memory.memory_page import MemoryPage
from desktop.ui.memory.runs_chart import RunsChart
from desktop.ui.memory.runs_figures import FIGURES, axis, run_words
from desktop.ui.memory.runs_list_model import RUN
from desktop.ui.memory.runs_panel import RunsPanel
from desktop.ui.theme import DARK, LIGHT, apply_theme
from tests.domain.memory_models import MIB
from tests.ui.conftest import Desk
from tests.ui.test_memory_page import opened, run

FAILED = run(3, None, failure="out_of_memory", load_seconds=None)
FAST = run(2, -200 * MIB, tokens_per_second=99.0, time_to_first_token=0.25)
SLOW = run(1, 100 * MIB, tokens_per_second=50.0)


@pytest.fixture
def chart(qtbot, qapp) -> RunsChart:
    apply_theme(qapp, "light")
    made = RunsChart()
    qtbot.addWidget(made)
    made.resize(600, made.height())
    made.show_runs([FAILED, FAST, SLOW])
    return made


@pytest.fixture
def panel(desk: Desk) -> RunsPanel:
    page = opened(desk)
    assert isinstance(page, MemoryPage)
    desk.models.recorder._on_read([FAILED, FAST, SLOW])
    return page._runs


def place_of(chart: RunsChart, number: int) -> QPoint:
    return chart._column(number).center().toPoint()


def picture(chart: RunsChart) -> QImage:
    return chart.grab().toImage()


def heights(chart: RunsChart, number: int, colour: str) -> int:
    """Pixels of exactly this colour in the middle of a load's column."""
    image, column = picture(chart), chart._column(number)
    x = round(column.center().x())
    return sum(image.pixelColor(x, y) == QColor(colour) for y in range(int(column.top()), int(column.bottom())))


@pytest.mark.parametrize(
    ("largest", "units", "labels"),
    [
        (21.2 * GIB, FIGURES[0].units, ["0", "5 GB", "10 GB", "15 GB", "20 GB", "25 GB"]),
        (900 * MIB, FIGURES[0].units, ["0", "200 MB", "400 MB", "600 MB", "800 MB", "1,000 MB"]),
        (1.2 * GIB, FIGURES[0].units, ["0", "0.5 GB", "1 GB", "1.5 GB"]),
        (100.0, FIGURES[1].units, ["0", "20", "40", "60", "80", "100"]),
        (0.03, FIGURES[2].units, ["0", "0.01 s", "0.02 s", "0.03 s"]),
        (0, FIGURES[2].units, ["0"]),
    ],
)
def test_an_axis_has_round_figures_and_reaches_the_largest(largest, units, labels):
    lines = axis(largest, units)
    assert [label for _, label in lines] == labels
    assert lines[-1][0] >= largest * (1 - 1e-9)


def test_loads_stand_in_the_order_of_time(chart):
    assert chart.shown == (SLOW, FAST, FAILED)
    assert chart.range_words == ""


def test_what_was_measured_is_solid_and_as_high_as_it_is_large(chart):
    solid = [heights(chart, number, LIGHT.weights) for number in range(3)]
    assert solid[2] == 0, "nothing was measured of the load that failed"
    assert SLOW.measured is not None
    assert FAST.measured is not None
    assert solid[1] / solid[0] == pytest.approx(FAST.measured / SLOW.measured, abs=0.03)
    chart.show_figure(1)
    speeds = [heights(chart, number, LIGHT.weights) for number in range(3)]
    assert speeds[1] / speeds[0] == pytest.approx(99 / 50, abs=0.05)


def test_a_forecast_is_outlined_also_where_nothing_was_measured(chart):
    image, column = picture(chart), chart._column(2)
    dashes = sum(image.pixelColor(x, y) == QColor(LIGHT.dim) for x, y in _points(column))
    chart.show_figure(1)
    assert dashes > 20
    image = picture(chart)
    assert not any(image.pixelColor(x, y) == QColor(LIGHT.dim) for x, y in _points(column)), "of speed there is none"


def test_a_load_that_failed_is_marked(chart):
    image = picture(chart)
    marked = [
        any(image.pixelColor(x, y) == QColor(LIGHT.danger) for x, y in _points(chart._column(number)))
        for number in range(3)
    ]
    assert marked == [False, False, True]


def _points(column) -> list[tuple[int, int]]:
    whole = column.toAlignedRect()
    return [(x, y) for x in range(whole.left(), whole.right()) for y in range(whole.top(), whole.bottom() - 2)]


def test_its_colours_follow_the_theme(chart, qapp):
    apply_theme(qapp, "dark")
    try:
        assert heights(chart, 0, DARK.weights) > 20
    finally:
        apply_theme(qapp, "light")
        assert heights(chart, 0, LIGHT.weights) > 20


def test_the_mouse_on_a_load_gives_its_figures(chart, qtbot):
    chart.show()
    qtbot.waitExposed(chart)
    at = place_of(chart, 1)
    QApplication.sendEvent(chart, QHelpEvent(QEvent.Type.ToolTip, at, chart.mapToGlobal(at)))
    assert QToolTip.text() == run_words(FAST)
    beside = QPoint(2, chart.height() // 2)
    QApplication.sendEvent(chart, QHelpEvent(QEvent.Type.ToolTip, beside, chart.mapToGlobal(beside)))
    qtbot.waitUntil(lambda: not QToolTip.isVisible(), timeout=5000)


def test_all_figures_of_a_load_in_words():
    lines = run_words(FAST).splitlines()
    assert lines[0].startswith("=model 2, 1970-01-01 ")
    assert lines[2].startswith("forecast ")
    assert "measured" in lines[2]
    assert "%" in lines[2]
    assert lines[3:] == ["99.0 tokens/s, first token after 0.25 s", "ready"]
    assert run_words(SLOW).splitlines()[3] == "50.0 tokens/s"
    failed = run_words(FAILED).splitlines()
    assert failed[2].endswith(" GB, not measured")
    assert failed[3:] == ["out of memory (while loading)"]


def test_its_description_says_what_it_shows(chart):
    words = chart.accessibleDescription()
    assert words.startswith("Memory of 3 loads, from the oldest to the newest. Measured between ")
    assert "Forecasts were off by" in words
    assert words.endswith("1 failed.")
    chart.mark(FAST.id)
    assert "Chosen: =model 2, " in chart.accessibleDescription()
    chart.show_figure(2)
    assert "between 0.25 s and 0.25 s" in chart.accessibleDescription()
    chart.show_runs([FAILED, SLOW])
    assert "Nothing of it was measured." in chart.accessibleDescription()
    assert "Chosen" not in chart.accessibleDescription()


def many(count: int) -> list[LoadRun]:
    return [run(number, 0) for number in range(1, count + 1)]


def test_of_hundreds_the_newest_that_have_room(chart):
    chart.show_runs(many(300))
    room = len(chart.shown)
    assert 20 < room < 60
    assert chart.shown[-1].id == 300_000_000
    assert chart.range_words == f"the newest {room} of 300 loads"
    chart.resize(1000, chart.height())
    chart.grab()
    assert len(chart.shown) > room
    assert chart.shown[-1].id == 300_000_000


def test_an_old_one_that_is_chosen_is_brought_into_sight(chart):
    chart.show_runs(many(300))
    chart.mark(7_000_000)
    assert 7_000_000 in [one.id for one in chart.shown]
    assert chart.range_words == f"loads 1 to {len(chart.shown)} of 300"


def test_no_chart_of_a_single_load(desk: Desk) -> None:
    panel = opened(desk)._runs
    assert panel._chart.isHidden()
    assert panel._figure.isHidden()
    desk.models.recorder._on_read([SLOW])
    assert panel._chart.isHidden()
    desk.models.recorder._on_read([SLOW, FAST])
    assert not panel._chart.isHidden()
    assert not panel._figure.isHidden()


def test_a_click_chooses_the_load_in_the_table(panel: RunsPanel) -> None:
    for number, chosen in enumerate((SLOW, FAST, FAILED)):
        QTest.mouseClick(panel._chart, Qt.MouseButton.LeftButton, pos=place_of(panel._chart, number))
        assert panel._table.currentIndex().data(RUN) == chosen
        assert panel._chart._chosen == chosen.id
    assert panel._again.isEnabled()


def test_arrow_keys_go_from_load_to_load(panel: RunsPanel) -> None:
    panel._table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    seen = []
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_End):
        QTest.keyClick(panel._chart, key)
        seen.append(panel._table.currentIndex().data(RUN).name)
    assert seen == [f"=model {number}" for number in (3, 2, 1, 1, 2, 3)]
    QTest.keyClick(panel._chart, Qt.Key.Key_Home)
    assert panel._table.currentIndex().data(RUN) == SLOW


def test_what_is_chosen_in_the_table_is_marked_in_the_chart(panel: RunsPanel) -> None:
    panel._table.setCurrentIndex(panel._sorted.index(0, 0))
    assert panel._chart._chosen == FAILED.id
    centre = panel._chart._column(2)
    corner = QPointF(centre.left() + 2, centre.top() + 3).toPoint()
    assert picture(panel._chart).pixelColor(corner) == QColor(LIGHT.accent_soft)


def test_the_choice_of_figures(panel: RunsPanel) -> None:
    assert panel._figure.accessibleName()
    panel._figure.setCurrentIndex(1)
    assert panel._chart.accessibleDescription().startswith("Tokens/s of 3 loads")
    panel._figure.setCurrentIndex(2)
    assert panel._chart.accessibleDescription().startswith("Time to first token of 3 loads")


def test_the_focus_is_seen(panel: RunsPanel, desk: Desk) -> None:
    def edge() -> QColor:
        return picture(panel._chart).pixelColor(panel._chart.width() // 2, 0)

    assert edge() == QColor(LIGHT.line)
    desk.window.activateWindow()
    panel._chart.setFocus()
    desk.until(panel._chart.hasFocus)
    assert edge() == QColor(LIGHT.accent)
