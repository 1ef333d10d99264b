"""Sampling settings are checked; speeds are measured, not made up."""

from __future__ import annotations

from typing import Any

import pytest

from desktop.domain.generation import GenerationStats, SamplingParams


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_new_tokens": 1},
        {"temperature": 0.0},
        {"temperature": 2.0, "top_p": 1.0, "top_k": 0, "min_p": 1.0, "repetition_penalty": 2.0},
        {"top_k": 1024, "seed": 0},
        {"seed": 2**63 - 1, "stop": ("\n", "停")},
    ],
)
def test_what_is_in_range(fields: dict[str, Any]) -> None:
    assert SamplingParams(**fields).problems() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_new_tokens": 0}, "max new tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top-p"),
        ({"top_p": 1.1}, "top-p"),
        ({"top_k": -1}, "top-k"),
        ({"top_k": 1025}, "top-k"),
        ({"min_p": -0.1}, "min-p"),
        ({"min_p": 1.1}, "min-p"),
        ({"repetition_penalty": 0.0}, "repetition penalty"),
        ({"repetition_penalty": 2.1}, "repetition penalty"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ("a", "")}, "stop word"),
    ],
)
def test_what_is_out_of_range_is_named(fields: dict[str, Any], words: str) -> None:
    (problem,) = SamplingParams(**fields).problems()
    assert words in problem


def test_every_problem_is_named() -> None:
    assert len(SamplingParams(temperature=9, top_p=9, top_k=-9, min_p=9).problems()) == 4


def test_speed_counts_from_the_first_token() -> None:
    stats = GenerationStats(prompt_tokens=9, completion_tokens=21, time_to_first_token=1.0, duration=3.0)
    assert stats.tokens_per_second == 10.0


@pytest.mark.parametrize(("tokens", "first", "duration"), [(0, 0.0, 0.0), (1, 0.5, 1.0), (5, 1.0, 1.0), (5, 2.0, 1.0)])
def test_a_speed_that_cannot_be_measured_is_0(tokens: int, first: float, duration: float) -> None:
    stats = GenerationStats(prompt_tokens=1, completion_tokens=tokens, time_to_first_token=first, duration=duration)
    assert stats.tokens_per_second == 0.0


def test_a_reply_written_in_two_pieces_is_counted_as_a_whole() -> None:
    first = GenerationStats(
        prompt_tokens=9,
        completion_tokens=11,
        cached_tokens=1,
        time_to_first_token=1.0,
        duration=3.0,
        reasoning_seconds=0.5,
    )
    second = GenerationStats(
        prompt_tokens=20,
        completion_tokens=10,
        cached_tokens=16,
        time_to_first_token=0.25,
        duration=2.0,
        reasoning_seconds=0.25,
    )
    whole = first.then(second)
    assert whole == GenerationStats(
        prompt_tokens=20,
        completion_tokens=21,
        cached_tokens=16,
        time_to_first_token=1.0,
        duration=5.0,
        reasoning_seconds=0.75,
    )
    assert whole.tokens_per_second == 5.0


def test_a_piece_without_a_token_does_not_count() -> None:
    nothing = GenerationStats(prompt_tokens=9, completion_tokens=0, duration=3.0)
    something = GenerationStats(prompt_tokens=9, completion_tokens=4, time_to_first_token=0.5, duration=1.0)
    assert nothing.then(something) == something
