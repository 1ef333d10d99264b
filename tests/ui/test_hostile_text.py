"""Text that means harm or is merely huge: shown as text, quickly, and nothing is ever loaded."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from pytestqt.qtbot import QtBot

from desktop.engine.scripted_engine import Script
from desktop.ui.chat import link_question
from desktop.ui.chat.link_question import LinkQuestion
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.markdown.body import MarkdownBody
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


HOSTILE = {
    "NUL": "a\x00b",
    "half surrogates": "a\ud800b\udfff",
    "right to left": "abc \u202e gnirts \u202c שלום",
    "zalgo": "Z\u0351\u036b\u0343\u036a\u0302" * 500,
    "backticks": "`" * 100_000,
    "quotes": ">" * 20_000 + "x",
    "brackets": "[" * 50_000,
    "emphasis": "_*" * 20_000,
    "nested list": "".join("  " * depth + "* x\n" for depth in range(200)),
    "wide table": "|" * 20_000 + "\n" + "|-" * 20_000 + "\n",
    "long table": "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 20_000,
    "one line": "x" * 200_000,
    "one line of words": "word " * 40_000,
    "carriage returns": "a\rb\r\nc",
}


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


def test_what_is_copied_has_the_line_ends_it_came_with(qtbot: QtBot) -> None:
    view = PlainTextView(300)
    qtbot.addWidget(view)
    text = "first\n\n" + "words and more words " * 400 + "\nlast"
    view.set_text(text)
    view.selectAll()
    assert view.createMimeDataFromSelection().text() == text


def test_what_no_font_can_show_is_replaced() -> None:
    assert clean("a\r\nb\rc\x07\udc00") == "a\nb\nc\ufffd\ufffd"
