"""The window's frame: ways out, menus, notices, pages, names for everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QAction, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QToolButton,
    QWidget,
)

from desktop.domain.conversation import ChatSettings
from desktop.domain.engine_config import Backend
from desktop.domain.errors import Action, FailureCode, failure
from desktop.domain.generation import SamplingParams
from desktop.engine.scripted_engine import Script
from desktop.services.engine_status import EngineState
from desktop.storage.settings import Settings
from desktop.ui.chat.empty_state import EXAMPLES, EmptyState
from desktop.ui.command_palette import CommandPalette
from desktop.ui.main_window import MainWindow
from desktop.ui.rail import Rail
from desktop.ui.settings_page import SettingsPage
from tests.ui.conftest import DEMO, OTHER, Desk

ROOT = Path(__file__).resolve().parents[2]


def test_every_way_out_asks_and_waits(desk: Desk) -> None:
    with desk.bot.waitSignal(desk.window.close_requested):
        desk.window.close()
    assert desk.window.isVisible()
    with desk.bot.waitSignal(desk.window.close_requested):
        desk.bot.keyClick(desk.window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    assert desk.window.isVisible()
    desk.window.allow_close()
    desk.window.close()
    assert not desk.window.isVisible()


def test_the_geometry_comes_back(desk: Desk) -> None:
    desk.window.resize(780, 520)
    text = desk.window.geometry_text()
    other = MainWindow(
        desk.host, desk.chats, desk.notices, lambda: desk.models, QWidget(), Settings(geometry=text), DEMO
    )
    assert (other.width(), other.height()) == (780, 520)
    broken = MainWindow(
        desk.host, desk.chats, desk.notices, lambda: desk.models, QWidget(), Settings(geometry="%%%"), DEMO
    )
    assert broken.width() == 1280
    for window in (other, broken):
        window.deleteLater()


def test_loading_can_be_stopped_from_the_header(desk: Desk) -> None:
    desk.script = Script(load_seconds=30)
    desk.window.load(OTHER)
    desk.until(lambda: desk.window._header._stop.isVisible())
    assert "Qwen3-8B-AWQ" in desk.window._header.model_button.accessibleName()
    assert desk.window._unload.text() == "Stop loading"
    desk.window._header._stop.click()
    desk.until(lambda: desk.host.status.state is EngineState.UNLOADED)
    assert not desk.window._header._stop.isVisible()


def test_the_model_menu_lists_what_was_loaded(desk: Desk) -> None:
    desk.load(Script(), OTHER)
    desk.window._model_menu.aboutToShow.emit()
    names = [action.text() for action in desk.window._model_menu.actions()]
    assert OTHER in names
    assert "Unload the model" in names
    desk.window._unload.trigger()
    desk.until(lambda: desk.host.status.state is EngineState.UNLOADED)
    assert not desk.window._unload.isEnabled()
    desk.window._reload.trigger()
    desk.until(lambda: desk.host.is_ready)


def test_a_notice_shows_its_button_and_goes(desk: Desk) -> None:
    bar = desk.window._notice_bar
    assert not bar.isVisible()
    desk.notices.raise_notice(failure(FailureCode.DISK_FULL))
    assert bar.isVisible()
    with desk.bot.waitSignal(desk.window.notice_action_triggered) as triggered:
        next(button for button in bar.findChildren(QPushButton) if button.isVisible()).click()
    assert triggered.args == [Action.RETRY_SAVE]
    desk.notices.dismiss(FailureCode.DISK_FULL)
    assert not bar.isVisible()


def test_the_palette_finds_and_triggers(desk: Desk) -> None:
    desk.window._palette.trigger()
    palette = next(w for w in QApplication.topLevelWidgets() if isinstance(w, CommandPalette))
    desk.bot.keyClicks(palette._line, "sett go")
    desk.bot.keyClick(palette._line, "\r")
    assert desk.window.settings_page.isVisible()


def test_the_palette_prefers_the_beginning_of_a_word(desk: Desk) -> None:
    desk.window._palette.trigger()
    palette = next(w for w in QApplication.topLevelWidgets() if isinstance(w, CommandPalette) and w.isVisible())
    desk.window._delete.setEnabled(True)
    palette._on_text_changed("del")
    names = [palette._list.item(row).text() for row in range(palette._list.count())]
    inside = [not any(word.lower().startswith("del") for word in name.split()) for name in names]
    assert inside == sorted(inside)
    assert any(inside)
    palette.close()


def test_the_wheel_scrolls_the_settings_and_changes_nothing(desk: Desk) -> None:
    desk.window.resize(900, 500)
    desk.window.show_page("Settings")
    page = desk.window.settings_page
    bar = page.verticalScrollBar()
    desk.until(lambda: bar.maximum() > 0)
    before = page._read()
    for target in (bar, page._cache_ratio):
        bar.setValue(0)
        centre = QPointF(target.rect().center())
        turn = QWheelEvent(
            centre,
            target.mapToGlobal(centre),
            QPoint(0, 0),
            QPoint(0, -240),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(target, turn)
        assert target is not bar or bar.value() > 0
    assert page._read() == before


def test_every_action_has_a_name_and_no_two_share_a_shortcut(desk: Desk) -> None:
    actions = desk.window.actions_registry.all
    assert all(isinstance(action, QAction) and action.text() for action in actions)
    keys = [action.shortcut().toString() for action in actions if not action.shortcut().isEmpty()]
    assert len(keys) == len(set(keys))


def test_every_control_has_an_accessible_name(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("Go")
    desk.idle()
    desk.notices.raise_notice(failure(FailureCode.DISK_FULL))
    desk.window.show_page("Settings")
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QPlainTextEdit, QLineEdit)
    nameless = [
        widget
        for widget in desk.window.findChildren(QWidget)
        if isinstance(widget, kinds)
        and not widget.accessibleName()
        and not widget.objectName().startswith("qt_")
        and not isinstance(widget.parent(), QAbstractSpinBox)
    ]
    assert nameless == []


def test_settings_go_round(desk: Desk) -> None:
    given = Settings(
        chat=ChatSettings(
            system_prompt="Be brief.",
            as_recommended=False,
            params=SamplingParams(
                temperature=0.0, top_p=0.5, top_k=0, max_new_tokens=256, min_p=0.1, seed=7, stop=("\n\n", "停")
            ),
            json_schema='{"type": "object"}',
            tools=("calculator", "of a later version"),
            files=("/tmp/a.txt",),
            thinking=False,
        ),
        propose_titles=False,
        run_engine_in_window_process=True,
        theme="dark",
        checkpoint=OTHER,
    )
    page = SettingsPage(given)
    desk.bot.addWidget(page)
    assert page._read() == given
    page._cache_ratio.setValue(0.5)
    page._session_len.setValue(4096)
    page._backend.setCurrentIndex(page._backend.findData(Backend.CPU))
    page._kv_bits.setCurrentIndex(page._kv_bits.findData(4))
    with desk.bot.waitSignal(page.settings_changed) as changed:
        page._chat._max_new_tokens.setValue(0)
    (settings,) = changed.args
    assert settings.engine.cache_max_entry_count == 0.5
    assert settings.engine.session_len == 4096
    assert settings.engine.backend is Backend.CPU
    assert settings.engine.quant_policy == 4
    assert settings.chat.params.max_new_tokens is None
    assert settings.chat.params.min_p == 0.1
    assert settings.engine.problems() == []


@pytest.mark.parametrize("value", [-5.0, 0.0, 1.0, 99.0])
def test_no_setting_leaves_its_range(desk: Desk, value: float) -> None:
    page = SettingsPage(Settings())
    desk.bot.addWidget(page)
    form = page._chat
    for box in (page._cache_ratio, form._temperature, form._top_p, form._min_p, form._repetition_penalty):
        box.setValue(value)
    for box in (page._batch, form._top_k, form._seed, form._max_new_tokens):
        box.setValue(int(value))
    settings = page._read()
    assert settings.engine.problems() == []
    assert settings.chat.params.problems() == []


def test_the_guide_sends_nobody_to_a_page_that_does_not_exist(desk: Desk) -> None:
    buttons = desk.window.findChild(Rail).findChildren(QToolButton)
    pages = {button.accessibleName().removesuffix(" page") for button in buttons}
    named = set()
    for path in (ROOT / "resources" / "demo-guide").glob("guide.*.toml"):
        text = path.read_text(encoding="utf-8")
        named |= {english or chinese for english, chinese in re.findall(r"the ([A-Z]\w+) page|“(\w+)”页", text)}
    assert "Settings" in named <= pages


def test_in_the_smallest_window_no_example_is_cut(desk: Desk) -> None:
    empty = desk.window.chat_page.findChild(EmptyState)
    desk.window.resize(1280, 800)
    desk.until(lambda: all(button.isVisible() for button in empty._examples))
    name = "AWQ of a model whose name takes more than one line in a small window"
    desk.notices.raise_notice(failure(FailureCode.JOB_ENDED, title=name, how="done"))
    desk.window.resize(760, 480)
    desk.until(lambda: not all(button.isVisible() for button in empty._examples))
    shown = [button for button in empty.findChildren(QPushButton) if button.isVisible()]
    desk.until(lambda: all(button.height() >= button.minimumSizeHint().height() for button in shown))
    assert {button.text() for button in shown} >= {"Load the demo model", EXAMPLES[0]}
    desk.notices.dismiss(FailureCode.JOB_ENDED)
    desk.window.resize(1280, 800)
    desk.until(lambda: all(button.isVisible() for button in empty._examples))
