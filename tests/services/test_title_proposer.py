"""The model proposes a title when it has nothing else to do."""

from __future__ import annotations

import pytest

from desktop.services.title_proposer import TitleProposer, clean_title
from tests.services.conftest import Desk


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("The KV cache", "The KV cache"),
        ('  "The KV cache."\n', "The KV cache"),
        ("Title: **The KV cache**", "The KV cache"),
        ("标题: 「KV 缓存」", "KV 缓存"),
        ("Two and two are **four**", "Two and two are four"),
        ("The `cache` of *2 * 3* __chats__, 2 * 3", "The cache of 2 * 3 chats, 2 * 3"),
        ("First\nSecond", ""),
        ("x" * 61, ""),
        ("", ""),
        ("“”", ""),
    ],
)
def test_a_title_is_taken_out_of_the_answer(text: str, title: str) -> None:
    assert clean_title(text) == title


def test_the_first_exchange_gets_a_title(desk: Desk) -> None:
    proposer = TitleProposer(desk.chats, desk.host)
    desk.load(reply="A short title")
    conversation = desk.chats.send(None, "What is the KV cache, and what is it good for?")
    assert conversation is not None
    desk.until(lambda: desk.library.conversation(conversation).title == "A short title")
    assert not desk.library.conversation(conversation).title_chosen
    desk.saved(conversation)
    assert desk.store.conversations()[0].title == "A short title"
    assert len(desk.chats.messages(conversation)) == 2
    proposer.deleteLater()


def test_a_chosen_title_stays(desk: Desk) -> None:
    proposer = TitleProposer(desk.chats, desk.host)
    desk.load(reply="A short title", tokens_per_second=50)
    conversation = desk.chats.send(None, "one")
    assert conversation is not None
    desk.library.rename(conversation, "Mine")
    desk.until(lambda: bool(desk.ends))
    desk.qtbot.wait(200)
    assert desk.library.conversation(conversation).title == "Mine"
    proposer.deleteLater()


def test_a_long_answer_is_no_title(desk: Desk) -> None:
    proposer = TitleProposer(desk.chats, desk.host)
    desk.load(tokens=100)
    conversation = desk.chats.send(None, "one")
    assert conversation is not None
    desk.until(lambda: bool(desk.ends))
    desk.qtbot.wait(200)
    assert desk.library.conversation(conversation).title == "one"
    proposer.deleteLater()


def test_nobody_asks_a_busy_model_and_a_message_ends_the_asking(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    proposer = TitleProposer(desk.chats, desk.host)
    sent: list[str] = []
    cancelled: list[str] = []
    generate, cancel = desk.host.generate, desk.host.cancel
    monkeypatch.setattr(desk.host, "generate", lambda request: (sent.append(request.request_id), generate(request)))
    monkeypatch.setattr(desk.host, "cancel", lambda request_id: (cancelled.append(request_id), cancel(request_id)))
    desk.load(tokens=40, tokens_per_second=100)
    short = desk.chats.send(None, "first")
    desk.qtbot.wait(150)
    long = desk.chats.send(None, "second")
    desk.until(lambda: len(desk.ends) == 1)
    assert not any(request.startswith("title") for request in sent)  # the second one is still being written
    desk.until(lambda: len(desk.ends) == 2)
    desk.until(lambda: sent[-1].startswith("title"))
    desk.chats.send(short, "go on")
    assert cancelled == [sent[2]]
    assert long is not None
    desk.until(lambda: len(desk.ends) == 3)
    proposer.deleteLater()
