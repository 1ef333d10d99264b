"""ChatGPT's own export comes in with its branches; odd nodes are named or left out, broken ones refused."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from desktop.domain.conversation import ChatSettings, Message, branch
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import ToolCall
from desktop.storage.conversations import ConversationStore
from desktop.storage.transfer import Counts, import_file, inspect_import
from desktop.storage.transfer_reading import read_lines

Node = dict[str, Any]
IMAGE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1", "width": 4}
SPOKEN = {"content_type": "audio_transcription", "text": "Hello", "direction": "in"}
AUDIO = {"content_type": "real_time_user_audio_video_asset_pointer", "frames_asset_pointers": []}


def node(
    name: str, parent: str | None, role: str = "", content: Any = "", *children: str, **more: Any
) -> tuple[str, Node]:
    """A node as it is in conversations.json. content: the text, or the whole content."""
    message = None
    if role:
        if isinstance(content, str):
            content = {"content_type": "text", "parts": [content]}
        message = {
            "id": name,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": 1_700_000_000.5,
            "update_time": None,
            "content": content,
            "status": "finished_successfully",
            "end_turn": None,
            "weight": 1.0,
            "metadata": {},
            "recipient": "all",
            **more,
        }
    return name, {"id": name, "message": message, "parent": parent, "children": list(children)}


def conversation(*nodes: tuple[str, Node], **more: Any) -> dict[str, Any]:
    return {
        "title": "Tea in Bern",
        "create_time": 1_700_000_000.0,
        "update_time": 1_700_000_100.25,
        "mapping": dict(nodes),
        "moderation_results": [],
        "current_node": nodes[-1][0],
        "conversation_id": "c-1",
        **more,
    }


def imported(store: ConversationStore, path: Path, *conversations: Any) -> list[Message]:
    """The messages of the first conversation, in order."""
    path.write_text(json.dumps(list(conversations)))
    import_file(store, path)
    first = min(store.conversations(), key=lambda talk: talk.id)
    return list(store.messages(first.id).values())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.json"


def test_a_conversation_comes_with_its_branches(store: ConversationStore, path: Path) -> None:
    talk = conversation(
        node("root", None, "", "", "sys"),
        node("sys", "root", "system", "", "q"),
        node("q", "sys", "user", "Where is tea sold?", "a2", "a1"),
        node("a1", "q", "assistant", "Everywhere.", metadata={"model_slug": "gpt-4o"}),
        node("a2", "q", "assistant", "In shops.", "q2", create_time=None),
        node("q2", "a2", "user", "Which?", "end"),
        node("end", "q2", "assistant", "All of them.", create_time=1_700_000_090.0),
        current_node="a1",
    )
    path.write_text(json.dumps([talk]))
    assert inspect_import(path) == import_file(store, path) == Counts(0, 1, 5)
    (found,) = store.conversations()
    assert (found.title, found.title_chosen) == ("Tea in Bern", True)
    assert (found.created_at, found.updated_at) == (1_700_000_000.0, 1_700_000_100.25)
    assert found.settings is None
    messages = store.messages(found.id)
    assert [m.content for m in branch(messages, found.leaf_id)] == ["Where is tea sold?", "Everywhere."]
    question, first, second, *_ = messages.values()
    assert [m.content for m in (first, *list(messages.values())[2:])] == [
        "In shops.",
        "Which?",
        "All of them.",
        "Everywhere.",
    ]
    assert first.parent_id == question.id
    assert (question.created_at, first.created_at) == (1_700_000_000.5, 1_700_000_000.0)
    assert second.parent_id == first.id
    assert {m.model for m in messages.values()} == {"", "gpt-4o"}


def test_tools_thoughts_and_instructions(store: ConversationStore, path: Path) -> None:
    thoughts = {
        "content_type": "thoughts",
        "thoughts": [{"summary": "S", "content": "Count first."}],
        "source_analysis": "",
    }
    instructions = {
        "content_type": "user_editable_context",
        "user_profile": "I sell tea.",
        "user_instructions": "Be brief.",
    }
    code = {"content_type": "code", "language": "python", "text": "2 + 2"}
    messages = imported(
        store,
        path,
        conversation(
            node("r", None),
            node("s", "r", "system", "Be kind."),
            node("i", "s", "user", instructions, metadata={"is_visually_hidden_from_conversation": True}),
            node("q", "i", "user", "How many?"),
            node("t", "q", "assistant", thoughts),
            node("p", "t", "assistant", {"content_type": "reasoning_recap", "content": "Thought for 3 s"}),
            node("c", "p", "assistant", code, recipient="python"),
            node("x", "c", "tool", {"content_type": "execution_output", "text": "4"}),
            node("h", "x", "assistant", "internal", metadata={"is_visually_hidden_from_conversation": True}),
            node("a", "h", "assistant", "Four."),
        ),
    )
    assert store.conversations()[0].settings == ChatSettings(system_prompt="Be kind.\n\nI sell tea.\nBe brief.")
    assert [(m.role, m.content, m.reasoning) for m in messages] == [
        ("user", "How many?", ""),
        ("assistant", "", "Count first."),
        ("tool", "4", ""),
        ("assistant", "Four.", ""),
    ]
    assert messages[1].tool_calls == (ToolCall(id="c", name="python", arguments="2 + 2"),)
    assert messages[2].tool_call_id == "c"
    assert [m.parent_id for m in messages] == [None, *(m.id for m in messages[:-1])]


def test_a_reply_that_was_cut_while_it_thought_keeps_its_thoughts(store: ConversationStore, path: Path) -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"content": "Hm."}, {"content": "So."}, 7]}
    messages = imported(
        store, path, conversation(node("q", None, "user", "Why?"), node("t", "q", "assistant", thoughts))
    )
    assert [(m.content, m.reasoning) for m in messages] == [("Why?", ""), ("", "Hm.\nSo.")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"content_type": "multimodal_text", "parts": [IMAGE, "What is it?"]}, "[image]\nWhat is it?"),
        ({"content_type": "multimodal_text", "parts": [SPOKEN, AUDIO]}, "Hello\n[audio]"),
        ({"content_type": "tether_browsing_display", "result": "a page", "summary": ""}, "a page"),
        ({"content_type": "tether_quote", "url": "https://example.org", "text": "a quote"}, "a quote"),
        ({"content_type": "something_new", "shape": [1]}, "[something new]"),
        ({"content_type": "text", "parts": ["a \ud83d\x00 b", None, 7, ""]}, "a \ud83d\x00 b\n[content]"),
    ],
)
def test_what_is_not_text_is_named(store: ConversationStore, path: Path, content: Any, text: str) -> None:
    (message,) = imported(store, path, conversation(node("q", None, "user", content)))
    assert message.content == text


def test_files_are_named(store: ConversationStore, path: Path) -> None:
    files = [
        {"name": "tea \n list.pdf", "mime_type": "application/pdf"},
        {"name": "x.png", "mime_type": "image/png"},
        7,
    ]
    (message,) = imported(store, path, conversation(node("q", None, "user", "Read", metadata={"attachments": files})))
    assert message.content == "Read\n[file: tea list.pdf]"


def test_odd_conversations(store: ConversationStore, path: Path) -> None:
    odd = [
        conversation(node("a", "gone", "user", "an orphan"), title=None, create_time=None, update_time="x"),
        conversation(node("r", None), node("e", "r", "assistant", "")),
        conversation(node("a", None, "user", "first root"), node("b", None, "user", "second"), current_node="nowhere"),
        conversation(node("a", None, "user", "far", create_time=1e300), create_time=-5, update_time=True),
        {"mapping": {}},
        {"messages": [{"role": "user", "content": "OpenAI's style"}]},
    ]
    path.write_text(json.dumps(odd, indent=1))
    assert import_file(store, path) == Counts(0, 6, 5)
    titles = [talk.title for talk in sorted(store.conversations(), key=lambda talk: talk.id)]
    assert titles == ["an orphan", "Tea in Bern", "Tea in Bern", "Tea in Bern", "New chat", "OpenAI's style"]
    for talk in store.conversations():
        messages = store.messages(talk.id)
        assert (talk.leaf_id is None) == (not messages)
        assert all(0 <= m.created_at < 253402300800 for m in messages.values())


def test_a_thread_of_ten_thousand_messages(store: ConversationStore, path: Path) -> None:
    nodes = [
        node(str(n), str(n - 1) if n else None, "user" if n % 2 == 0 else "assistant", f"m{n}") for n in range(10_000)
    ]
    random.Random(5).shuffle(nodes)
    messages = imported(store, path, conversation(*nodes, current_node="9999"))
    assert [m.content for m in messages] == [f"m{n}" for n in range(10_000)]
    assert store.conversations()[0].leaf_id == messages[-1].id


def test_one_conversation_a_line(store: ConversationStore, path: Path) -> None:
    talk = json.dumps(conversation(node("q", None, "user", "Hi")))
    path.write_text(f"{talk}\n{talk}\n")
    assert import_file(store, path) == Counts(0, 2, 2)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"mapping": []}, "its mapping holds no messages"),
        ({"mapping": {"a": 7}}, "its mapping holds no messages"),
        ({"mapping": {"a": {"message": 7}}}, "message 'a': it is not an object"),
        (conversation(node("a", None, "wizard", "x")), "message 'a': its role is 'wizard', which is unknown"),
        (conversation(node("a", None, "user", "x", author=None)), "message 'a': its role is 'None'"),
        (conversation(node("r", None), node("a", "b", "user", "x"), node("b", "a", "user", "x")), "in a circle"),
        (conversation(node("a", "a", "user", "x")), "in a circle"),
    ],
)
def test_what_makes_no_sense_is_refused(store: ConversationStore, path: Path, broken: Any, reason: str) -> None:
    path.write_text(json.dumps([conversation(node("q", None, "user", "whole")), broken]))
    with pytest.raises(TurbodeskError) as caught:
        import_file(store, path)
    assert caught.value.failure.code is FailureCode.IMPORT_BROKEN
    assert reason in caught.value.failure.message
    assert store.conversations() == [], "nothing was changed"


def test_whatever_is_damaged_is_taken_or_refused(path: Path) -> None:
    """Parts of a whole conversation are replaced by anything; no other error than a refusal comes of it."""
    dice = random.Random(11)
    anything = [None, True, 7, -1.5, "", "text", [], [None], {}, {"a": 1}, [["x"]]]
    whole = conversation(
        node("r", None, "", "", "s"),
        node("s", "r", "system", "Be kind.", "q"),
        node("q", "s", "user", "Hi", "t", metadata={"attachments": [{"name": "a", "mime_type": "b"}]}),
        node("t", "q", "assistant", {"content_type": "thoughts", "thoughts": [{"content": "Hm."}]}, "c"),
        node("c", "t", "assistant", {"content_type": "code", "text": "1"}, "x", recipient="python"),
        node("x", "c", "tool", {"content_type": "multimodal_text", "parts": [{"content_type": "image"}]}),
    )
    refused = []
    for _ in range(1_000):
        damaged = json.loads(json.dumps(whole))
        for _ in range(dice.randint(1, 3)):
            place = damaged
            while True:
                key = dice.choice(list(place)) if isinstance(place, dict) else dice.randrange(len(place))
                if not isinstance(place[key], dict | list) or not place[key] or dice.random() < 0.2:
                    place[key] = copy.deepcopy(dice.choice(anything))
                    break
                place = place[key]
        path.write_text(json.dumps([damaged]))
        try:
            assert list(read_lines(path))
        except TurbodeskError as problem:
            refused.append(problem.failure.code)
    assert set(refused) == {FailureCode.IMPORT_BROKEN}
    assert len(refused) < 1_000
