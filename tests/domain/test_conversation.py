"""Trees, prompts and titles."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.conversation import (
    NO_RESULT,
    TITLE_LENGTH,
    Attachment,
    ChatSettings,
    Message,
    branch,
    newest_leaf,
    prompt_of,
    siblings,
    title_of,
    unanswered,
)
from desktop.domain.generation import ChatMessage, ImagePart, Role, SamplingParams, ToolCall


def message(id_: int, parent_id: int | None, role: Role = "user", content: str = "text") -> Message:
    return Message(id=id_, conversation_id=1, parent_id=parent_id, role=role, content=content, created_at=0.0)


def tree(*links: tuple[int, int | None]) -> dict[int, Message]:
    return {id_: message(id_, parent_id) for id_, parent_id in links}


def no_data(_attachment: Attachment) -> bytes:
    return b""


def ids(path: list[Message]) -> list[int]:
    return [m.id for m in path]


def test_a_branch_is_the_way_from_the_root_to_its_leaf() -> None:
    messages = tree((1, None), (2, 1), (3, 1), (4, 3), (5, None))
    assert ids(branch(messages, 4)) == [1, 3, 4]
    assert ids(branch(messages, 2)) == [1, 2]
    assert ids(branch(messages, 5)) == [5]
    assert branch(messages, None) == branch(messages, 99) == branch({}, 1) == []


def test_a_hole_or_a_loop_ends_the_walk() -> None:
    assert ids(branch(tree((2, 1), (3, 2)), 3)) == [2, 3]
    assert ids(branch(tree((1, 2), (2, 1)), 2)) == [1, 2]
    assert ids(branch(tree((1, 1)), 1)) == [1]


@given(st.dictionaries(st.integers(0, 20), st.none() | st.integers(0, 20)), st.none() | st.integers(0, 20))
def test_any_links_give_a_path_without_repetition(links: dict[int, int | None], leaf: int | None) -> None:
    path = branch(tree(*links.items()), leaf)
    assert len(set(ids(path))) == len(path)
    assert all(below.parent_id == above.id for above, below in pairwise(path))
    assert not path or path[-1].id == leaf


def test_a_prompt_leaves_out_replies_without_text() -> None:
    path = [message(1, None, "system", ""), message(2, 1, "user", "hi"), message(3, 2, "assistant", "")]
    path += [message(4, 3, "user", "again"), message(5, 4, "assistant", "Yes")]
    assert prompt_of(path, no_data) == (
        ChatMessage("system", ""),
        ChatMessage("user", "hi"),
        ChatMessage("user", "again"),
        ChatMessage("assistant", "Yes"),
    )


def test_tool_calls_are_answered_in_the_prompt_whatever_became_of_them() -> None:
    calls = tuple(ToolCall(id=name, name="calculator", arguments="{}") for name in "ab")
    asked = msgspec.structs.replace(message(2, 1, "assistant", ""), tool_calls=calls)
    result = msgspec.structs.replace(message(3, 2, "tool", "42"), tool_call_id="b")
    prompt = prompt_of([message(1, None), asked, result, message(4, 3, "user", "and?")], no_data)
    assert [(m.role, m.content, m.tool_call_id) for m in prompt] == [
        ("user", "text", ""),
        ("assistant", "", ""),
        ("tool", "42", "b"),
        ("tool", NO_RESULT, "a"),
        ("user", "and?", ""),
    ]


def test_only_a_reply_that_was_cut_while_it_thought_takes_its_reasoning_along() -> None:
    thought = msgspec.structs.replace(message(2, 1, "assistant", "42"), reasoning="six times seven")
    cut = msgspec.structs.replace(message(4, 3, "assistant", ""), reasoning="and then")
    prompt = prompt_of([message(1, None), thought, message(3, 2), cut], no_data)
    assert [m.reasoning for m in prompt] == ["", "", "", "and then"]


def test_attachments_come_before_the_text() -> None:
    data = {"p": b"picture", "t": "fünf".encode()}
    attachments = (
        Attachment(id="p", name="a.png", kind="image", media_type="image/png", size=7),
        Attachment(id="t", name="b.txt", kind="text", media_type="text/plain", size=5),
    )
    asked = msgspec.structs.replace(message(1, None, "user", "What is it?"), attachments=attachments)
    (sent,) = prompt_of([asked], lambda attachment: data[attachment.id])
    assert sent.images == (ImagePart(b"picture", "image/png"),)
    assert sent.content == "File b.txt:\n\nfünf\n\nWhat is it?"


def test_siblings_and_the_newest_way_on() -> None:
    messages = tree((1, None), (2, 1), (3, 1), (4, 3), (5, 3), (6, 5), (7, None))
    assert siblings(messages, 2) == siblings(messages, 3) == [2, 3]
    assert siblings(messages, 7) == [1, 7]
    assert newest_leaf(messages, 1) == newest_leaf(messages, 3) == 6
    assert newest_leaf(messages, 2) == 2
    assert newest_leaf(tree((1, 2), (2, 1)), 1) in (1, 2)


def test_what_a_tool_call_still_waits_for() -> None:
    calls = tuple(ToolCall(id=name, name="clock", arguments="{}") for name in "abc")
    messages = tree((1, None), (2, 1), (3, 2), (4, 3))
    messages[2] = msgspec.structs.replace(messages[2], role="assistant", tool_calls=calls)
    for id_, call in ((3, "b"), (4, "a")):
        messages[id_] = msgspec.structs.replace(messages[id_], role="tool", tool_call_id=call)
    assert unanswered(messages, 2) == ([calls[2]], 4)
    assert unanswered(messages, 1) == ([], 1)


def test_the_checkpoint_recommends_the_sampling_unless_the_user_chose() -> None:
    mine = SamplingParams(temperature=1.0, seed=3, stop=("x",), max_new_tokens=9)
    recommended = SamplingParams(temperature=0.0, top_k=1)
    assert ChatSettings(params=mine).sampling(None) == mine
    assert ChatSettings(params=mine, as_recommended=False).sampling(recommended) == mine
    assert ChatSettings(params=mine).sampling(recommended) == SamplingParams(
        temperature=0.0, top_k=1, seed=3, stop=("x",), max_new_tokens=9
    )


def test_a_title_is_the_first_text_that_is_one() -> None:
    assert title_of([]) == title_of(["", " \n\t"]) == "New chat"
    assert title_of(["", "  What is \n a KV cache? "]) == "What is a KV cache?"


def test_a_long_title_is_cut_at_a_word() -> None:
    assert title_of(["word " * 30]) == "word " * 10 + "word…"
    assert title_of(["x" * 100]) == "x" * (TITLE_LENGTH - 1) + "…"
    assert title_of(["什" * 100]) == "什" * (TITLE_LENGTH - 1) + "…"


@given(st.lists(st.text()))
def test_any_title_is_one_short_line(texts: list[str]) -> None:
    title = title_of(texts)
    assert 0 < len(title) <= TITLE_LENGTH
    assert title == " ".join(title.split())


def test_what_no_tokenizer_takes_is_replaced_in_the_prompt() -> None:
    (told,) = prompt_of([message(1, None, content="a \ud800 b \U0001f600 \0")], no_data)
    assert told.content == "a � b \U0001f600 \0"
