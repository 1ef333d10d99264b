"""What app.py builds, without the window: real store, real worker thread, scripted engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.conversation import Message, MessageState
from desktop.engine.base import Engine
from desktop.engine.process_engine import ProcessEngine
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.library import Library
from desktop.services.store_writer import StoreWriter
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.conversations import ConversationStore
from desktop.storage.paths import demo_checkpoint

DEMO = str(demo_checkpoint())


class Desk:
    """What app.py builds, without the window. script: how the next engine that is loaded plays."""

    def __init__(self, folder: Path, qtbot: QtBot, in_child: bool = False) -> None:
        self.qtbot = qtbot
        self.path = folder / "conversations.db"
        self.script: dict[str, object] = {"tokens": 20}
        self.in_child = in_child
        self.store = ConversationStore(self.path)
        self.store.recover()
        self.writer = StoreWriter(lambda: ConversationStore(self.path))
        self.host = EngineHost(self._make_engine, read_checkpoint)
        self.library = Library(self.store, self.writer)
        self.chats = Chats(self.library, self.host)
        self.ends: list[Message] = []
        self.shown: dict[int, str] = {}
        self.library.message_changed.connect(self._on_message_changed)
        self.chats.text_appended.connect(self._on_text_appended)

    def _make_engine(self, on_log: Callable[[str], None]) -> Engine:
        if self.in_child:
            return ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(self.script)}, on_log)
        return ScriptedEngine(Script(**self.script))

    def _on_message_changed(self, message: Message) -> None:
        if message.role == "assistant" and message.state is not MessageState.STREAMING:
            self.ends.append(message)

    def _on_text_appended(self, message_id: int, text: str) -> None:
        self.shown[message_id] = self.shown.get(message_id, "") + text

    def load(self, **script: object) -> None:
        self.script = script or self.script
        self.host.load(DEMO)
        self.until(lambda: self.host.is_ready)

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=10_000)

    def saved(self, conversation_id: int) -> list[Message]:
        """What another reader finds on disk once everything posted so far is written."""
        done: list[bool] = []
        self.writer.post(lambda store: done.append(True))
        self.until(lambda: bool(done))
        reader = ConversationStore(self.path)
        try:
            return list(reader.messages(conversation_id).values())
        finally:
            reader.close()

    def close(self) -> None:
        self.chats.close()
        with self.qtbot.waitSignal(self.host.stopped, timeout=10_000):
            self.host.shutdown()
        assert self.host.wait(5000)
        assert self.writer.close(5)
        self.store.close()


@pytest.fixture
def make_desk(tmp_path: Path, qtbot: QtBot) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**options: bool) -> Desk:
        desks.append(Desk(tmp_path, qtbot, **options))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def words(count: int) -> str:
    """What a script of so many tokens writes."""
    return "".join(f"token{i} " for i in range(count))
