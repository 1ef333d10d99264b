"""The list model keeps in step with Chats, as Qt's own model test sees it."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication

from desktop.engine.scripted_engine import Script
from desktop.ui.chat.conversation_delegate import fitted
from desktop.ui.chat.conversation_list_model import ConversationListModel, Role, moment_in_words
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
    desk.chats.library.rename(second, "another name")
    assert titles(model) == ["first", "another name"]
    desk.chats.trash(first)
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
    desk.chats.library.rename(number, "长" * 300 + "\x00\ud800")
    assert model.index(0).data(Role.TITLE).endswith("\ufffd\ufffd")
    desk.window.grab()


def test_the_number_of_a_copy_is_seen_however_long_its_title(qapp: QApplication) -> None:
    metrics = QFontMetrics(qapp.font())
    title = "How does the cache of the keys and values grow with the context"
    shown = fitted(f"{title} (2)", metrics, 200)
    assert shown.endswith("… (2)")
    assert metrics.horizontalAdvance(shown) <= 200
    assert fitted("Tea (2)", metrics, 200) == "Tea (2)"
    assert fitted(title, metrics, 200).endswith("…")


def test_moments_in_words() -> None:
    assert moment_in_words(time.time()).count(":") == 1
    assert moment_in_words(time.time() - 86_400) == "yesterday"
    assert moment_in_words(0.0).endswith("1970") or moment_in_words(0.0).endswith("1969")
    assert moment_in_words(1e30) == ""


def test_pinned_ones_and_folders_stand_apart(desk: Desk) -> None:
    model, panel, library = desk.window.chat_page._list_model, desk.window.chat_page.panel, desk.chats.library
    QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning, desk.window)
    one, two, three = (library.add_conversation(name) for name in ("one", "two", "three"))
    folder = library.add_folder("Work")
    assert titles(model) == ["Work", "Chats", "three", "two", "one"]
    library.set_folder(one, folder)
    library.set_pinned(two, True)
    assert titles(model) == ["two", "Work", "one", "Chats", "three"]
    assert model.index(1).data(Role.DETAIL) == "1 conversation"
    assert not model.flags(model.index(3)) & Qt.ItemFlag.ItemIsSelectable
    model.toggle(folder)
    assert titles(model) == ["two", "Work", "Chats", "three"]
    panel.set_current(one)  # its folder opens
    assert titles(model) == ["two", "Work", "one", "Chats", "three"]
    assert panel.list.currentIndex().data(Role.ROW_ID) == one
    went: list[int] = []
    panel.chosen.connect(went.append)
    panel.step(1)
    panel.set_current(three)
    panel.step(-1)
    assert went == [three, one]
    library.delete_folder(folder)
    assert titles(model) == ["two", "three", "one"]
    library.set_pinned(two, False)
    assert titles(model) == ["three", "two", "one"]


def test_a_thousand_rows_follow_a_change(desk: Desk) -> None:
    library = desk.chats.library
    first, *_ = [library.add_conversation(f"chat {number}") for number in range(1_000)]
    model = desk.window.chat_page._list_model
    desk.until(lambda: model.rowCount() == 1_000)
    desk.load(Script(reply="yes"))
    desk.chats.send(first, "again")
    desk.idle()
    assert model.index(0).data(Role.ROW_ID) == first
