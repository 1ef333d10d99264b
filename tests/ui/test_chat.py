"""The chat page as a person uses it: typing, sending, stopping, switching, failing and going on."""

from __future__ import annotations

import msgspec
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QGuiApplication, QInputMethodEvent
from PySide6.QtWidgets import QApplication, QPushButton

from desktop.domain.conversation import MessageState
from desktop.domain.engine_config import Backend
from desktop.domain.errors import Action, Failure, FailureCode, failure
from desktop.engine.scripted_engine import Script
from desktop.services.engine_status import EngineState
from desktop.ui.chat.message_view import MessageView
from desktop.ui.chat.reply_view import ReplyView
from desktop.ui.failure_card import FailureCard
from tests.ui.conftest import DEMO, OTHER, Desk
from tests.ui.reading import reply_buttons

MARKDOWN = "Some **bold** words.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n"


def last_reply(desk: Desk) -> ReplyView:
    view = list(desk.window.chat_page.view._views.values())[-1]
    assert isinstance(view, ReplyView)
    return view


def card(desk: Desk) -> FailureCard:
    desk.until(lambda: len(cards(desk)) == 1)
    return cards(desk)[0]


def in_order(desk: Desk) -> list[MessageView]:
    return sorted(desk.window.chat_page.view._views.values(), key=MessageView.y)


def cards(desk: Desk) -> list[FailureCard]:
    return [c for c in desk.window.chat_page.findChildren(FailureCard) if c.isVisible()]


def test_a_reply_is_formatted_while_it_is_written(desk: Desk) -> None:
    desk.load(Script(reply=MARKDOWN, tokens_per_second=15))
    desk.ask("What?")
    assert desk.window.chat_page.composer.text == ""
    desk.until(lambda: "**bold**" in written(desk))
    assert desk.window.chat_page.composer.button.text() == "Stop"
    desk.idle()
    body = last_reply(desk)._body
    assert body is not None
    assert body.text == MARKDOWN
    body.select_all()
    assert body.selected_markdown().strip() == MARKDOWN.strip()
    assert "tokens" in status(desk)
    assert "tok/s" in status(desk)
    assert desk.window.chat_page.composer.button.text() == "Send"


def status(desk: Desk) -> str:
    return last_reply(desk)._footer._status.text()


def written(desk: Desk) -> str:
    body = last_reply(desk)._body
    return body.text if body is not None else ""


