"""Branches, tools, attachments, settings, search and comparison, as a person uses them."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QInputDialog, QLabel, QPushButton

from desktop.domain.conversation import ChatSettings, MessageState
from desktop.domain.generation import SamplingParams, ToolCall, ToolSpec
from desktop.engine.scripted_engine import Script
from desktop.services.searcher import Searcher
from desktop.services.transfers import Transfers
from desktop.storage.conversations import ConversationStore
from desktop.ui.chat.message_edit import MOST_LINES
from desktop.ui.chat.tool_card import ToolCallCard, ToolResultCard
from desktop.ui.chat.tool_dialog import ToolDialog
from desktop.ui.chat.tool_result_view import ToolResultView
from tests.ui.conftest import Desk
from tests.ui.reading import bubble, place_of, reply, reply_buttons, texts, views

# branches


def test_an_edited_question_is_sent_again_and_the_arrows_lead_back(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    desk.window._edit.trigger()
    editor = bubble(desk)._editor
    assert editor is not None
    assert editor.edit.hasFocus()
    editor.edit.selectAll()
    desk.bot.keyClicks(editor.edit, "two")
    desk.bot.keyClick(editor.edit, "\r")
    desk.until(lambda: texts(desk) == ["two", "yes"])
    desk.idle()
    footer = bubble(desk)._footer
    assert footer.arrows is not None
    assert footer.arrows.place.text() == "2/2"
    assert not footer.arrows.after.isEnabled()
    footer.arrows.before.setFocus()
    desk.bot.keyClick(footer.arrows.before, Qt.Key.Key_Tab)
    assert desk.window.focusWidget().accessibleName() == "Copy your message", "as they stand"
    footer.arrows.before.click()
    assert texts(desk) == ["one", "yes"]
    arrows = bubble(desk)._footer.arrows
    assert arrows is not None
    assert arrows.place.text() == "1/2"
    assert not arrows.before.isEnabled()
    assert arrows.isVisible()


def test_escape_leaves_an_edit_without_a_change(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    bubble(desk).edit()
    editor = bubble(desk)._editor
    assert editor is not None
    desk.bot.keyClicks(editor.edit, " more")
    desk.bot.keyClick(editor.edit, Qt.Key.Key_Escape)
    assert bubble(desk)._editor is None
    assert texts(desk) == ["one", "yes"]


def test_another_reply_and_a_fork(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    desk.window._again.trigger()
    desk.until(lambda: place_of(reply(desk)) == "2/2")
    desk.idle()
    first = desk.window.chat_page.current
    reply_buttons(reply(desk)).fork.click()
    assert desk.window.chat_page.current != first
    assert texts(desk) == ["one", "yes"]
    assert place_of(reply(desk)) == ""


def test_the_reply_itself_can_be_written_anew(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    reply(desk).edit()
    editor = reply(desk)._editor
    assert editor is not None
    editor.edit.setPlainText("**no**")
    editor.saved.emit("**no**")
    assert texts(desk) == ["one", "**no**"]
    assert desk.chats.generating_count == 0


# what the model does


def buttons(card: ToolCallCard) -> dict[str, QPushButton]:
    return {button.text(): button for button in card.findChildren(QPushButton) if button.isVisibleTo(card)}


def test_reasoning_that_comes_faster_than_a_frame_is_all_there(desk: Desk) -> None:
    thoughts = " ".join(str(number) for number in range(300))
    desk.load(Script(reasoning=thoughts, reply="done", tokens_per_second=0))
    desk.ask("why")
    desk.idle()
    fold = reply(desk)._reasoning
    assert fold is not None
    fold.set_open(True)
    assert fold._view is not None
    assert fold._view._view.toPlainText() == thoughts


def test_a_long_question_is_edited_in_a_box_of_its_height(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    edit = desk.window.chat_page.composer.edit
    edit.setPlainText("a question of several lines " * 20)
    desk.bot.keyClick(edit, "\r")
    desk.idle()
    bubble(desk).edit()
    editor = bubble(desk)._editor
    assert editor is not None
    lines = lambda: editor.edit.document().size().height()  # noqa: E731
    desk.until(lambda: lines() > 2)
    desk.until(lambda: editor.edit.height() >= min(lines(), MOST_LINES) * editor.edit.fontMetrics().lineSpacing())
    desk.until(lambda: not editor.edit.verticalScrollBar().isVisible() or lines() > MOST_LINES)


def test_reasoning_is_folded_and_opens(desk: Desk) -> None:
    desk.load(Script(reasoning="let me think about it", reply="done", tokens_per_second=40))
    desk.ask("one")
    desk.until(lambda: bool(views(desk)) and reply(desk)._reasoning is not None)
    fold = reply(desk)._reasoning
    assert fold is not None
    desk.until(lambda: fold._line.text().startswith("Thinking"))
    fold.set_open(True)
    desk.idle()
    assert fold._line.text().startswith("Thought for")
    assert fold._view is not None
    assert fold._view._view.toPlainText().strip() == "let me think about it"
    assert texts(desk)[-1] == "done"


def test_a_tool_asks_runs_and_shows_its_result(desk: Desk) -> None:
    call = ToolCall(id="a", name="calculator", arguments='{"expression": "6*7"}')
    desk.load(Script(tool_calls=(call,), reply=""))
    page = desk.window.chat_page
    page._new_settings = ChatSettings(tools=("calculator",))
    desk.ask("What is six times seven?")
    desk.idle()
    card = reply(desk)._cards["a"]
    desk.until(lambda: set(buttons(card)) == {"Allow in this chat", "Always allow", "Decline"})
    card._fold.set_open(True)
    buttons(card)["Allow in this chat"].click()
    desk.until(lambda: texts(desk)[-1] == "The tool said: 42")
    desk.idle()
    assert buttons(card) == {}
    result = next(view for view in views(desk) if isinstance(view, ToolResultView))
    assert result.accessibleName() == "Result of calculator"
    card_of_result = result.findChild(ToolResultCard)
    assert card_of_result is not None
    assert card_of_result._fold._line.text() == "Result of calculator   42"


def test_a_card_that_the_conversation_went_past_says_so_and_has_no_buttons(desk: Desk) -> None:
    call = ToolCall(id="a", name="calculator", arguments='{"expression": "6*7"}')
    desk.load(Script(tool_calls=(call,), reply=""))
    desk.window.chat_page._new_settings = ChatSettings(tools=("calculator",))
    desk.ask("What is six times seven?")
    desk.idle()
    card = reply(desk)._cards["a"]
    desk.until(lambda: bool(buttons(card)))
    desk.ask("Never mind.")
    desk.until(lambda: buttons(card) == {})
    assert "Not answered: the conversation went on." in [label.text() for label in card.findChildren(QLabel)]
    desk.idle()


def test_a_tool_that_is_always_allowed_asks_no_more_anywhere(desk: Desk) -> None:
    desk.load(Script(tool_calls=(ToolCall(id="a", name="calculator", arguments='{"expression": "1+1"}'),), reply=""))
    for number in range(2):
        desk.window.new_chat()
        desk.window.chat_page._new_settings = ChatSettings(tools=("calculator",))
        desk.ask("Go")
        if number == 0:
            desk.until(lambda: "a" in reply(desk)._cards and "Always allow" in buttons(reply(desk)._cards["a"]))
            buttons(reply(desk)._cards["a"])["Always allow"].click()
        desk.until(lambda: texts(desk)[-1] == "The tool said: 2")
    assert desk.window.preferences.settings.always_allowed_tools == ("calculator",)
    page = desk.window.settings_page
    assert page._ask_again.isEnabled()
    page._ask_again.click()
    assert desk.chats.tools.always_allowed == frozenset()
    assert not page._ask_again.isEnabled()


def test_the_users_own_tool_is_declared_and_answered_by_hand(desk: Desk) -> None:
    desk.window._chat_settings.trigger()
    panel = desk.window.chat_page._settings_panel
    assert panel is not None
    panel.tool_requested.emit()
    (dialog,) = desk.window.findChildren(ToolDialog)
    dialog._edit.setPlainText('{"name": "calculator"}')
    assert not dialog._declare.isEnabled()
    dialog._edit.setPlainText("{")
    assert "JSON" in dialog._problem.text()
    dialog._edit.setPlainText('{"name": "weather", "description": "Now.", "parameters": {"type": "object"}}')
    dialog._declare.click()
    assert desk.chats.tools.custom == (
        ToolSpec(name="weather", description="Now.", parameters={"type": "object", "properties": {}}),
    )
    panel.form._tools["weather"].setChecked(True)
    panel.flush()
    desk.load(Script(tool_calls=(ToolCall(id="w", name="weather", arguments="{}"),), reply=""))
    desk.ask("How is the weather?")
    desk.idle()
    card = reply(desk)._cards["w"]
    desk.until(lambda: "Give the result" in buttons(card))
    assert card._field is not None
    card._field.setPlainText("sunny")
    buttons(card)["Give the result"].click()
    desk.until(lambda: texts(desk)[-1] == "The tool said: sunny")
    panel.tool_removed.emit("weather")
    assert desk.chats.tools.custom == ()
    assert "weather" not in panel.form._tools


# settings


def test_a_conversation_keeps_its_own_settings_and_a_preset_brings_them_back(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.window._chat_settings.trigger()
    panel = desk.window.chat_page._settings_panel
    assert panel is not None
    assert panel._choice.currentText() == "As on the settings page"
    panel.flush()
    assert desk.window.chat_page._new_settings is None, "to look is no change"
    panel.form._system_prompt.setPlainText("Be brief.")
    panel.form._as_recommended.setChecked(False)
    panel.form._temperature.setValue(0.3)
    desk.ask("one")
    desk.idle()
    first = desk.window.chat_page.current
    assert first is not None
    mine = desk.chats.library.conversation(first).settings
    assert mine is not None
    assert (mine.system_prompt, mine.params.temperature) == ("Be brief.", 0.3)
    assert panel._choice.currentText() == "Own settings"
    panel._save.click()
    dialog = desk.window.findChild(QInputDialog)
    assert dialog is not None
    dialog.setTextValue("Kurz")
    dialog.accept()
    assert desk.window.preferences.settings.presets["Kurz"].system_prompt == "Be brief."
    assert panel._choice.currentText() == "Kurz"
    desk.window.new_chat()
    assert panel._choice.currentText() == "As on the settings page"
    panel._choice.setCurrentText("Kurz")
    panel._choice.activated.emit(panel._choice.currentIndex())
    desk.ask("two")
    desk.idle()
    second = desk.window.chat_page.current
    assert second is not None
    settings = desk.chats.library.conversation(second).settings
    assert settings is not None
    assert settings.preset == "Kurz"
    panel._delete.click()
    assert desk.window.preferences.settings.presets == {}
    assert panel._choice.currentText() == "Own settings"


def test_json_that_cannot_go_on_is_offered_anew(desk: Desk) -> None:
    settings = ChatSettings(json_schema='{"type": "object"}', params=SamplingParams(max_new_tokens=2))
    desk.window.chat_page._new_settings = settings
    desk.load(Script(reply='{"a": 1, "b": 2}', continues_json=False))
    desk.ask("go")
    desk.idle()
    desk.until(lambda: reply_buttons(reply(desk)).go_on.isVisible())
    reply_buttons(reply(desk)).go_on.click()
    card = reply(desk)._failure_card
    assert card is not None
    assert "only begin a new value" in card.failure.message
    assert card.action_button is not None
    assert card.action_button.text() == "Write another reply"
    assert reply_buttons(reply(desk)).go_on.isVisible()  # another model may be able to
    assert texts(desk)[-1] == '{"a": 1, '
    card.action_button.click()
    desk.idle()
    desk.until(lambda: place_of(reply(desk)) == "2/2")
    assert reply(desk)._failure_card is None


def test_a_schema_that_is_none_is_said_and_not_used(desk: Desk) -> None:
    desk.window._chat_settings.trigger()
    panel = desk.window.chat_page._settings_panel
    assert panel is not None
    panel.form._schema.setPlainText("{")
    assert panel.form._schema_problem.isVisibleTo(panel)
    assert panel.form.settings.json_schema == ""
    panel.form._schema.setPlainText('{"type": "objekt"}')
    assert "'objekt' is none of" in panel.form._schema_problem.text()
    assert panel.form._schema_problem.isVisibleTo(panel)
    assert panel.form.settings.json_schema == ""
    panel.form._schema.setPlainText('{"type": "object"}')
    assert not panel.form._schema_problem.isVisibleTo(panel)
    assert panel.form.settings.json_schema == '{"type": "object"}'


# search, comparison, files


def test_a_search_jumps_to_the_message(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="KV 缓存很大"))
    desk.ask("How large is the cache?")
    desk.idle()
    first = desk.window.chat_page.current
    desk.window.new_chat()
    panel = desk.window.chat_page.panel
    searcher = Searcher(lambda: ConversationStore(tmp_path / "conversations.db"))
    desk.window._search.trigger()
    assert panel.search_field.hasFocus()
    panel.search_field.setText("缓")
    desk.until(lambda: panel.results.isVisible())
    assert not panel.results.list.isVisible()
    assert panel.results._words.text() == "Searching …"
    desk.window.search_requested.connect(searcher.search)
    searcher.found.connect(panel.show_hits)
    panel.search_field.setText("缓存")
    model = panel.results.list.model()
    desk.until(lambda: model.rowCount() == 1)
    desk.window.grab()
    place = panel.results.list.visualRect(model.index(0, 0)).center()
    desk.bot.mouseClick(panel.results.list.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
    assert desk.window.chat_page.current == first
    panel.search_field.clear()
    assert panel.list.isVisible()
    desk.bot.keyClicks(panel.search_field, "nowhere")
    desk.until(lambda: panel.results._words.isVisible() and panel.results._words.text() == "Nothing found")
    searcher.close()


def test_two_settings_side_by_side(desk: Desk) -> None:
    desk.load(Script(reply="one two three four"))
    desk.window.preferences.settings.presets["Short"] = ChatSettings(
        preset="Short", params=SamplingParams(max_new_tokens=2)
    )
    desk.window._compare.trigger()
    page = desk.window._compare_page
    assert page is not None
    page.columns[1].settings.setCurrentText("Short")
    desk.bot.keyClicks(page.edit, "Go")
    desk.bot.keyClick(page.edit, "\r")
    desk.until(lambda: not page.comparison.is_running)
    assert "after <b>8 characters</b>" in page._words.text()
    assert "three" in page._words.text()
    for column in page.columns:
        assert len(column.view._views) == 2
    page.closed.emit()
    assert desk.window.chat_page.isVisible()
    assert [c.title for c in desk.chats.library.conversations()] == ["B: Go", "A: Go"]


def test_out_and_in_again(desk: Desk, tmp_path: Path) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("one")
    desk.idle()
    transfers = Transfers(desk.chats.library, lambda: ConversationStore(tmp_path / "conversations.db"))
    desk.window.export_requested.connect(lambda path, number: transfers.export(path, {number} if number else None))
    desk.window.import_requested.connect(transfers.import_file)
    done: list[object] = []
    transfers.exported.connect(done.append)
    transfers.imported.connect(lambda *counts: done.append(counts))
    transfers.transfer_failed.connect(done.append)
    file = tmp_path / "out.jsonl"
    desk.window._export.trigger()
    (dialog,) = desk.window.findChildren(QFileDialog)
    assert dialog.selectedFiles()[0].endswith("one.jsonl") or dialog.selectedFiles()[0].endswith("one")
    dialog.fileSelected.emit(str(file))
    dialog.close()
    desk.until(lambda: done == [str(file)])
    desk.window.import_requested.emit(str(file))
    desk.until(lambda: len(done) == 2)
    assert done[1] == (1, 2)
    first, second = desk.chats.library.conversations()
    assert first.title == second.title == "one"
    assert [m.content for m in desk.chats.messages(first.id)] == [m.content for m in desk.chats.messages(second.id)]
    file.write_text("nonsense")
    desk.window.import_requested.emit(str(file))
    desk.until(lambda: len(done) == 3)
    assert "cannot be imported" in done[2].message
    assert len(desk.chats.library.conversations()) == 2


def test_the_last_reply_is_interrupted_marked_and_copied(desk: Desk) -> None:
    desk.load(Script(tokens=500, tokens_per_second=200))
    desk.ask("Go")
    desk.until(lambda: bool(views(desk)) and "token3" in texts(desk)[-1])
    desk.window._stop.trigger()
    desk.idle()
    assert desk.window.chat_page.branches.last_reply is not None
    assert desk.window.chat_page.branches.last_reply.state is MessageState.STOPPED
    desk.window._copy_last.trigger()
    assert QGuiApplication.clipboard().text() == texts(desk)[-1]
