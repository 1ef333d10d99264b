"""Which turns of a conversation are left out when the context is full."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.context_window import PromptSize, fitted, reply_room, turn_starts, without_oldest
from desktop.domain.generation import ChatMessage, GenerationRequest, Role, SamplingParams, ToolCall

CALL = ToolCall(id="c", name="calculator", arguments="{}")


def request(*messages: ChatMessage, most: int | None = 10, leaves_out: bool = True) -> GenerationRequest:
    return GenerationRequest(
        request_id="r", messages=messages, params=SamplingParams(max_new_tokens=most), leaves_out=leaves_out
    )


def words(asked: GenerationRequest) -> int:
    """A word is a token, and a message has one more."""
    return sum(1 + len(message.content.split()) for message in asked.messages)


def said(role: Role, count: int) -> ChatMessage:
    return ChatMessage(role, "word " * count)


def test_a_turn_is_what_the_user_says_and_all_that_follows() -> None:
    assert turn_starts(["system", "user", "assistant", "tool", "tool", "assistant", "user", "user"]) == [1, 6, 7]
    assert turn_starts(["assistant", "user", "assistant", "user"]) == [0, 3]
    assert turn_starts(["assistant", "assistant"]) == [0]
    assert turn_starts(["system"]) == turn_starts([]) == []


def test_what_fits_is_counted_once_and_stays() -> None:
    asked = request(said("system", 3), said("user", 10), said("assistant", 10), said("user", 10))
    counts: list[int] = []

    def count(given: GenerationRequest) -> int:
        counts.append(words(given))
        return counts[-1]

    assert fitted(asked, 47, count) == (asked, PromptSize(37))
    assert counts == [37]


def test_a_tool_exchange_goes_as_a_whole() -> None:
    exchange = (
        said("user", 1),
        ChatMessage("assistant", "", tool_calls=(CALL,)),
        ChatMessage("tool", "word " * 500, tool_call_id="c"),
        said("assistant", 1),
    )
    newest = (
        said("user", 2),
        ChatMessage("assistant", "", tool_calls=(CALL,)),
        ChatMessage("tool", "2", tool_call_id="c"),
    )
    system = said("system", 3)
    short, size = fitted(request(system, *exchange, *newest), 100, words)
    assert short.messages == (system, *newest)
    assert size == PromptSize(words(short), 1)


def test_the_newest_turn_stays_although_it_does_not_fit() -> None:
    huge = ChatMessage("tool", "word " * 500, tool_call_id="c")
    asked = request(said("user", 1), said("assistant", 1), said("user", 1), ChatMessage("assistant", "x"), huge)
    short, size = fitted(asked, 100, words)
    assert short.messages == asked.messages[2:]
    assert size == PromptSize(505, 1)


@pytest.mark.parametrize("context", [0, -1])
def test_nothing_is_left_out_of_a_context_nobody_knows(context: int) -> None:
    asked = request(*[said("user", 100)] * 5)
    assert fitted(asked, context, words) == (asked, PromptSize(505))


def test_nothing_is_left_out_where_that_is_not_wanted() -> None:
    asked = request(*[said("user", 100)] * 5, leaves_out=False)
    assert fitted(asked, 100, words) == (asked, PromptSize(505))


def test_the_room_for_the_reply_is_its_limit_or_a_quarter() -> None:
    assert reply_room(2048, 100) == 100
    assert reply_room(2048, 5000) == reply_room(2048, None) == 512
    assert reply_room(2, None) == 1


SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=60)


@given(SIZES, st.integers(4, 400), st.none() | st.integers(1, 200))
def test_about_as_many_of_the_newest_turns_as_fit_are_kept(sizes: list[int], context: int, most: int | None) -> None:
    system = said("system", 2)
    turns = [(said("user", size), said("assistant", size // 2)) for size in sizes]
    asked = request(system, *[message for turn in turns for message in turn], most=most)
    room = context - reply_room(context, most)
    counts = 0

    def count(given: GenerationRequest) -> int:
        nonlocal counts
        counts += 1
        return words(given)

    short, size = fitted(asked, context, count)
    kept = len(turns) - size.turns_left_out
    assert short == without_oldest(asked, size.turns_left_out)
    assert short.messages == (system, *[message for turn in turns[-kept:] for message in turn])
    assert size.tokens == words(short)
    assert size.tokens <= room or kept == 1
    fits = max((n for n in range(1, len(turns) + 1) if words(without_oldest(asked, len(turns) - n)) <= room), default=1)
    assert max(fits - fits // 4, 1) <= kept <= fits
    assert kept == fits or fits < len(turns)
    assert counts <= 2 * math.ceil(math.log2(fits + 1)) + 4


def test_what_was_left_out_long_ago_is_not_counted() -> None:
    asked = request(*[said("user", 50)] * 10_000)
    longest = 0

    def count(given: GenerationRequest) -> int:
        nonlocal longest
        longest = max(longest, len(given.messages))
        return words(given)

    short, _ = fitted(asked, 1000, count)
    assert len(short.messages) == 16  # 19 would fit
    assert longest <= 2 * 19 + 2


def test_the_beginning_stays_the_same_for_some_turns() -> None:
    """So that the engine need not read all of a full context again with every message."""
    left_out = [fitted(request(*[said("user", 50)] * turns), 2000, words)[1].turns_left_out for turns in range(60, 160)]
    assert left_out == sorted(left_out)
    assert len(set(left_out)) == 100 // 8 + 1
