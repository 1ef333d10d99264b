"""The list model keeps in step with Chats, as Qt's own model test sees it."""

from __future__ import annotations

import time

import msgspec
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QMessageBox

from desktop.engine.scripted_engine import Script
from desktop.ui.chat.conversation_list_model import ConversationListModel, Role, _when
from tests.ui.conftest import Desk


def test_rows_follow_adding_sending_renaming_and_deleting(desk: Desk) -> None:
    model = desk.window.chat_page._list_model
    QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning, desk.window)
    desk.load(Script(reply="yes"))
    first = desk.chats.send(None, "first")
    desk.idle()
    second = desk.chats.send(None, "second")
    desk.idle()
    assert titles(model) == ["second", "first"]
    desk.chats.send(first, "again")
    assert titles(model) == ["first", "second"]
    assert model.index(0).data(Role.GENERATING) is True
    desk.idle()
    assert model.index(0).data(Role.GENERATING) is False
    desk.chats.rename(second, "another name")
    assert titles(model) == ["first", "another name"]
    desk.chats.delete(first)
    assert titles(model) == ["another name"]
    assert model.row_of(first) == -1
    assert model.roleNames()[Role.DETAIL] == b"detail"
    assert model.index(0).data(Qt.ItemDataRole.ToolTipRole) == "another name"


def titles(model: ConversationListModel) -> list[str]:
    return [model.index(row).data(Role.TITLE) for row in range(model.rowCount())]


def test_a_generating_row_says_how_fast(desk: Desk) -> None:
    desk.load(Script(tokens=300, tokens_per_second=200))
    desk.chats.send(None, "fast")
    model = desk.window.chat_page._list_model
    desk.until(lambda: "tok/s" in model.index(0).data(Role.DETAIL))
    desk.idle()
    desk.until(lambda: "tok/s" not in model.index(0).data(Role.DETAIL))


def test_a_hidden_conversation_that_writes_costs_few_updates(desk: Desk) -> None:
    desk.load(Script(tokens=4_000))
    for number in range(8):
        desk.chats.send(None, f"chat {number}")
    desk.window.chat_page.new_chat()
    changes: list[float] = []
    desk.window.chat_page._list_model.dataChanged.connect(lambda *_: changes.append(time.monotonic()))
    desk.idle()
    assert len(changes) < 8 * 4


def test_a_title_of_any_length_and_kind_is_shown(desk: Desk) -> None:
    model = desk.window.chat_page._list_model
    desk.load(Script(reply="yes"))
    number = desk.chats.send(None, "x")
    desk.idle()
    conversation = msgspec.structs.replace(desk.chats.conversation(number), title="长" * 300 + "\x00\ud800")
    desk.chats._change(conversation)
    assert model.index(0).data(Role.TITLE).endswith("\ufffd\ufffd")
    desk.window.grab()


def test_moments_in_words() -> None:
    assert _when(time.time()).count(":") == 1
    assert _when(time.time() - 86_400) == "yesterday"
    assert _when(0.0).endswith("1970") or _when(0.0).endswith("1969")
    assert _when(1e30) == ""


def test_enter_in_the_delete_question_deletes_nothing(desk: Desk) -> None:
    desk.load(Script(reply="yes"))
    desk.ask("kept")
    desk.idle()
    desk.window.chat_page.panel.delete_current()
    (question,) = desk.window.findChildren(QMessageBox)
    chosen_by_enter = question.defaultButton()
    assert chosen_by_enter is not None
    chosen_by_enter.click()
    desk.until(lambda: not desk.window.findChildren(QMessageBox))
    assert len(desk.chats.conversations()) == 1
    desk.window.chat_page.panel.delete_current()
    (question,) = desk.window.findChildren(QMessageBox)
    next(button for button in question.buttons() if button.text() == "Delete").click()
    desk.until(lambda: not desk.chats.conversations())
