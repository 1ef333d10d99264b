"""The conversation store against a real SQLite file: the tree, streaming, crashes, full disks, any text."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.domain.conversation import Message, MessageState, branch
from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.generation import FinishReason, GenerationStats
from desktop.storage.conversations import ConversationStore
from tests.storage.chaos_kill_writer import kill_writer
from tests.storage.writing import new_conversation, new_message

STATS = GenerationStats(prompt_tokens=5, completion_tokens=7, time_to_first_token=0.25, duration=1.5)
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates and NUL too


def code_of(act: Callable[[], object]) -> FailureCode:
    with pytest.raises(TurbodeskError) as caught:
        act()
    return caught.value.failure.code


def streaming_reply(store: ConversationStore) -> Message:
    conversation = new_conversation(store, "chat")
    question = new_message(store, conversation.id, None, "user", "question")
    return new_message(
        store, conversation.id, question.id, "assistant", "", state=MessageState.STREAMING, model="tiny-model"
    )


def finish(store: ConversationStore, reply: Message, content: str, state: MessageState, **outcome: Any) -> Message:
    finished = msgspec.structs.replace(reply, content=content, state=state, **outcome)
    store.finish_message(finished)
    return finished


def reread(store: ConversationStore, message: Message) -> Message:
    return store.messages(message.conversation_id)[message.id]


def rows(store: ConversationStore, sql: str) -> list[Any]:
    return store._connection.execute(sql).fetchall()


def test_conversations_are_listed_by_their_newest_message(store: ConversationStore) -> None:
    first, second, third = (new_conversation(store, title) for title in ("one", "two", "three"))
    assert [c.title for c in store.conversations()] == ["three", "two", "one"]
    message = new_message(store, first.id, None, "user", "hello")
    listed = store.conversations()
    assert [c.id for c in listed] == [first.id, third.id, second.id]
    assert listed[0].leaf_id == message.id
    assert listed[0].updated_at == message.created_at >= listed[0].created_at == first.created_at
    assert listed[1:] == [third, second]


def test_rename_and_delete(store: ConversationStore) -> None:
    keep, drop = new_conversation(store, "keep"), new_conversation(store, "drop")
    new_message(store, keep.id, None, "user", "stays")
    new_message(store, drop.id, None, "user", "goes")
    store.rename(keep.id, "kept")
    store.delete(drop.id)
    assert [c.title for c in store.conversations()] == ["kept"]
    assert store.messages(drop.id) == {}
    assert len(store.messages(keep.id)) == 1


def test_a_finished_reply_is_there_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        reply = streaming_reply(store)
        store.append_text(reply.id, "half a ")
        finished = finish(
            store,
            reply,
            "half a reply",
            MessageState.COMPLETE,
            model="tiny-model-2",
            finish_reason=FinishReason.STOP,
            stats=STATS,
        )
    with closing(ConversationStore(path)) as store:
        assert store.recover() == 0
        assert reread(store, reply) == finished


def test_a_failure_is_kept_with_its_message(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    broken = failure(FailureCode.ENGINE_DIED, detail="log \udcff\x00 line", when="while writing", reason="signal 9")
    finished = finish(store, reply, "so far", MessageState.INTERRUPTED, failure=broken)
    assert reread(store, reply) == finished


def test_a_whole_message_can_be_added(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    copy = msgspec.structs.replace(
        reply,
        id=reply.id + 1,
        content="copied",
        state=MessageState.STOPPED,
        finish_reason=FinishReason.ABORT,
        stats=STATS,
    )
    store.add_message(copy)
    assert reread(store, copy) == copy


def test_streamed_text_is_appended_and_folded_in_at_the_end(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    for text, whole in (("One", "One"), (" two", "One two"), ("", "One two"), (" three", "One two three")):
        store.append_text(reply.id, text)
        assert reread(store, reply) == msgspec.structs.replace(reply, content=whole)
    assert rows(store, "SELECT content FROM messages ORDER BY id") == [("question",), ("",)]
    finished = finish(store, reply, "One two three.", MessageState.STOPPED, finish_reason=FinishReason.ABORT)
    assert rows(store, "SELECT * FROM streamed_text") == []
    assert reread(store, reply) == finished


def test_a_cut_reply_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        reply = streaming_reply(store)
        store.append_text(reply.id, "cut ")
        store.append_text(reply.id, "here")
    for _ in range(2):
        with closing(ConversationStore(path)) as store:
            before = reread(store, reply).content
            assert store.recover() == 1
            assert store.recover() == 0
            interrupted = msgspec.structs.replace(reply, content=before, state=MessageState.INTERRUPTED)
            assert reread(store, reply) == interrupted
            assert rows(store, "SELECT * FROM streamed_text") == []
            store.reopen_message(reply.id)
            store.append_text(reply.id, " and on")
            assert reread(store, reply) == msgspec.structs.replace(reply, content=before + " and on")
    with closing(ConversationStore(path)) as store:
        assert reread(store, reply).content == "cut here and on and on"


def test_reopening_takes_the_outcome_back(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    broken = failure(FailureCode.KV_CACHE_EXHAUSTED)
    finish(store, reply, "so far", MessageState.INTERRUPTED, stats=STATS, failure=broken)
    store.reopen_message(reply.id)
    assert reread(store, reply) == msgspec.structs.replace(reply, content="so far")


def test_text_that_comes_after_the_end_is_dropped(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    finish(store, reply, "the end", MessageState.COMPLETE)
    store.append_text(reply.id, " and more")
    store.reopen_message(reply.id)
    assert reread(store, reply).content == "the end"


def test_saving_a_long_reply_costs_what_is_new(store: ConversationStore) -> None:
    """The last saves of a 400 kB reply write no more than the first, and all of them far less than 400 times 200 kB."""
    reply = streaming_reply(store)
    store._connection.execute("PRAGMA wal_autocheckpoint = 0")
    log = Path(f"{store._path}-wal")
    sizes = [log.stat().st_size]
    for _ in range(400):
        store.append_text(reply.id, "word " * 200)
        sizes.append(log.stat().st_size)
    assert reread(store, reply).content == "word " * 200 * 400
    assert sizes[400] - sizes[300] <= 1.2 * (sizes[100] - sizes[0])
    assert sizes[400] - sizes[0] < 10_000_000


def test_ids_are_never_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        assert store.next_ids() == (1, 1)
        reply = streaming_reply(store)
        assert store.next_ids() == (2, 3)
        store.delete(reply.conversation_id)
    with closing(ConversationStore(path)) as store:
        assert store.next_ids() == (2, 3)


def test_late_calls_for_what_was_deleted_do_nothing(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    store.append_text(reply.id, "some")
    store.delete(reply.conversation_id)
    assert rows(store, "SELECT * FROM streamed_text") == []

    after = streaming_reply(store)
    store.append_text(reply.id, " more")
    finish(store, reply, "some more", MessageState.COMPLETE)
    store.reopen_message(reply.id)
    store.rename(reply.conversation_id, "gone")
    store.set_leaf(reply.conversation_id, None)
    store.delete(reply.conversation_id)
    assert list(store.messages(after.conversation_id).values())[-1] == after
    assert rows(store, "SELECT * FROM streamed_text") == []


def test_a_message_of_another_conversation_is_neither_parent_nor_leaf(store: ConversationStore) -> None:
    here, there = new_conversation(store, "here"), new_conversation(store, "there")
    stranger = new_message(store, there.id, None, "user", "hello")
    assert code_of(lambda: new_message(store, here.id, stranger.id, "assistant", "hi")) is FailureCode.INTERNAL
    assert code_of(lambda: new_message(store, here.id, 999, "assistant", "hi")) is FailureCode.INTERNAL
    assert code_of(lambda: new_message(store, 999, None, "user", "hi")) is FailureCode.INTERNAL
    assert code_of(lambda: store.set_leaf(here.id, stranger.id)) is FailureCode.INTERNAL
    assert store.messages(here.id) == {}
    assert next(c for c in store.conversations() if c.id == here.id) == here


def test_ten_thousand_messages_in_a_row_open_and_go(store: ConversationStore) -> None:
    """SQLite cascades 1,000 levels deep at most; a conversation may be deeper."""
    conversation = new_conversation(store, "long")
    with store._transaction() as database:
        database.executemany(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, state, created_at, model)"
            " VALUES (?, ?, ?, 'user', 'text', 'complete', 0, '')",
            ((i, conversation.id, i - 1 if i > 1 else None) for i in range(1, 10_001)),
        )
    store.set_leaf(conversation.id, 10_000)
    assert len(branch(store.messages(conversation.id), 10_000)) == 10_000
    store.delete(conversation.id)
    assert rows(store, "SELECT count(*) FROM messages") == [(0,)]


def test_start_up_does_not_look_at_every_message(store: ConversationStore) -> None:
    plan = rows(store, "EXPLAIN QUERY PLAN SELECT id, content FROM messages WHERE state = 'streaming'")
    assert "messages_streaming" in plan[0][3]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", "'odd'"),
        ("stats", "'{'"),
        ("failure", "'[1]'"),
        ("content", "x'ff'"),
        ("content", "CAST(x'ff' AS TEXT)"),
    ],
)
def test_a_row_that_makes_no_sense_is_damage(store: ConversationStore, column: str, value: str) -> None:
    reply = streaming_reply(store)
    store._connection.execute(f"UPDATE messages SET {column} = {value} WHERE id = {reply.id}")
    assert code_of(lambda: store.messages(reply.conversation_id)) is FailureCode.DATABASE_BROKEN


def test_a_full_disk_loses_nothing_and_a_retry_saves(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    store.append_text(reply.id, "safe")
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    more = " and sound" * 2000
    finished = msgspec.structs.replace(reply, content="safe" + more, state=MessageState.COMPLETE)
    other = msgspec.structs.replace(finished, id=reply.id + 1)
    assert code_of(lambda: store.append_text(reply.id, more)) is FailureCode.DISK_FULL
    assert code_of(lambda: store.finish_message(finished)) is FailureCode.DISK_FULL
    assert code_of(lambda: store.add_message(other)) is FailureCode.DISK_FULL
    found = store.messages(reply.conversation_id)
    assert list(found)[-1] == reply.id
    assert found[reply.id] == msgspec.structs.replace(reply, content="safe")
    assert store.conversations()[0].leaf_id == reply.id

    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.append_text(reply.id, more)
    assert reread(store, reply).content == "safe" + more
    store.finish_message(finished)
    store.add_message(other)
    assert reread(store, reply) == finished
    assert reread(store, other) == other


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    filler = small_disk / "filler"
    with closing(ConversationStore(small_disk / "conversations.db")) as store:
        reply = streaming_reply(store)
        filler.write_bytes(b"x" * (80 << 10))
        saved, code = 0, None
        while code is None:
            try:
                store.append_text(reply.id, "word " * 500)
                saved += 1
            except TurbodeskError as problem:
                code = problem.failure.code
        assert code is FailureCode.DISK_FULL
        assert reread(store, reply).content == "word " * 500 * saved
        filler.unlink()
        store.append_text(reply.id, "end")
        assert reread(store, reply).content == "word " * 500 * saved + "end"
        assert rows(store, "PRAGMA integrity_check") == [("ok",)]


def test_a_database_that_became_read_only(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    store._connection.execute("PRAGMA query_only = ON")
    assert code_of(lambda: store.append_text(reply.id, "no")) is FailureCode.STORAGE_NOT_WRITABLE
    store._connection.execute("PRAGMA query_only = OFF")
    store.append_text(reply.id, "yes")
    assert reread(store, reply).content == "yes"


def test_another_thread_reads_with_a_store_of_its_own(store: ConversationStore) -> None:
    reply = streaming_reply(store)
    store.append_text(reply.id, "seen")
    found: list[str] = []

    def read() -> None:
        with closing(ConversationStore(store._path)) as reader:
            store_is_writing.wait(5)
            found.append(reread(reader, reply).content)

    store_is_writing = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    with store._transaction() as database:
        database.execute("UPDATE messages SET content = 'not yet committed'")
        store_is_writing.set()
        thread.join(5)
    assert found == ["seen"]


def test_the_wrong_thread_is_told_so(store: ConversationStore) -> None:
    codes: list[FailureCode] = []
    thread = threading.Thread(target=lambda: codes.append(code_of(store.conversations)))
    thread.start()
    thread.join()
    assert codes == [FailureCode.INTERNAL]


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=5), title=ANY_TEXT, model=ANY_TEXT)
def test_any_text_comes_back_as_it_was(texts: list[str], title: str, model: str) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(ConversationStore(Path(folder) / "c.db")) as store:
        conversation = new_conversation(store, title)
        whole = new_message(store, conversation.id, None, "user", texts[0])
        reply = new_message(store, conversation.id, whole.id, "assistant", "", MessageState.STREAMING, model)
        content = ""
        for text in texts:
            content += text
            store.append_text(reply.id, text)
            assert reread(store, reply).content == content
        store.rename(conversation.id, title + "!")
        assert store.recover() == 1
        assert store.conversations()[0].title == title + "!"
        found = store.messages(conversation.id)
        assert found[whole.id].content == texts[0]
        assert (found[reply.id].content, found[reply.id].model) == (content, model)


@settings(deadline=None, max_examples=30)
@given(parents=st.lists(st.integers(min_value=0), max_size=30), leaf=st.integers(min_value=0))
def test_every_branch_of_any_tree_comes_back(parents: list[int], leaf: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.db"
        paths: list[list[int]] = [[]]  # the way from the root to each message; the first is "no message"
        with closing(ConversationStore(path)) as store:
            conversation = new_conversation(store, "tree")
            for pick in parents:
                above = paths[pick % len(paths)]
                message = new_message(store, conversation.id, above[-1] if above else None, "user", "text")
                paths.append([*above, message.id])
            expected = paths[leaf % len(paths)]
            store.set_leaf(conversation.id, expected[-1] if expected else None)
        with closing(ConversationStore(path)) as store:
            (found,) = store.conversations()
            messages = store.messages(found.id)
            assert [message.id for message in branch(messages, found.leaf_id)] == expected
            assert list(messages) == sorted(messages)
            assert len(messages) == len(parents)


def test_a_killed_writer_leaves_a_whole_database(tmp_path: Path) -> None:
    report = kill_writer(3, tmp_path, seed=1)
    assert report.rounds == 3
    assert report.most_missing_s <= 0.5
