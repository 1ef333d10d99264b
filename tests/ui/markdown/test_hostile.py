"""Text that is made to break a renderer: it is drawn as something, nothing is loaded, and work is done in slices."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.ui.markdown.block_stream import LONG_WINDOW
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.small_boxes import _picture_in


def png(width: int, height: int, body: bytes = b"") -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    raw = body or zlib.compress(b"".join(b"\x00" + b"\x10\x20\x30" * width for _ in range(height)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


TEXTS = {
    "deep quotes": ">" * 10_000 + " x",
    "deep lists": "\n".join(" " * 2 * i + "- x" for i in range(1_000)),
    "deep lists on a line": "- " * 10_000,
    "zalgo": ("a" + "\u0301\u0302\u0303" * 30) * 200,
    "right to left": "\u202e\u05d0\u05d1 **\u05d2** " * 500,
    "nul": "a\x00b" * 500,
    "surrogates": "\ud800 \udfff *\udc00*" * 200,
    "backticks": "`" * 100_000,
    "brackets": "[" * 100_000,
    "pictures": "![" * 50_000,
    "stars": "*a" * 50_000,
    "table": "|" + "a|" * 50 + "\n|" + "-|" * 50 + "\n" + ("|" + "b|" * 50 + "\n") * 5_000,
    "formulas": " ".join(f"$x_{{{i}}}$" for i in range(1_000)),
    "ligature": "\ufdfd" * 2_000,
    "document marks": "\ufdd0\ufdd1\ufffc\u2028\u2029" * 400,
    "pictures of data": "![a](data:image/png;base64,AAAA)\n\n![b](data:image/png;base64,!)\n\n![c](data:,x)",
    "html": "<div>" * 5_000,
    "open comment": "<!-- " + "x\n" * 5_000,
    "a long line of code": "```js\n" + "var a=1;" * 20_000,
    "definitions": "\n".join(f"[a{i}]: /x" for i in range(2_000)),
    "no such language": "```" + "x" * 5_000 + "\ncode\n```",
}


@pytest.fixture
def body(qtbot: QtBot) -> Iterator[MarkdownBody]:
    made = MarkdownBody(600)
    qtbot.addWidget(made)
    made.show()
    yield made
    formulas().stop()


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_is_drawn_and_copied(body: MarkdownBody, qtbot: QtBot, name: str) -> None:
    text = TEXTS[name]
    body.set_text(text, finished=True)
    body.resize(600, 1_500)
    qtbot.waitUntil(lambda: body._told_end and not body._frame.isActive(), timeout=60_000)
    assert not body.grab().isNull()
    assert body.sizeHint().height() > 0 or name == "definitions"
    assert body.text == text
    body.select_all()
    assert body.selected_markdown() or name == "definitions"
    for block in body._stream.final:
        assert block.kind == "fence" or len(block.source) <= LONG_WINDOW


def test_ten_megabytes_are_taken_in_slices(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text("some **text** here\n\n" * 500_000, finished=True)
    assert 0 < body._stream.tail_start < 1_000_000, "only a slice is done at once"
    assert len(body.text) == 10_000_000


def test_pictures_are_decoded_only_when_they_are_small() -> None:
    assert _picture_in(png(40, 30)) is not None
    assert _picture_in(png(60_000, 60_000, zlib.compress(b"\x00"))) is None
    assert _picture_in("data:image/png;base64," + "A" * 2_000_001) is None
    assert _picture_in("data:image/svg+xml;base64,PHN2Zy8+") is None
    assert _picture_in("https://example.org/a.png") is None
    assert _picture_in("file:///etc/passwd") is None


def test_no_child_means_source(body: MarkdownBody, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    shop = type(formulas())(body)
    assert shop.get("x", False, 12.0) is None
    qtbot.waitUntil(lambda: not shop.is_busy)
    assert shop.get("x", False, 12.0) is None
    shop.stop()
    QApplication.processEvents()
