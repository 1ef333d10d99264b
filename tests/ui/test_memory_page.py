"""The Memory page: sizes in all units, what fits, what was measured, and the log of loads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import Qt

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import forecast
from desktop.domain.memory_shape import read_shape
from desktop.engine.scripted_engine import Script
from desktop.ui.format import GIB
from desktop.ui.memory.memory_page import MemoryPage
from desktop.ui.memory.runs_list_model import SORT
from tests.domain.headers import LLAMA_3_8B
from tests.domain.memory_models import MIB, card, llama_shape
from tests.services.readings import CARD, reading
from tests.ui.conftest import DEMO, Desk


def run(number: int, excess: int | None = None, **changes: object) -> LoadRun:
    config = EngineConfig(backend=Backend.TURBOMIND, cache_max_entry_count=0.5 + number / 100)
    found = forecast(llama_shape(), config, [card(24)])
    made = LoadRun(
        id=number * 1_000_000,
        path=DEMO,
        name=f"=model {number}",
        backend=Backend.TURBOMIND,
        device=CARD,
        config=config,
        forecast=found,
        measured=None if excess is None else found.engine + excess,
        load_seconds=9.5,
    )
    return msgspec.structs.replace(made, **changes)


def opened(desk: Desk) -> MemoryPage:
    desk.window._to_memory.trigger()
    page = desk.window._pages.page("Memory")
    assert isinstance(page, MemoryPage)
    return page


@pytest.fixture
def page(desk: Desk) -> MemoryPage:
    """A large model on a card."""
    desk.models.adviser.show_reading(reading(cards=1))
    page = opened(desk)
    desk.until(lambda: bool(page._problem))  # there is no folder of this name
    desk.models.adviser.shape_read.emit(DEMO, llama_shape())
    return page


def test_whichever_unit_is_changed_the_others_follow(page: MemoryPage) -> None:
    units, form = page._units, page._form
    before = units._tokens.value()
    units._size.setValue(2.0)
    ratio = form.config.cache_max_entry_count
    assert ratio < 0.5
    assert 2.0 <= units._size.value() < 2.05
    assert units._tokens.value() < before
    units._tokens.setValue(40_000)
    assert form.config.cache_max_entry_count > ratio
    assert units._tokens.value() >= 40_000
    units._context.setCurrentIndex(units._context.findData(2048))
    units._chats.setValue(4)
    assert units._chats.value() >= 4
    chats, tokens = units._chats.value(), units._tokens.value()
    form._bits.setCurrentIndex(2)
    assert units._chats.value() > chats
    assert units._tokens.value() > tokens


def test_a_forecast_from_config_json_alone_says_so(desk: Desk, page: MemoryPage) -> None:
    assert "estimated" not in page._source.text()
    desk.models.adviser.shape_read.emit(DEMO, read_shape(LLAMA_3_8B))
    assert (
        "The forecast: estimated, because the sizes of the weights are taken from config.json." in page._source.text()
    )


def test_the_table_lights_what_is_set(page: MemoryPage) -> None:
    table = page._table
    texts = [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount())]
    assert [row[0].split(",")[0] for row in texts] == ["16 bit", "AWQ"]
    assert [["(set)" in cell for cell in row] for row in texts] == [[False, True, False, False], [False] * 4]
    page._form._bits.setCurrentIndex(1)
    assert "(set)" in table.item(0, 2).text()
    assert "(set)" not in table.item(0, 1).text()


def test_what_does_not_fit_is_offered_what_does(page: MemoryPage) -> None:
    page._form._ratio.setValue(0.98)
    assert page._advice.text().startswith("This fits: ")
    page._use.click()
    assert page._outlook.text().startswith("Fits")
    assert page._use.isHidden()


def test_apply_saves_and_reloads(desk: Desk, page: MemoryPage) -> None:
    desk.script = Script()
    page._form._ratio.setValue(0.321)
    page._apply.click()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.config.cache_max_entry_count == 0.321
    assert desk.window.preferences.settings.engine.cache_max_entry_count == 0.321
    assert page._apply.text() == "Apply and reload"
    desk.window.preferences.set_engine(EngineConfig(cache_max_entry_count=0.4))
    assert page._form.config.cache_max_entry_count == 0.4


def test_measured_beside_forecast(desk: Desk, page: MemoryPage) -> None:
    assert page._measured.text() == "Nothing is loaded."
    desk.load(Script())
    desk.until(lambda: bool(page._problem))
    assert page._measured.text().startswith("Not measured")
    desk.models.adviser.shape_read.emit(DEMO, llama_shape())
    newest = run(9, 100 * MIB, id=4_000_000_000_000_000)
    desk.models.recorder._on_read([newest])
    assert page._measured.text().startswith("The engine held ")
    assert f"({newest.error:+.1%})" in page._measured.text()
    desk.models.adviser.show_reading(reading(cards=1, used=20.0, engine=18.0))
    desk.until(lambda: len(page._measured_bar.bar.segments) == 3)
    parts = {part.label: part.bytes for part in page._measured_bar.bar.segments}
    assert parts == {"other programs": 2 * GIB, "this engine": 18 * GIB, "free": 4 * GIB}
    assert page._bar.parts[0].bytes == 2 * GIB  # a load replaces what is loaded


def test_without_a_card(desk: Desk) -> None:
    desk.models.adviser.show_reading(reading(cards=0))
    page = opened(desk)
    desk.until(lambda: bool(page._problem))
    assert page._outlook.text().startswith("There is no forecast. ")
    assert not page._units.isEnabled()
    desk.models.adviser.shape_read.emit(DEMO, llama_shape())
    assert "this machine's memory, 64.0 GB" in page._source.text()
    assert page._table.isHidden()
    assert "no effect on the CPU" in page._fits.text()
    assert not page._form._bits.isEnabled()


def test_the_log_is_empty_at_first(page: MemoryPage) -> None:
    runs = page._runs
    assert runs._table.isHidden()
    assert runs._errors.text().startswith("Nothing was loaded yet.")
    assert runs._again.isHidden()
    assert runs._export.isHidden()


def shown(page: MemoryPage, column: int) -> list[str]:
    rows = page._runs._sorted
    return [rows.index(row, column).data() for row in range(rows.rowCount())]


def test_the_log_sorts_and_says_how_far_off_forecasts_were(desk: Desk, page: MemoryPage) -> None:
    failed = run(3, None, failure="out_of_memory", load_seconds=None)
    desk.models.recorder._on_read([failed, run(2, -200 * MIB, tokens_per_second=99.0), run(1, 100 * MIB)])
    assert shown(page, 1) == ["=model 3", "=model 2", "=model 1"]
    assert shown(page, 8) == ["out of memory (while loading)", "ready", "ready"]
    assert page._runs._errors.text().startswith("Forecasts of 2 loads were off by ")
    page._runs._table.sortByColumn(5, Qt.SortOrder.AscendingOrder)
    errors = [page._runs._sorted.index(row, 5).data(SORT) for row in range(3)]
    assert errors == sorted(errors)
    assert shown(page, 1) == ["=model 3", "=model 2", "=model 1"]
    page._runs._table.sortByColumn(5, Qt.SortOrder.DescendingOrder)
    assert shown(page, 1)[0] == "=model 1"


def test_one_is_loaded_again_with_its_setting(desk: Desk, page: MemoryPage) -> None:
    desk.script = Script()
    asked = run(7, config=EngineConfig(session_len=2048, trust_remote_code=True))
    desk.models.recorder._on_read([asked])
    page._runs._table.setCurrentIndex(page._runs._sorted.index(0, 0))
    page._runs._again.click()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.path == DEMO
    assert desk.host.status.config == EngineConfig(session_len=2048)  # its program is not trusted by that
    assert page._form.config == EngineConfig(session_len=2048)


def test_the_log_is_exported(desk: Desk, page: MemoryPage, tmp_path: Path) -> None:
    desk.models.recorder._on_read([run(2, 50 * MIB), run(1)])
    with desk.bot.waitSignal(desk.models.recorder.exported, timeout=5000):
        desk.models.recorder.export(str(tmp_path / "loads.csv"))
    with (tmp_path / "loads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["'=model 2", "'=model 1"]  # no formula for a table program
    assert rows[0]["measured_bytes"] == str(run(2, 50 * MIB).measured)
    assert rows[1]["measured_bytes"] == ""
    assert page._runs._said.text() == f"Exported to {tmp_path / 'loads.csv'}"
    with desk.bot.waitSignal(desk.models.recorder.export_failed, timeout=5000):
        desk.models.recorder.export(str(tmp_path / "loads.csv" / "below a file.csv"))
    assert "loads.csv" in page._runs._said.text()


def test_every_control_has_a_name_and_tab_reaches_it(page: MemoryPage, desk: Desk) -> None:
    from PySide6.QtWidgets import QAbstractSpinBox, QComboBox, QPushButton, QSlider

    kinds: tuple[Callable[..., object], ...] = (QAbstractSpinBox, QComboBox, QPushButton, QSlider)
    for kind in kinds:
        for control in page.findChildren(kind):
            assert control.accessibleName() or control.text()
            assert control.focusPolicy() & Qt.FocusPolicy.TabFocus
