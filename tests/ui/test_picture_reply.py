"""A picture on its whole way: pasted into the composer, sent to a real engine in its child, answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData
from PySide6.QtGui import QImage

from desktop.domain.conversation import ChatSettings
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.generation import ChatMessage, ImagePart, SamplingParams
from desktop.engine.process_engine import ProcessEngine
from tests.engine.tiny_vision import TOKENS, Reference, write_vision
from tests.ui.conftest import Desk
from tests.ui.reading import texts


def test_a_pasted_picture_is_seen_by_a_real_model(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_vision(tmp_path / "vision", "Qwen2.5-VL")
    monkeypatch.setattr(desk.host._worker, "_make_engine", lambda on_log: ProcessEngine(on_log=on_log))
    desk.host.set_config(EngineConfig(backend=Backend.CPU))
    desk.chats.defaults = ChatSettings(params=SamplingParams(temperature=0.0, max_new_tokens=TOKENS))
    desk.window.load(str(folder))
    desk.bot.waitUntil(lambda: desk.host.is_ready, timeout=60_000)
    page = desk.window.chat_page
    replies = []
    for colour in (0x2040C0, 0xC04020):
        page.new_chat()
        pasted = QImage(60, 40, QImage.Format.Format_RGB32)
        pasted.fill(colour)
        data = QMimeData()
        data.setImageData(pasted)
        page.composer.edit.insertFromMimeData(data)
        desk.until(lambda: len(page.composer.bar.attachments) == 1)
        assert page.composer.bar._problem.text() == ""
        desk.ask("What is it?")
        desk.idle()
        assert page.current is not None
        (attachment,) = desk.chats.messages(page.current)[0].attachments
        image = ImagePart(desk.chats.library.data(attachment), attachment.media_type)
        _, expected = Reference(folder).ask(ChatMessage("user", "What is it?", images=(image,)))
        replies.append(texts(desk)[-1])
        assert replies[-1] == expected
    assert replies[0] != replies[1]
