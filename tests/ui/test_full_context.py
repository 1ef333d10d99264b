"""What the window says of a conversation that the context cannot hold any more."""

from __future__ import annotations

from PySide6.QtCore import QRect
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QWidget

from desktop.engine.scripted_engine import Script
from desktop.ui.chat.context_line import ContextLine
from desktop.ui.chat.message_view import MessageView
from tests.ui.conftest import OTHER, Desk

TWENTY = Script(reply="word " * 19, context_length=100)  # a turn is 20 words, and a reply may take a quarter


def lines(desk: Desk) -> list[ContextLine]:
    """Those that can be seen."""
    return [line for line in desk.window.chat_page.view.findChildren(ContextLine) if line.isVisible()]


def gap_beneath(desk: Desk, place: int) -> QRect:
    """What is between a message and the next, or beneath the last."""
    shown = [view.geometry() for view in desk.window.chat_page.view._views.values()]
    top = shown[place].bottom() + 1
    end = shown[place + 1].top() if place + 1 < len(shown) else top + 24
    return QRect(shown[place].left(), top, shown[place].width(), end - top)


def label(desk: Desk) -> str:
    return desk.window.chat_page.composer.meter._label.text()


def asked(desk: Desk, script: Script, *questions: str) -> None:
    desk.load(script)
    for question in questions:
        desk.ask(question)
        desk.idle()


def test_what_will_be_left_out_is_said_before_it_is_sent(desk: Desk) -> None:
    asked(desk, TWENTY, "one", "two", "three")
    page = desk.window.chat_page
    meter = page.composer.meter
    desk.until(lambda: label(desk) == "60 / 100")
    assert not lines(desk)
    page.composer.set_text("four " * 20)
    desk.until(lambda: label(desk) == "60 / 100 · 2 left out")
    assert "The oldest 2 messages are left out" in meter.accessibleName()
    (line,) = lines(desk)
    assert line.text() == "Left out of the context above this line"
    assert line.geometry() == gap_beneath(desk, 1)
    page.composer.set_text("four " * 60)
    desk.until(lambda: label(desk) == "60 / 100 · 6 left out")
    assert line.geometry() == gap_beneath(desk, 5)
    page.composer.set_text("four " * 100)
    desk.until(lambda: "will be refused" in meter.accessibleName())
    page.composer.set_text("")
    desk.until(lambda: not lines(desk))
    assert label(desk) == "60 / 100"


def test_the_line_stays_where_it_is_while_the_conversation_is_scrolled(desk: Desk) -> None:
    asked(desk, Script(reply="word\n\n" * 10, context_length=40), "one", "two", "three", "four")
    desk.until(lambda: bool(lines(desk)))
    (line,) = lines(desk)
    view = desk.window.chat_page.view
    for value in (0, view.verticalScrollBar().maximum() // 2, view.verticalScrollBar().maximum()):
        view.verticalScrollBar().setValue(value)
        desk.until(lambda: len(view._views) == 8)
        assert line.geometry() == gap_beneath(desk, 3)


def test_a_smaller_context_leaves_out_more_and_without_a_model_nothing_is_known(desk: Desk) -> None:
    asked(desk, TWENTY, "one", "two", "three")
    desk.load(Script(reply="yes", context_length=40), OTHER)
    desk.until(lambda: label(desk) == "20 / 40 · 4 left out")
    assert lines(desk)
    desk.host.unload()
    desk.until(lambda: not desk.window.chat_page.composer.meter.isVisible())
    assert not lines(desk)


def test_nothing_is_left_out_where_the_conversation_is_to_stop(desk: Desk) -> None:
    asked(desk, Script(reply="word " * 19, context_length=40), "one", "two")
    desk.until(lambda: bool(lines(desk)))
    page = desk.window.chat_page
    page.toggle_settings()
    assert page._settings_panel is not None
    choice = page._settings_panel.form._when_full
    assert "system prompt" in choice.toolTip()
    choice.setCurrentText("Stop and say so")
    desk.until(lambda: label(desk) == "40 / 40")
    assert not lines(desk)
    desk.ask("three")
    desk.idle()
    last = page.view.last_message
    assert last is not None
    assert last.failure is not None
    assert "too long" in last.failure.message
    choice.setCurrentText("Leave out the oldest turns")
    desk.until(lambda: bool(lines(desk)))


def test_the_line_goes_with_its_conversation(desk: Desk) -> None:
    asked(desk, Script(reply="word " * 19, context_length=40), "one", "two")
    desk.until(lambda: bool(lines(desk)))
    page = desk.window.chat_page
    first = page.current
    page.new_chat()
    assert label(desk) == "0 / 40"
    assert not lines(desk)
    desk.ask("three")
    desk.idle()
    desk.until(lambda: label(desk) == "20 / 40")
    assert not lines(desk)
    assert first is not None
    page.open_conversation(first)
    desk.until(lambda: bool(lines(desk)))


def test_a_screen_reader_comes_across_the_line_where_it_stands(desk: Desk) -> None:
    asked(desk, Script(reply="word " * 19, context_length=40), "one", "two")
    canvas = desk.window.chat_page.view.viewport()

    def shown() -> list[QWidget]:
        return [child for child in canvas.children() if isinstance(child, MessageView | ContextLine)]

    desk.until(lambda: [isinstance(child, ContextLine) for child in shown()] == [False, False, True, False, False])
    line = QAccessible.queryAccessibleInterface(shown()[2])
    assert line is not None
    assert line.role() is QAccessible.Role.StaticText
    assert line.text(QAccessible.Text.Name) == "Left out of the context above this line"
