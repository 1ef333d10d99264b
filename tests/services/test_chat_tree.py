"""A conversation is a tree: edits, other replies, forks; the trash, folders and settings of conversations."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from desktop.domain.conversation import Attachment, ChatSettings, MessageState
from desktop.domain.generation import SamplingParams
from tests.services.conftest import Desk, words


def texts(desk: Desk, conversation: int) -> list[str]:
    return [message.content for message in desk.chats.messages(conversation)]


def exchange(desk: Desk, conversation: int | None, text: str) -> int:
    """Send a message and wait for the reply."""
    ended = len(desk.ends)
    conversation = desk.chats.send(conversation, text)
    assert conversation is not None
    desk.until(lambda: len(desk.ends) > ended)
    return conversation


def test_an_edit_makes_a_branch_and_throws_nothing_away(desk: Desk) -> None:
    desk.load(tokens=2)
    conversation = exchange(desk, None, "one")
    exchange(desk, conversation, "two")
    first = desk.chats.messages(conversation)[0]
    before = desk.library.tree(conversation).copy()
    desk.chats.edit(conversation, first.id, "uno")
    desk.until(lambda: len(desk.ends) == 3)
    assert texts(desk, conversation) == ["uno", words(2)]
    edited = desk.chats.messages(conversation)[0]
    assert desk.library.place(conversation, edited.id) == (2, 2)
    assert before.items() <= desk.library.tree(conversation).items()
    desk.library.select(conversation, first.id)
    assert texts(desk, conversation) == ["one", words(2), "two", words(2)]
    saved = {message.id: message for message in desk.saved(conversation)}
    assert saved == desk.library.tree(conversation)
    assert desk.store.conversations()[0].leaf_id == desk.chats.messages(conversation)[-1].id


def test_another_reply_stands_beside_the_first(desk: Desk) -> None:
    desk.load(tokens=3)
    conversation = exchange(desk, None, "one")
    reply = desk.chats.messages(conversation)[-1]
    changed: list[int] = []
    desk.library.branch_changed.connect(changed.append)
    desk.chats.regenerate(conversation, reply.id)
    assert changed == [conversation]
    desk.until(lambda: len(desk.ends) == 2)
    again = desk.chats.messages(conversation)[-1]
    assert again.id != reply.id
    assert again.parent_id == reply.parent_id
    assert desk.library.place(conversation, again.id) == (2, 2)
    assert desk.library.tree(conversation)[reply.id] == reply


def test_the_reply_is_edited_without_asking_the_model(desk: Desk) -> None:
    desk.load(tokens=3)
    conversation = exchange(desk, None, "one")
    reply = desk.chats.messages(conversation)[-1]
    desk.chats.edit(conversation, reply.id, "better")
    assert texts(desk, conversation) == ["one", "better"]
    assert desk.chats.generating_count == 0
    assert desk.saved(conversation)[-1].content == "better"


def test_a_fork_is_a_conversation_of_its_own(desk: Desk) -> None:
    desk.load(tokens=2)
    conversation = exchange(desk, None, "one")
    exchange(desk, conversation, "two")
    reply = desk.chats.messages(conversation)[1]
    desk.library.set_settings(conversation, ChatSettings(system_prompt="Be brief."))
    fork = desk.chats.fork(conversation, reply.id)
    assert fork != conversation
    assert texts(desk, fork) == ["one", words(2)]
    assert desk.library.conversation(fork).settings == ChatSettings(system_prompt="Be brief.")
    exchange(desk, fork, "three")
    assert texts(desk, conversation) == ["one", words(2), "two", words(2)]
    assert [message.content for message in desk.saved(fork)] == ["one", words(2), "three", words(2)]


def test_forks_have_titles_that_tell_them_apart(desk: Desk) -> None:
    desk.load(tokens=2)
    conversation = exchange(desk, None, "Tea")
    reply = desk.chats.messages(conversation)[1]
    title = lambda number: desk.library.conversation(number).title  # noqa: E731
    second = desk.chats.fork(conversation, reply.id)
    third = desk.chats.fork(conversation, reply.id)
    fourth = desk.chats.fork(second, desk.chats.messages(second)[1].id)
    assert [title(number) for number in (conversation, second, third, fourth)] == [
        "Tea",
        "Tea (2)",
        "Tea (3)",
        "Tea (4)",
    ]
    desk.chats.trash(third)
    assert title(desk.chats.fork(conversation, reply.id)) == "Tea (5)", "what is in the trash may come back"
    assert desk.library.conversation(second).title_chosen, "no proposal makes them the same again"
    desk.library.rename(conversation, "Report (2024)")
    assert title(desk.chats.fork(conversation, reply.id)) == "Report (2024) (2)"
    desk.until(lambda: desk.saved(second) != [])
    assert {c.title for c in desk.store.conversations()} >= {"Tea (2)", "Report (2024) (2)"}


def test_regenerating_while_it_writes_stops_the_first_reply_and_keeps_it(desk: Desk) -> None:
    desk.load(tokens=100_000, tokens_per_second=500)
    conversation = desk.chats.send(None, "go")
    assert conversation is not None
    desk.until(lambda: bool(desk.shown))
    first = desk.chats.messages(conversation)[-1]
    desk.chats.regenerate(conversation, first.id)
    desk.until(lambda: len(desk.shown) == 2)
    desk.until(lambda: desk.library.tree(conversation)[first.id].state is MessageState.STOPPED)
    assert desk.library.tree(conversation)[first.id].content == desk.shown[first.id]
    assert desk.chats.messages(conversation)[-1].id != first.id


def test_the_trash_gives_everything_back(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    desk.load(tokens=2)
    conversation = exchange(desk, None, "one")
    before = desk.chats.messages(conversation)
    desk.chats.trash(conversation)
    assert desk.library.conversations() == []
    desk.library.restore(conversation)
    assert desk.chats.messages(conversation) == before
    exchange(desk, conversation, "two")
    assert len(desk.saved(conversation)) == 4


def test_the_trash_is_there_after_a_restart(make_desk: Callable[..., Desk]) -> None:
    first = make_desk()
    first.load(tokens=2)
    kept, gone, folder = exchange(first, None, "kept"), exchange(first, None, "gone"), first.library.add_folder("F")
    first.library.set_folder(kept, folder)
    for conversation in (kept, gone):
        first.chats.trash(conversation)
    first.saved(kept)

    second = make_desk()
    assert [c.title for c in second.library.trashed()] == ["gone", "kept"]
    assert all(c.deleted_at for c in second.library.trashed())
    second.library.delete_folder(folder)
    second.library.restore(kept)
    assert second.library.conversation(kept).folder_id is None
    assert second.library.conversation(kept).deleted_at is None
    assert texts(second, kept) == ["kept", words(2)]
    second.library.delete_for_good(gone)
    assert second.library.trashed() == []
    second.library.restore(gone)
    assert not second.library.has(gone), "it is gone for good"
    assert second.saved(gone) == []


def test_nothing_but_the_trash_is_deleted_for_good(desk: Desk) -> None:
    desk.load(tokens=2)
    conversation = exchange(desk, None, "one")
    desk.library.delete_for_good(conversation)
    assert texts(desk, conversation) == ["one", words(2)]
    assert len(desk.saved(conversation)) == 2


def test_pins_folders_and_settings_are_there_again(make_desk: Callable[..., Desk]) -> None:
    first = make_desk()
    conversation = first.library.add_conversation("one")
    other = first.library.add_conversation("two")
    folder = first.library.add_folder(" Work  things ")
    gone = first.library.add_folder("gone")
    settings = ChatSettings(preset="mine", as_recommended=False, params=SamplingParams(temperature=0.1))
    first.library.set_pinned(conversation, True)
    first.library.set_folder(conversation, folder)
    first.library.set_folder(other, gone)
    first.library.set_settings(conversation, settings)
    first.library.rename_folder(folder, "Work")
    first.library.delete_folder(gone)
    first.close()
    second = make_desk()
    found = second.library.conversation(conversation)
    assert (found.pinned, found.folder_id, found.settings) == (True, folder, settings)
    assert second.library.conversation(other).folder_id is None
    assert [(f.id, f.name) for f in second.library.folders()] == [(folder, "Work")]
    assert second.library.add_folder("new") not in (folder, gone)
    first.close = lambda: None  # type: ignore[method-assign]


def test_attachments_go_to_the_model_and_to_the_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    generate = desk.host.generate
    monkeypatch.setattr(desk.host, "generate", lambda request: (sent.append(request), generate(request)))
    desk.load(tokens=1)
    picture, text = b"\x89PNG picture", "Inhalt ä".encode()
    attachments = tuple(
        Attachment(id=desk.library.add_data(data), name=name, kind=kind, media_type=media, size=len(data))
        for data, name, kind, media in (
            (picture, "a.png", "image", "image/png"),
            (text, "b.txt", "text", "text/plain"),
        )
    )
    conversation = desk.chats.send(None, "look", attachments)
    assert conversation is not None
    desk.until(lambda: bool(desk.ends))
    (message,) = sent[0].messages
    assert [(image.data, image.media_type) for image in message.images] == [(picture, "image/png")]
    assert "b.txt" in message.content
    assert "Inhalt ä" in message.content
    assert message.content.endswith("look")
    desk.saved(conversation)
    assert desk.store.attachment(attachments[0].id) == picture
    assert desk.library.data(attachments[1]) == text


def test_nothing_reaches_a_wrong_message_while_twenty_conversations_stream(desk: Desk) -> None:
    """Edits, other replies, deletions and switches at random; every reply holds exactly what its request was given."""
    desk.load(tokens=400, tokens_per_second=400)
    rng = random.Random(5)
    open_ones = [desk.chats.send(None, f"chat {i}") for i in range(20)]
    for _ in range(120):
        conversation = rng.choice(open_ones)
        path = desk.chats.messages(conversation)
        action = rng.randrange(6)
        if action == 0:
            desk.chats.edit(conversation, path[0].id, f"edited {rng.random()}")
        elif action == 1:
            desk.chats.regenerate(conversation, path[-1].id)
        elif action == 2 and len(open_ones) > 12:
            open_ones.remove(conversation)
            desk.chats.trash(conversation)
        elif action == 3:
            desk.library.select(conversation, rng.choice(list(desk.library.tree(conversation))))
        elif action == 4:
            open_ones.append(desk.chats.fork(conversation, path[-1].id))
        else:
            desk.chats.stop(conversation)
        desk.qtbot.wait(5)
    desk.until(lambda: desk.chats.generating_count == 0)
    whole = words(400)
    seen = 0
    for conversation in open_ones:
        tree = desk.library.tree(conversation)
        assert {message.id: message for message in desk.saved(conversation)} == tree
        for message in tree.values():
            assert message.conversation_id == conversation
            if message.role == "assistant":
                seen += 1
                assert whole.startswith(message.content)
                assert message.state is not MessageState.STREAMING
                assert message.state is not MessageState.COMPLETE or message.content == whole
    assert seen > 20
