"""Searching in a thread of its own, while the window goes on."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from desktop.domain.conversation import Conversation, Message
from desktop.services.searcher import Searcher
from desktop.storage.conversations import ConversationStore


def test_titles_and_messages_are_found(tmp_path: Path, qtbot: QtBot) -> None:
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    store.add_conversation(Conversation(id=1, title="显存与缓存", created_at=1, updated_at=1))
    store.add_message(
        Message(
            id=1, conversation_id=1, parent_id=None, role="user", content="How large is the KV cache?", created_at=1
        )
    )
    searcher = Searcher(lambda: ConversationStore(path))
    found: list[tuple[str, list[int], list[int]]] = []
    searcher.found.connect(
        lambda text, titles, hits: found.append(
            (text, [hit.conversation_id for hit in titles], [hit.message_id for hit in hits])
        )
    )
    for text, titles, hits in (("cache", [], [1]), ("缓存", [1], []), ("nowhere", [], [])):
        searcher.search(text)
        qtbot.waitUntil(lambda text=text: bool(found) and found[-1][0] == text, timeout=5000)
        assert found[-1] == (text, titles, hits)
    for text in "the last of many searches counts":
        searcher.search(text)
    searcher.search("large")
    qtbot.waitUntil(lambda: found[-1][0] == "large", timeout=5000)
    assert found[-1][2] == [1]
    searcher.close()
    store.close()
