"""Text that means harm or is merely huge: shown as text, quickly, and nothing is ever loaded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QGuiApplication, QPixmap, QTextDocument
from pytestqt.qtbot import QtBot

from desktop.engine.scripted_engine import Script
from desktop.ui.chat import link_question
from desktop.ui.chat.link_question import LinkQuestion
from desktop.ui.chat.markdown_document import InertDocument, render
from desktop.ui.chat.markdown_view import MarkdownView
from desktop.ui.chat.plain_text_view import PlainTextView
from desktop.ui.chat.text_hygiene import LINE_LIMIT, clean, fits_markdown
from desktop.ui.theme import LIGHT
from tests.ui.conftest import Desk

SECONDS = 5.0  # generous: machines differ; what this catches is quadratic


def shown(qtbot: QtBot, markdown: str) -> MarkdownView:
    view = MarkdownView(markdown, 700)
    qtbot.addWidget(view)
    view.show()
    view.grab()
    return view


def test_raw_html_is_text(qtbot: QtBot) -> None:
    text = shown(qtbot, "<b>bold</b> <script>alert(1)</script>\n\n<img src='file:///etc/passwd'>").toPlainText()
    assert "<b>bold</b>" in text
    assert "<script>alert(1)</script>" in text
    assert "<img" in text


@pytest.mark.parametrize("kind", ["file", "path", "data", "remote"])
def test_no_image_is_ever_loaded(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    picture = tmp_path / "picture.png"
    pixmap = QPixmap(300, 300)
    pixmap.fill("red")
    assert pixmap.save(str(picture))
    address = {
        "file": picture.as_uri(),
        "path": str(picture),
        "data": "data:image/png;base64,iVBORw0KGgo=",
        "remote": "https://example.org/a.png",
    }[kind]
    asked: list[object] = []
    monkeypatch.setattr(InertDocument, "loadResource", lambda self, kind, name: asked.append(name))
    view = shown(qtbot, f"before ![words]({address}) after")
    assert f"[image: words, {address}]" in view.toPlainText()
    assert asked == []
    image = view.grab().toImage()
    assert not any(
        image.pixelColor(x, y).name() == "#ff0000" for x in range(0, image.width(), 7) for y in range(image.height())
    )


def test_nothing_is_loaded_when_the_document_is_asked(qtbot: QtBot) -> None:
    document = render("text", QGuiApplication.font(), LIGHT)
    for name in ("file:///etc/hostname", "/etc/hostname", "https://example.org"):
        assert not document.resource(QTextDocument.ResourceType.ImageResource, QUrl(name))


def test_front_matter_is_not_swallowed(qtbot: QtBot) -> None:
    assert "secret: 1" in shown(qtbot, "---\nsecret: 1\n---\n\nrest").toPlainText()


@pytest.mark.parametrize("address", ["https://example.org/x", "file:///etc/passwd", "javascript:alert(1)"])
def test_a_link_opens_nothing_by_itself(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    opened: list[str] = []

    class Services:
        @staticmethod
        def openUrl(url: QUrl) -> bool:
            opened.append(url.toString())
            return True

    monkeypatch.setattr(link_question, "QDesktopServices", Services)
    view = shown(qtbot, f"[words]({address})")
    clicked: list[str] = []
    view.link_activated.connect(clicked.append)
    view.anchorClicked.emit(QUrl(address))
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
    conversation = desk.chats.conversations()[0].id
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


def test_what_is_too_long_for_markdown_is_plain(desk: Desk) -> None:
    assert not fits_markdown("x" * (LINE_LIMIT + 1))
    assert fits_markdown("x\n" * LINE_LIMIT)
    assert clean("a\r\nb\rc\x07\udc00") == "a\nb\nc\ufffd\ufffd"
