"""What the store keeps beside text: folders, pins, settings, the trash, attachments, reasoning, tool calls, copies."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from desktop.domain.conversation import (
    Attachment,
    ChatSettings,
    Conversation,
    Folder,
    Message,
    MessageState,
    WhenFull,
)
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import FinishReason, SamplingParams, ToolCall
from desktop.storage.conversations import ConversationStore
from tests.storage.writing import new_conversation, new_message

SETTINGS = ChatSettings(
    preset="Precise \udc80",
    system_prompt="Be \x00 brief.",
    params=SamplingParams(temperature=0.1, stop=("\n",)),
    tools=("clock",),
    when_full=WhenFull.STOP,
)


def attached(store: ConversationStore, data: bytes) -> Attachment:
    """Store bytes; returns what refers to them."""
    id_ = hashlib.sha256(data).hexdigest()
    store.add_attachment(id_, data)
    return Attachment(id=id_, name="a \udcff.txt", kind="text", media_type="text/plain", size=len(data))


def with_attachment(store: ConversationStore, conversation_id: int, attachment: Attachment) -> Message:
    message = Message(
        id=store.next_ids()[1],
        conversation_id=conversation_id,
        parent_id=None,
        role="user",
        content="see",
        created_at=1.0,
        attachments=(attachment,),
    )
    store.add_message(message)
    return message


def only(store: ConversationStore) -> Conversation:
    (found,) = store.conversations()
    return found


def streaming(store: ConversationStore) -> Message:
    talk = new_conversation(store, "chat")
    return new_message(store, talk.id, None, "assistant", "", MessageState.STREAMING)


def test_everything_about_a_conversation_comes_back(store: ConversationStore) -> None:
    store.add_folder(Folder(id=1, name="Work"))
    whole = Conversation(
        id=1,
        title="T",
        created_at=1.0,
        updated_at=2.0,
        title_chosen=True,
        folder_id=1,
        pinned=True,
        settings=SETTINGS,
    )
    store.add_conversation(whole)
    assert only(store) == whole
    store.set_pinned(1, False)
    store.set_settings(1, None)
    store.set_folder(1, None)
    store.rename(1, "Proposed", chosen=False)
    assert only(store) == Conversation(id=1, title="Proposed", created_at=1.0, updated_at=2.0)
    store.set_settings(1, SETTINGS)
    store.rename(1, "Mine")
    found = only(store)
    assert (found.settings, found.title, found.title_chosen) == (SETTINGS, "Mine", True)


def test_folders(store: ConversationStore) -> None:
    assert store.next_folder_id() == 1
    store.add_folder(Folder(id=1, name="one"))
    store.add_folder(Folder(id=2, name="two \udcff"))
    talk = new_conversation(store, "chat")
    store.set_folder(talk.id, 2)
    assert only(store).folder_id == 2
    store.rename_folder(1, "first")
    assert store.folders() == [Folder(id=1, name="first"), Folder(id=2, name="two \udcff")]
    store.delete_folder(2)
    assert only(store).folder_id is None
    assert store.next_folder_id() == 3, "a number is never given twice"


def test_a_folder_that_is_gone_means_none(store: ConversationStore) -> None:
    talk = new_conversation(store, "chat")
    store.set_folder(talk.id, 9)
    store.rename_folder(9, "nothing")
    store.delete_folder(9)
    store.add_conversation(Conversation(id=talk.id + 1, title="x", created_at=0, updated_at=0, folder_id=9))
    assert {c.folder_id for c in store.conversations()} == {None}


def test_trash_and_back(store: ConversationStore) -> None:
    keep, drop = new_conversation(store, "keep"), new_conversation(store, "drop")
    message = new_message(store, drop.id, None, "user", "still here")
    store.trash(drop.id, 100.0)
    assert [c.id for c in store.conversations()] == [keep.id]
    assert store.search("still") == []
    assert store.search_titles("drop") == []
    store.restore(drop.id)
    assert {c.id for c in store.conversations()} == {keep.id, drop.id}
    assert store.messages(drop.id) == {message.id: message}
    assert [hit.message_id for hit in store.search("still")] == [message.id]


def test_the_trash_is_listed_the_last_deleted_first(store: ConversationStore) -> None:
    assert store.trashed() == []
    first, second, kept = (new_conversation(store, title) for title in ("first", "second", "kept"))
    store.trash(second.id, 200.0)
    store.trash(first.id, 300.0)
    assert [(c.id, c.title, c.deleted_at) for c in store.trashed()] == [
        (first.id, "first", 300.0),
        (second.id, "second", 200.0),
    ]
    store.restore(second.id)
    store.delete(first.id)
    assert store.trashed() == []
    assert {c.id for c in store.conversations()} == {second.id, kept.id}


def test_purge_deletes_what_is_old_enough_and_what_only_it_needed(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        old, young, kept = (new_conversation(store, title) for title in ("old", "young", "kept"))
        shared, lone = attached(store, b"shared"), attached(store, b"lone")
        with_attachment(store, old.id, shared)
        with_attachment(store, old.id, lone)
        with_attachment(store, kept.id, shared)
        store.trash(old.id, 10.0)
        store.trash(young.id, 20.0)
    with closing(ConversationStore(path)) as store:
        on_its_way = attached(store, b"its message comes later")
        assert store.purge(20.0) == 1
        assert store.purge(20.0) == 0
        assert store.messages(old.id) == {}
        store.restore(young.id)
        assert {c.id for c in store.conversations()} == {young.id, kept.id}
        assert store.attachment(shared.id) == b"shared"
        assert store.attachment(lone.id) is None
        assert store.attachment(on_its_way.id) == b"its message comes later"
        assert store._connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def test_attachments(store: ConversationStore) -> None:
    talk = new_conversation(store, "chat")
    attachment = attached(store, b"\x00bytes")
    store.add_attachment(attachment.id, b"\x00bytes")
    message = with_attachment(store, talk.id, attachment)
    assert store.messages(talk.id) == {message.id: message}
    assert store.attachment(attachment.id) == b"\x00bytes"
    assert store.attachment("unknown") is None


def test_reasoning_and_tool_calls_come_back(store: ConversationStore) -> None:
    reply = streaming(store)
    call = ToolCall(id="c1", name="clock", arguments='{"zone": "\udcff')
    finished = msgspec.structs.replace(
        reply,
        content="It is noon.",
        reasoning="Let me \x00 think \udcff.",
        tool_calls=(call,),
        state=MessageState.COMPLETE,
        finish_reason=FinishReason.TOOL_CALLS,
    )
    store.finish_message(finished)
    result = Message(
        id=reply.id + 1,
        conversation_id=reply.conversation_id,
        parent_id=reply.id,
        role="tool",
        content="no clock",
        created_at=1.0,
        tool_call_id="c1 \udcff",
        tool_failed=True,
    )
    store.add_message(result)
    assert list(store.messages(reply.conversation_id).values()) == [finished, result]


def test_reasoning_streams_beside_the_text_and_survives_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        reply = streaming(store)
        for think, say in (("Hm", ""), (", yes\udcff", "The "), ("", "answer"), (" and", "")):
            store.append_reasoning(reply.id, think)
            store.append_text(reply.id, say)
        seen = store.messages(reply.conversation_id)[reply.id]
        assert (seen.reasoning, seen.content) == ("Hm, yes\udcff and", "The answer")
    with closing(ConversationStore(path)) as store:
        assert store.recover() == 1
        found = store.messages(reply.conversation_id)[reply.id]
        assert found == msgspec.structs.replace(seen, state=MessageState.INTERRUPTED)
        store.reopen_message(reply.id)
        store.append_reasoning(reply.id, "!")
        store.append_text(reply.id, "?")
    with closing(ConversationStore(path)) as store:
        assert store.recover() == 1
        found = store.messages(reply.conversation_id)[reply.id]
        assert (found.reasoning, found.content) == ("Hm, yes\udcff and!", "The answer?")
        assert store._connection.execute("SELECT * FROM streamed_text").fetchall() == []


def test_reasoning_alone_is_recovered(store: ConversationStore) -> None:
    reply = streaming(store)
    store.append_reasoning(reply.id, "only thoughts")
    assert store.messages(reply.conversation_id)[reply.id].reasoning == "only thoughts"
    store.recover()
    found = store.messages(reply.conversation_id)[reply.id]
    assert (found.reasoning, found.content, found.state) == ("only thoughts", "", MessageState.INTERRUPTED)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tool_calls", "'[{}]'"),
        ("attachments", "'{'"),
        ("reasoning", "x'ff'"),
        ("role", "'wizard'"),
        ("tool_calls", "7"),
    ],
)
def test_a_damaged_column_is_damage(store: ConversationStore, column: str, value: str) -> None:
    reply = streaming(store)
    store._connection.execute(f"UPDATE messages SET {column} = {value}")
    with pytest.raises(TurbodeskError) as caught:
        store.messages(reply.conversation_id)
    assert caught.value.failure.code is FailureCode.DATABASE_BROKEN


@pytest.mark.parametrize("value", ["'{'", "'[]'", "x'ff'", "5"])
def test_damaged_settings_are_damage(store: ConversationStore, value: str) -> None:
    new_conversation(store, "chat")
    store._connection.execute(f"UPDATE conversations SET settings = {value}")
    with pytest.raises(TurbodeskError) as caught:
        store.conversations()
    assert caught.value.failure.code is FailureCode.DATABASE_BROKEN


def test_a_branch_is_copied_as_a_whole(store: ConversationStore) -> None:
    copy = Conversation(id=1, title="copy", created_at=1.0, updated_at=5.0)
    path = [
        Message(id=i, conversation_id=1, parent_id=i - 1 or None, role="user", content=f"word{i}", created_at=2.0)
        for i in range(1, 2001)
    ]
    store.copy_branch(copy, path)
    assert only(store) == msgspec.structs.replace(copy, leaf_id=2000), "its time is its own, not the messages'"
    assert list(store.messages(1).values()) == path
    assert [hit.message_id for hit in store.search("word77", limit=100)][-1] == 77

    bad = msgspec.structs.replace(path[0], id=3001, conversation_id=2, parent_id=3000)
    with pytest.raises(TurbodeskError):
        store.copy_branch(Conversation(id=2, title="bad", created_at=0, updated_at=0), [bad])
    assert only(store).id == 1, "half a copy is no copy"
    assert store.search_titles("bad") == []


def test_a_batch_happens_as_a_whole(store: ConversationStore) -> None:
    def write() -> None:
        with store.batch():
            talk = new_conversation(store, "lost")
            new_message(store, talk.id, None, "user", "lost")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert store.conversations() == []
    assert store.next_ids() == (1, 1)
    new_conversation(store, "kept")
    assert only(store).title == "kept"


def test_a_full_disk_keeps_index_and_text_alike(store: ConversationStore) -> None:
    reply = streaming(store)
    store.append_reasoning(reply.id, "safe")
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = " ".join(f"word{i}" for i in range(5000))
    for write in (
        lambda: store.append_reasoning(reply.id, big),
        lambda: store.finish_message(msgspec.structs.replace(reply, content=big)),
        lambda: store.add_attachment("x", big.encode()),
        lambda: store.rename(reply.conversation_id, big),
    ):
        with pytest.raises(TurbodeskError) as caught:
            write()
        assert caught.value.failure.code is FailureCode.DISK_FULL
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.messages(reply.conversation_id)[reply.id].reasoning == "safe"
    assert store.search("word77") == []
    store.finish_message(msgspec.structs.replace(reply, content=big, state=MessageState.COMPLETE))
    assert len(store.search("word77")) == 1
    store.delete(reply.conversation_id)
    assert store.search("word77") == []


def test_drafts_are_kept_and_go_with_their_conversation(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        store.add_conversation(Conversation(id=1, title="one", created_at=1.0, updated_at=1.0))
        store.set_draft(None, "new \udcff")
        store.set_draft(None, "new 聊天 \udcff")
        store.set_draft(1, "old")
        store.set_draft(7, "of nothing")
    with closing(ConversationStore(path)) as store:
        assert store.drafts() == {None: "new 聊天 \udcff", 1: "old"}
        store.set_draft(None, "")
        store.trash(1, 2.0)
        assert store.drafts() == {1: "old"}
        store.delete(1)
        assert store.drafts() == {}
