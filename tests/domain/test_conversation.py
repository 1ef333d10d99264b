"""Trees, prompts and titles."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.conversation import TITLE_LENGTH, Message, branch, prompt_of, title_of
from desktop.domain.generation import ChatMessage, Role


def message(id_: int, parent_id: int | None, role: Role = "user", content: str = "text") -> Message:
    return Message(id=id_, conversation_id=1, parent_id=parent_id, role=role, content=content, created_at=0.0)


def tree(*links: tuple[int, int | None]) -> dict[int, Message]:
    return {id_: message(id_, parent_id) for id_, parent_id in links}


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
    assert prompt_of(path) == (
        ChatMessage("system", ""),
        ChatMessage("user", "hi"),
        ChatMessage("user", "again"),
        ChatMessage("assistant", "Yes"),
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
    (told,) = prompt_of([message(1, None, content="a \ud800 b \U0001f600 \0")])
    assert told.content == "a � b \U0001f600 \0"
