"""Deletions are taken back one by one, and what was deleted is found again."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QMessageBox

from desktop.engine.scripted_engine import Script
from desktop.ui.chat.trash_dialog import TrashDialog
from tests.ui.conftest import Desk


def conversations(desk: Desk, *titles: str) -> None:
    """Begin conversations of these titles, the last of which is open."""
    desk.load(Script(reply="yes"))
    for title in titles:
        desk.window.new_chat()
        desk.ask(title)
        desk.idle()


def titles(desk: Desk) -> set[str]:
    return {conversation.title for conversation in desk.chats.library.conversations()}


def delete(desk: Desk, title: str) -> None:
    library = desk.chats.library
    (number,) = (c.id for c in library.conversations() if c.title == title)
    desk.window.chat_page.open_conversation(number)
    desk.window._delete.trigger()


def opened(desk: Desk) -> TrashDialog:
    desk.window._trash.trigger()
    (dialog,) = desk.window.findChildren(TrashDialog)
    desk.until(dialog.isActiveWindow)
    return dialog


def rows(dialog: TrashDialog) -> list[str]:
    items = [dialog.list.topLevelItem(row) for row in range(dialog.list.topLevelItemCount())]
    return [item.text(0) for item in items if item is not None]


def test_several_deletions_are_undone_one_by_one(desk: Desk) -> None:
    conversations(desk, "one", "two", "three")
    panel = desk.window.chat_page.panel
    delete(desk, "one")
    delete(desk, "two")
    assert titles(desk) == {"three"}
    assert "two" in panel._undo_words.text()
    panel._undo.click()
    assert titles(desk) == {"two", "three"}
    assert panel._undo.isVisible()
    assert "one" in panel._undo_words.text()
    panel._undo.click()
    assert titles(desk) == {"one", "two", "three"}
    assert not panel._undo.isVisible()
    panel.undo_delete()
    assert titles(desk) == {"one", "two", "three"}


def test_what_was_deleted_is_listed_and_comes_back(desk: Desk) -> None:
    conversations(desk, "one", "two")
    delete(desk, "one")
    delete(desk, "two")
    dialog = opened(desk)
    assert rows(dialog) == ["two", "one"]
    item = dialog.list.topLevelItem(0)
    assert item is not None
    assert ":" in item.text(1), "deleted today, at this time"
    assert dialog.list.hasFocus()
    desk.bot.keyClick(dialog.list, Qt.Key.Key_Down)
    desk.bot.keyClick(dialog.list, Qt.Key.Key_Return)
    assert titles(desk) == {"one"}
    assert rows(dialog) == ["two"]
    current = desk.window.chat_page.current
    assert current is not None
    assert desk.chats.library.conversation(current).title == "one"
    desk.window.chat_page.panel.undo_delete()
    assert titles(desk) == {"one", "two"}, "what is back already is not undone twice"


def test_deleting_for_good_asks_once(desk: Desk) -> None:
    conversations(desk, "one", "two")
    delete(desk, "one")
    delete(desk, "two")
    dialog = opened(desk)
    dialog.list.selectAll()
    for answer, left in (("Cancel", ["two", "one"]), ("Delete for good", [])):
        desk.bot.keyClick(dialog.list, Qt.Key.Key_Delete)
        question = next(box for box in dialog.findChildren(QMessageBox) if box.isVisible())
        assert "2 conversations" in question.text()
        next(button for button in question.buttons() if button.text().replace("&", "") == answer).click()
        assert rows(dialog) == left
    assert dialog.empty.isVisible()
    assert not dialog.restore.isEnabled()
    assert not dialog.delete.isEnabled()
    assert desk.chats.library.trashed() == []
    desk.window.chat_page.panel.undo_delete()
    assert titles(desk) == set()


def test_an_empty_trash_says_so(desk: Desk) -> None:
    dialog = opened(desk)
    assert dialog.empty.isVisible()
    assert "30 days" in dialog.empty.text()
    assert not dialog.list.isVisible()
    assert dialog.close_button.hasFocus()
    for widget in (dialog.list, dialog.restore, dialog.delete, dialog.close_button):
        interface = QAccessible.queryAccessibleInterface(widget)
        assert interface.text(QAccessible.Text.Name)
