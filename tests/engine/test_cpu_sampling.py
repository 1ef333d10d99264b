"""The CPU engine's sampling against Transformers' own logits processors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from lmdeploy.messages import GenerationConfig
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from desktop.engine.cpu_sampling import Sampler

VOCABULARY = 50
PROMPT = [3, 7, 7, 11]


def settings(**changes: Any) -> GenerationConfig:
    """Sampling without any filter, but for changes."""
    plain = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "random_seed": 5}
    return GenerationConfig(**{**plain, **changes})


def some_logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 2


def reference(config: GenerationConfig, logits: torch.Tensor) -> torch.Tensor:
    """The probabilities Transformers would draw from."""
    processors = LogitsProcessorList()
    if config.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.temperature != 1:
        processors.append(TemperatureLogitsWarper(config.temperature))
    if config.top_k:
        processors.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        processors.append(TopPLogitsWarper(config.top_p))
    if config.min_p:
        processors.append(MinPLogitsWarper(config.min_p))
    return processors(torch.tensor([PROMPT]), logits[None].clone())[0].softmax(0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1.7},
        {"top_k": 5},
        {"top_p": 0.8},
        {"top_p": 0.01},
        {"min_p": 0.1},
        {"min_p": 1.0},
        {"repetition_penalty": 1.5},
        {"repetition_penalty": 0.7},
        {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
    ],
    ids=str,
)
def test_draws_follow_transformers(changes: dict[str, Any]) -> None:
    config, logits, draws = settings(**changes), some_logits(), 4000
    expected = reference(config, logits)
    sampler = Sampler(config, PROMPT)
    counts: Counter[int] = Counter()
    for _ in range(draws):
        counts[sampler.draw(logits, 0)] += 1
        sampler._seen = None  # each draw is the first one after the prompt
        sampler._history = list(PROMPT)
    allowed = set(expected.nonzero().flatten().tolist())
    assert set(counts) <= allowed
    drawn = torch.tensor([counts[token] for token in range(VOCABULARY)]) / draws
    # The largest of so many binomial deviations stays below 5 standard deviations.
    assert bool(((drawn - expected).abs() <= 5 * (expected * (1 - expected) / draws).sqrt() + 1e-9).all())


def test_top_k_keeps_exactly_k_tokens() -> None:
    sampler = Sampler(settings(top_k=3, temperature=2.0), PROMPT)
    drawn = {sampler.draw(some_logits(), 0) for _ in range(500)}
    assert drawn == set(some_logits().topk(3).indices.tolist())


def test_same_seed_same_tokens_and_another_seed_other_tokens() -> None:
    def text(seed: int) -> list[int]:
        sampler = Sampler(settings(random_seed=seed), PROMPT)
        return [sampler.draw(some_logits(step), step) for step in range(40)]

    assert text(5) == text(5)
    assert text(5) != text(6)


def test_a_draw_leaves_the_logits_alone() -> None:
    logits = some_logits()
    before = logits.clone()
    Sampler(settings(repetition_penalty=1.3, bad_token_ids=[1], top_k=4), PROMPT).draw(logits, 0)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("changes", [{"top_k": 1}, {"temperature": 0.0}, {"top_k": 1, "top_p": 0.5}], ids=str)
def test_greedy_is_the_largest_logit(changes: dict[str, Any]) -> None:
    sampler = Sampler(settings(**changes), PROMPT)
    assert sampler.plain
    assert sampler.draw(some_logits(), 0) == int(some_logits().argmax())


def test_repetition_penalty_counts_what_was_drawn() -> None:
    logits = torch.zeros(VOCABULARY)
    logits[4], logits[9] = 2.0, 1.9
    sampler = Sampler(settings(top_k=1, repetition_penalty=1.2), PROMPT)
    assert [sampler.draw(logits, step) for step in range(2)] == [4, 9]
    assert not sampler.plain


def test_forbidden_tokens_are_never_drawn() -> None:
    best = int(some_logits().argmax())
    greedy = Sampler(settings(top_k=1, bad_token_ids=[best]), PROMPT)
    assert greedy.draw(some_logits(), 0) == int(some_logits().topk(2).indices[1])
    sampled = Sampler(settings(bad_token_ids=[best]), PROMPT)
    assert best not in {sampled.draw(some_logits(), 0) for _ in range(300)}


def test_no_end_before_min_new_tokens() -> None:
    best = int(some_logits().argmax())
    sampler = Sampler(settings(top_k=1, stop_token_ids=[best], min_new_tokens=2), PROMPT)
    tokens = [sampler.draw(some_logits(), step) for step in range(3)]
    assert tokens[:2] == [int(some_logits().topk(2).indices[1])] * 2
    assert tokens[2] == best


def test_logprobs_are_of_the_models_own_distribution() -> None:
    logits = some_logits()
    sampler = Sampler(settings(logprobs=3, temperature=0.3, top_k=5), PROMPT)
    worst = int(logits.argmin())
    found = sampler.logprobs(logits, worst)
    expected = logits.log_softmax(0)
    assert set(found) == {*logits.topk(3).indices.tolist(), worst}
    assert found == pytest.approx({token: float(expected[token]) for token in found})
