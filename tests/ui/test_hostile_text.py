"""Text that means harm or is merely huge: shown as text, quickly, and nothing is ever loaded."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from desktop.engine.scripted_engine import Script
from desktop.ui.chat import link_question
from desktop.ui.chat.link_question import LinkQuestion
from desktop.ui.chat.long_text import FIRST, LongText
from desktop.ui.chat.message_edit import LONGEST_TEXT
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.markdown.body import MarkdownBody
from tests.hostile_texts import HOSTILE
from tests.ui.conftest import Desk

SECONDS = 5.0  # generous: machines differ; what this catches is quadratic


@pytest.mark.parametrize("address", ["https://example.org/x", "file:///etc/passwd", "javascript:alert(1)"])
def test_a_link_opens_nothing_by_itself(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    opened: list[str] = []

    class Services:
        @staticmethod
        def openUrl(url: QUrl) -> bool:
            opened.append(url.toString())
            return True

    monkeypatch.setattr(link_question, "QDesktopServices", Services)
    body = MarkdownBody(400)
    qtbot.addWidget(body)
    body.set_text(f"[words]({address})", finished=True)
    body.show()
    clicked: list[str] = []
    body.link_activated.connect(clicked.append)
    qtbot.mouseClick(body, Qt.MouseButton.LeftButton, pos=QPoint(12, 12))
    assert clicked == [address]
    assert opened == []
    question = LinkQuestion(address)
    qtbot.addWidget(question)
    assert address in question.informativeText()
    opens = [button for button in question.buttons() if button.text() == "Open"]
    assert bool(opens) == address.startswith("https")
    for button in opens:
        button.click()
    assert opened == [address for _ in opens]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_shown_in_time(desk: Desk, name: str) -> None:
    desk.load(Script(reply=HOSTILE[name]))
    began = time.perf_counter()
    desk.ask("Go")
    desk.idle()
    desk.window.grab()
    assert time.perf_counter() - began < SECONDS
    conversation = desk.chats.library.conversations()[0].id
    assert desk.chats.messages(conversation)[-1].content


def test_a_line_without_an_end_appears_in_bounded_steps(qtbot: QtBot) -> None:
    view = PlainTextView(700)
    qtbot.addWidget(view)
    longest = 0.0
    for _ in range(1_000):
        began = time.perf_counter()
        view.append_text("token" * 4)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 0.5
    assert view.document().blockCount() > 5
    view.selectAll()
    assert view.createMimeDataFromSelection().text() == "token" * 4_000


def test_a_long_text_shows_its_beginning_and_more_on_request(qtbot: QtBot) -> None:
    text = "".join(f"{number} " for number in range(9_000))
    long = LongText(500, "text")
    qtbot.addWidget(long)
    long.show()

    def shown() -> str:
        long._view.selectAll()
        return long._view.createMimeDataFromSelection().text()

    long.set_text(text)
    assert shown() == text[:FIRST]
    assert f"{len(text) - FIRST:,}" in long._button.text()
    long.append_text("end")
    while long._button.isVisible():
        long._button.click()
    assert shown() == text + "end"
    long.set_text("short")
    assert shown() == "short"
    assert not long._button.isVisible()
    long.append_text(" and more")
    assert shown() == "short and more"


def test_a_long_text_that_is_pasted_becomes_an_attachment(desk: Desk) -> None:
    composer = desk.window.chat_page.composer
    QGuiApplication.clipboard().setText("x" * (LONGEST_TEXT + 1))
    composer.edit.paste()
    desk.until(lambda: bool(composer.bar.attachments))
    assert composer.text == ""
    (attachment,) = composer.bar.attachments
    assert attachment.kind == "text"
    assert attachment.size == LONGEST_TEXT + 1
    composer.bar.clear()
    QGuiApplication.clipboard().setText("x" * LONGEST_TEXT)
    composer.edit.paste()
    assert composer.text == "x" * LONGEST_TEXT


def test_what_is_copied_has_the_line_ends_it_came_with(qtbot: QtBot) -> None:
    view = PlainTextView(300)
    qtbot.addWidget(view)
    text = "first\n\n" + "words and more words " * 400 + "\nlast"
    view.set_text(text)
    view.selectAll()
    assert view.createMimeDataFromSelection().text() == text


def test_what_no_font_can_show_is_replaced() -> None:
    assert clean("a\r\nb\rc\x07\udc00") == "a\nb\nc\ufffd\ufffd"
