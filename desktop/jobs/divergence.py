"""How far one model's probabilities of the next token are from another's: a position at a time, and all together.

Needs torch: only for a job's own process.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from desktop.domain.evaluation import Interval

RESAMPLES = 2000
BLOCK = 32  # tokens that are drawn together, because neighbours are alike
_SEED = 0
_CHUNK = 64  # positions whose probabilities are computed at once: a vocabulary has up to 260,000 entries


class Judged(NamedTuple):
    """Of each position: nll, the negative log of what the token that follows was given; kl, the divergence of the
    other's probabilities from the original's, both in nats; expected and chosen, the likeliest tokens of both."""

    nll: torch.Tensor
    kl: torch.Tensor
    expected: torch.Tensor
    chosen: torch.Tensor


def log_probabilities(logits: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """[positions, vocabulary] float32 of logits that may be padded beyond the vocabulary."""
    return logits[:, :vocabulary].float().log_softmax(-1)


def nll(log_p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[positions] of log-probabilities [positions, vocabulary] and the tokens that follow, [positions]."""
    return -log_p.gather(1, targets[:, None])[:, 0].double()


def judge(original: torch.Tensor, other: torch.Tensor, targets: torch.Tensor) -> Judged:
    """Compare log-probabilities, [positions, vocabulary] each. nll is the other's."""
    kl = torch.empty(len(targets), dtype=torch.float64)
    for first in range(0, len(targets), _CHUNK):
        log_p, log_q = (side[first : first + _CHUNK].double() for side in (original, other))
        # Where the original gives nothing, nothing is lost: 0 x log 0 is 0.
        terms = torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q))
        kl[first : first + _CHUNK] = terms.sum(-1)
    return Judged(nll(other, targets), kl.clamp_min(0.0), original.argmax(-1), other.argmax(-1))


def mean(values: torch.Tensor) -> Interval:
    """The mean of [positions], with its bootstrap interval."""
    values = values.double()
    sums, counts = _blocks(values)
    drawn = _draws(len(sums))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return _interval(float(values.mean()), means)


def quantile(values: torch.Tensor, share: float) -> Interval:
    """The value that `share` of [positions] stay below, with its bootstrap interval."""
    values = values.double()
    blocks = [values[first : first + BLOCK] for first in range(0, len(values), BLOCK)]
    found = torch.stack(
        [
            torch.quantile(torch.cat([blocks[number] for number in row]), share)
            for row in _draws(len(blocks), 400).tolist()
        ]
    )
    return _interval(float(torch.quantile(values, share)), found)


def perplexity(values: torch.Tensor) -> Interval:
    """exp of the mean of negative log-likelihoods in nats."""
    found = mean(values)
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high))


def _blocks(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    parts = values.split(BLOCK)
    return torch.stack([part.sum() for part in parts]), torch.tensor([len(part) for part in parts], dtype=torch.float64)


def _draws(count: int, resamples: int = RESAMPLES) -> torch.Tensor:
    """[resamples, count] numbers of blocks, drawn with replacement; the same each time."""
    return torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(_SEED))


def _interval(value: float, drawn: torch.Tensor) -> Interval:
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return Interval(value, min(low, value), max(high, value))