def test_shift_enter_makes_a_line_and_white_space_is_not_sent(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    edit = desk.window.chat_page.composer.edit
    desk.bot.keyClick(edit, "\r")
    desk.bot.keyClicks(edit, "one")
    desk.bot.keyClick(edit, "\r", Qt.KeyboardModifier.ShiftModifier)
    desk.bot.keyClicks(edit, "two")
    assert desk.chats.library.conversations() == []
    assert edit.toPlainText() == "one\ntwo"
    desk.bot.keyClick(edit, "\r")
    desk.idle()
    assert desk.chats.messages(desk.chats.library.conversations()[0].id)[0].content == "one\ntwo"


def test_enter_belongs_to_the_input_method_while_a_word_is_composed(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    edit = desk.window.chat_page.composer.edit
    desk.bot.keyClicks(edit, "a")
    QApplication.sendEvent(edit, QInputMethodEvent("ni", []))
    desk.bot.keyClick(edit, "\r")
    assert desk.chats.library.conversations() == []
    done = QInputMethodEvent("", [])
    done.setCommitString("你")
    QApplication.sendEvent(edit, done)
    desk.bot.keyClick(edit, "\r")
    assert len(desk.chats.library.conversations()) == 1


def test_escape_stops_and_the_reply_can_go_on(desk: Desk) -> None:
    desk.load(Script(tokens=10_000, tokens_per_second=200))
    desk.ask("Go")
    desk.until(lambda: "token3" in written(desk))
    desk.bot.keyClick(desk.window, Qt.Key.Key_Escape)
    desk.idle()
    assert last_reply(desk).message.state is MessageState.STOPPED
    assert status(desk).startswith("stopped · ")
    assert reply_buttons(last_reply(desk)).go_on.isVisible()
    desk.load(Script(reply=" and the end"))
    reply_buttons(last_reply(desk)).go_on.click()
    desk.idle()
    assert last_reply(desk).message.content.endswith("and the end")


def test_a_failed_reply_keeps_its_text_and_goes_on(desk: Desk) -> None:
    desk.load(Script(tokens=50, fail_after=5))
    desk.ask("Go")
    desk.idle()
    shown = card(desk)
    assert shown.failure.code is FailureCode.REQUEST_FAILED
    assert "token4" in written(desk)
    assert shown.action_button is not None
    desk.load(Script(reply="the rest"))
    shown.action_button.click()
    desk.idle()
    assert last_reply(desk).message.content.endswith("token4 the rest")
    assert not cards(desk)


def test_a_failed_load_shows_a_card_and_loads_again(desk: Desk) -> None:
    desk.script = Script(load_error="no kernel image")
    desk.window.load(DEMO)
    desk.until(lambda: desk.host.status.state is EngineState.FAILED)
    shown = card(desk)
    assert "no kernel image" in shown.failure.message
    desk.script = Script()
    assert shown.action_button is not None
    shown.action_button.click()
    desk.until(lambda: desk.host.is_ready)
    assert not cards(desk)


def test_sending_without_a_model_loads_it_with_the_settings_of_now(desk: Desk) -> None:
    desk.script = Script(reply="here", load_seconds=1.0)
    assert desk.window.chat_page.composer._hint.text() == "The demo model loads first"
    desk.window.settings_page._batch.setValue(3)
    desk.window.settings_page.flush()
    desk.ask("Anyone?")
    desk.until(lambda: desk.chats.generating_count == 1)
    desk.until(lambda: status(desk) == "waiting for the model")
    desk.idle()
    assert written(desk) == "here"
    assert desk.host.status.config.max_batch_size == 3


def test_switching_keeps_drafts_and_interrupts_nothing(desk: Desk) -> None:
    desk.load(Script(tokens=60, tokens_per_second=100))
    page = desk.window.chat_page
    desk.ask("first")
    first = page.current
    assert first is not None
    desk.bot.keyClicks(page.composer.edit, "draft of the first")
    page.panel.new_button.click()
    assert page.composer.text == ""
    desk.ask("second")
    second = page.current
    assert second not in (None, first)
    assert desk.chats.is_generating(first)
    desk.idle()
    assert desk.chats.messages(first)[-1].content.endswith("token59 ")
    page.open_conversation(first)
    assert page.composer.text == "draft of the first"
    assert "token59" in written(desk)
    desk.window._next.trigger()
    desk.window._previous.trigger()
    assert page.current == second


def test_coming_back_to_a_running_reply_shows_all_of_it_once(desk: Desk) -> None:
    desk.load(Script(tokens=200, tokens_per_second=100))
    page = desk.window.chat_page
    desk.ask("first")
    first = page.current
    assert first is not None
    page.new_chat()
    desk.bot.wait(200)
    page.open_conversation(first)
    desk.until(lambda: "token30 " in written(desk))
    text = written(desk)
    assert text == "".join(f"token{i} " for i in range(text.count("token")))
    desk.idle()
    assert written(desk).strip() == "".join(f"token{i} " for i in range(200)).strip()


def test_an_example_question_is_one_click(desk: Desk) -> None:
    desk.load(Script(reply="memory of keys and values"))
    page = desk.window.chat_page
    example = next(b for b in page.empty.findChildren(QPushButton) if b.text() == "What is the KV cache?")
    assert example.isVisible()
    example.click()
    desk.idle()
    assert page.view.isVisible()
    assert written(desk) == "memory of keys and values"


def test_the_empty_page_says_how_the_model_is(desk: Desk) -> None:
    empty = desk.window.chat_page.empty
    assert empty._load_demo.isVisible()
    desk.script = Script(load_seconds=0.4)
    empty._load_demo.click()
    desk.until(lambda: desk.host.status.state is EngineState.LOADING)
    assert empty._heading.text() == "Loading the demo model"
    assert not empty._load_demo.isVisible()
    desk.until(lambda: desk.host.is_ready)
    assert empty._heading.text() == "Ask the demo model something"
    desk.load(Script(), OTHER)
    assert empty._heading.text() == "Ask Qwen3-8B-AWQ something"
    assert not any(button.isVisible() for button in empty._examples)


def test_a_deletion_leaves_an_empty_page_and_can_be_undone(desk: Desk) -> None:
    desk.load(Script(tokens=1_000, tokens_per_second=100))
    desk.ask("to be deleted")
    desk.until(lambda: "token3" in written(desk))
    page = desk.window.chat_page
    deleted = page.current
    page.panel.delete_current()
    assert desk.chats.library.conversations() == []
    assert page.current is None
    assert page.empty.isVisible()
    desk.idle()
    assert page.panel._undo.isVisible()
    page.panel._undo.click()
    assert page.current == deleted
    assert last_reply(desk).message.state is MessageState.STOPPED
    assert "token3" in written(desk)
    assert not page.panel._undo_bar.isVisible()


def test_a_long_conversation_shows_its_end_first(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    conversation = None
    for number in range(40):
        conversation = desk.chats.send(conversation, f"question {number}")
        desk.idle()
    page = desk.window.chat_page
    page.open_conversation(conversation)
    bar = page.view.verticalScrollBar()
    desk.until(lambda: bar.value() == bar.maximum() > 0)
    texts = [message.content for message in desk.chats.messages(conversation)]
    desk.until(lambda: [view.message.content for view in in_order(desk)][-4:] == texts[-4:])
    assert bar.value() == bar.maximum()
    bar.setValue(0)
    desk.until(lambda: [view.message.content for view in in_order(desk)][:4] == texts[:4])
    desk.until(lambda: len(page.view._views) < 60)


def test_it_follows_the_end_only_when_the_reader_is_there(desk: Desk) -> None:
    desk.load(Script(reply="one line\n" * 400, tokens_per_second=300))
    desk.ask("Go")
    view = desk.window.chat_page.view
    bar = view.verticalScrollBar()
    desk.until(lambda: bar.maximum() > 200)
    desk.until(lambda: bar.value() == bar.maximum())
    bar.setValue(0)
    assert view._jump.isVisible()
    before = bar.maximum()
    desk.until(lambda: bar.maximum() > before)
    assert bar.value() == 0
    view._jump.click()
    desk.until(lambda: bar.value() == bar.maximum())
    assert not view._jump.isVisible()


def test_a_cut_off_reply_of_an_earlier_run_can_go_on(desk: Desk) -> None:
    desk.load(Script(tokens=1_000, tokens_per_second=100))
    desk.ask("Go")
    desk.until(lambda: "token3" in written(desk))
    desk.chats.close()  # as a shutdown does
    shown = card(desk)
    assert shown.failure.action is Action.CONTINUE
    assert "cut off" in shown.failure.message


def test_finished_sentences_are_announced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(QAccessible, "updateAccessibility", lambda event: said.append(event.message()))
    monkeypatch.setattr(QAccessible, "isActive", lambda: True)
    desk.load(Script(reply="One two. Three **four** five. Six", tokens_per_second=10))
    desk.ask("Go")
    desk.idle()
    assert said == ["One two.", "Three four five.", "Six"]


def test_the_end_of_a_reply_is_announced_also_when_no_frame_came_for_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(QAccessible, "updateAccessibility", lambda event: said.append(event.message()))
    monkeypatch.setattr(QAccessible, "isActive", lambda: True)
    desk.load(Script(reply="One two. Three **four** five. Six", tokens_per_second=0))
    desk.ask("Go")
    desk.idle()
    assert " ".join(said) == "One two. Three four five. Six"


def test_the_last_reply_is_copied_as_it_came(desk: Desk) -> None:
    desk.load(Script(reply=MARKDOWN))
    desk.ask("Go")
    desk.idle()
    desk.window._copy_last.trigger()
    assert QGuiApplication.clipboard().text() == MARKDOWN


def test_a_failure_shows_its_details_to_copy(desk: Desk) -> None:
    shown = FailureCard(failure(FailureCode.ENGINE_DIED, when="while loading", reason="signal 9", detail="the log"))
    desk.bot.addWidget(shown)
    shown.show()
    assert shown._details_button is not None
    assert shown._copy_button is not None
    shown._details_button.click()
    assert shown._details is not None
    assert shown._details.toPlainText() == "the log"
    shown._copy_button.click()
    assert "signal 9" in QGuiApplication.clipboard().text()
    assert QGuiApplication.clipboard().text().endswith("the log")


def test_one_click_loads_with_the_setting_that_would_have_fitted_and_goes_on(desk: Desk) -> None:
    desk.host.explain = with_a_setting
    desk.load(Script(tokens=20, fail_after=5))
    desk.ask("go")
    desk.idle()
    failed = last_reply(desk)
    card = failed.findChild(FailureCard)
    assert card.action_button.text() == "Load with this setting and go on"
    desk.script = Script(tokens=20)
    card.action_button.click()
    desk.idle()
    assert last_reply(desk).message.state is MessageState.COMPLETE
    assert desk.host.status.config.cache_max_entry_count == 0.25
    assert desk.window.preferences.settings.engine.cache_max_entry_count == 0.25
    assert desk.window.preferences.settings.engine.backend is Backend.AUTO


def test_a_load_that_ran_out_of_memory_is_tried_again_with_another_setting(desk: Desk) -> None:
    desk.host.explain = with_a_setting
    desk.script = Script(load_error="out of memory")
    desk.host.load(DEMO)
    desk.until(lambda: desk.host.status.state is EngineState.FAILED)
    card = desk.window.chat_page.findChild(FailureCard)
    assert card.action_button.text() == "Load with this setting"
    desk.script = Script()
    card.action_button.click()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.config.quant_policy == 4
    assert desk.host.status.config.cache_max_entry_count == 0.25


def with_a_setting(problem: Failure) -> Failure:
    setting = {"cache_max_entry_count": 0.25, "quant_policy": 4}
    return msgspec.structs.replace(problem, action=Action.RELOAD, setting=setting)
