"""The writer's thread: order, retry, and what happens to a write that cannot succeed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.conversation import Conversation
from desktop.domain.errors import Failure, FailureCode, error
from desktop.services import store_writer
from desktop.services.store_writer import StoreWriter
from desktop.storage.conversations import ConversationStore


def conversation(number: int) -> Conversation:
    return Conversation(id=number, title=f"title {number}", created_at=number, updated_at=number)


@pytest.fixture
def writer(tmp_path: Path, qtbot: QtBot) -> Iterator[StoreWriter]:
    made = StoreWriter(lambda: ConversationStore(tmp_path / "conversations.db"))
    yield made
    made.close(5)


def titles(folder: Path) -> list[str]:
    store = ConversationStore(folder / "conversations.db")
    try:
        return sorted(found.title for found in store.conversations())
    finally:
        store.close()


def test_closing_writes_what_waits(writer: StoreWriter, tmp_path: Path) -> None:
    for number in range(1, 51):
        writer.post(lambda store, n=number: store.add_conversation(conversation(n)))
    assert writer.close(10)
    assert len(titles(tmp_path)) == 50


def test_writes_happen_in_order_and_off_the_gui_thread(writer: StoreWriter) -> None:
    seen: list[int] = []
    threads: set[str] = set()
    for number in range(100):
        writer.post(lambda store, n=number: (seen.append(n), threads.add(threading.current_thread().name)))
    assert writer.close(10)
    assert seen == list(range(100))
    assert threads == {"store-writer"}


def test_a_full_disk_is_told_once_and_nothing_is_lost(
    writer: StoreWriter, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SQLITE_FULL: the database may not grow, until it may again."""
    monkeypatch.setattr(store_writer, "RETRY_SECONDS", 0.05)
    told: list[Failure] = []
    writer.save_failed.connect(told.append)

    def limit_to(pages: int) -> None:
        writer.post(lambda store: store._connection.execute(f"PRAGMA max_page_count = {pages}"))

    writer.post(lambda store: store.add_conversation(conversation(1)))
    limit_to(1)  # SQLite raises it to the present size
    big = Conversation(id=2, title="x" * 100_000, created_at=2, updated_at=2)
    room: list[bool] = []

    def add_big(store: ConversationStore) -> None:
        if room:
            store._connection.execute("PRAGMA max_page_count = 100000")
        store.add_conversation(big)

    with qtbot.waitSignal(writer.save_failed, timeout=5000):
        writer.post(add_big)
        writer.post(lambda store: store.rename(1, "after"))
    assert told[0].code is FailureCode.DISK_FULL
    assert writer.is_troubled
    qtbot.wait(200)  # several tries
    assert len(told) == 1
    with qtbot.waitSignal(writer.saved_again, timeout=5000):
        room.append(True)
        writer.retry()
    assert not writer.is_troubled
    assert writer.close(5)
    assert titles(tmp_path) == sorted(["after", "x" * 100_000])


def test_closing_while_the_disk_is_full_says_that_something_is_unsaved(writer: StoreWriter, qtbot: QtBot) -> None:
    def refuse(store: ConversationStore) -> None:
        raise error(FailureCode.DISK_FULL)

    later: list[bool] = []
    with qtbot.waitSignal(writer.save_failed, timeout=5000):
        writer.post(refuse)
        writer.post(lambda store: later.append(True))  # would succeed, and hide that something is missing
    assert not writer.close(5)
    assert not writer._thread.is_alive()
    assert not later


def test_a_write_that_can_never_succeed_is_told_and_the_next_goes_on(
    writer: StoreWriter, tmp_path: Path, qtbot: QtBot
) -> None:
    lost: list[Failure] = []
    writer.write_lost.connect(lost.append)
    with qtbot.waitSignal(writer.write_lost, timeout=5000):
        writer.post(lambda store: 1 / 0)
    with qtbot.waitSignal(writer.write_lost, timeout=5000):
        writer.post(lambda store: store.add_conversation(conversation(1)))
        writer.post(lambda store: store.add_conversation(conversation(1)))  # the same id again
    writer.post(lambda store: store.add_conversation(conversation(2)))
    assert writer.close(5)
    assert [failure.code for failure in lost] == [FailureCode.INTERNAL, FailureCode.INTERNAL]
    assert "ZeroDivisionError" in lost[0].detail
    assert titles(tmp_path) == ["title 1", "title 2"]


def test_a_store_that_cannot_be_opened_yet_is_tried_again(
    tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "RETRY_SECONDS", 0.05)
    tries: list[int] = []

    def open_store() -> ConversationStore:
        tries.append(1)
        if len(tries) < 3:
            raise error(FailureCode.DATABASE_BUSY)
        return ConversationStore(tmp_path / "conversations.db")

    writer = StoreWriter(open_store)
    with qtbot.waitSignal(writer.saved_again, timeout=5000):
        writer.post(lambda store: store.add_conversation(conversation(1)))
    assert writer.close(5)
    assert titles(tmp_path) == ["title 1"]
