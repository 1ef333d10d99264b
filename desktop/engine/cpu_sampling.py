"""Draws the next token of one request from its logits."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from lmdeploy.messages import GenerationConfig

from desktop.engine.cpu_guidance import Guide


class Sampler:
    """The sampling settings of one request and its own random numbers.

    The order of the filters is TurboMind's and Transformers': repetition penalty, forbidden tokens, those that the
    guide's grammar forbids, temperature, top-k, top-p, min-p. A draw takes one number from a generator seeded for
    this request alone, so that the text does not depend on which other requests run.
    """

    def __init__(self, config: GenerationConfig, prompt: Sequence[int], guide: Guide | None = None) -> None:
        self._guide = guide
        self._temperature: float = config.temperature
        self._top_k: int = config.top_k
        self._top_p: float = config.top_p
        self._min_p: float = config.min_p
        self._penalty: float = config.repetition_penalty
        self._logprobs: int = config.logprobs or 0
        self._greedy = self._temperature == 0 or self._top_k == 1
        self._forbidden: list[int] = list(config.bad_token_ids or ())
        self._ends: list[int] = [] if config.ignore_eos else list(config.stop_token_ids or ())
        self._ends_forbidden_for: int = config.min_new_tokens or 0 if self._ends else 0
        self._history: list[int] = list(prompt) if self._penalty != 1 else []
        self._seen: torch.Tensor | None = None
        self._random = random.Random(config.random_seed)
        # Plain means: the largest logit, nothing else; then a whole batch is drawn in one operation.
        self.plain = (
            self._greedy and self._penalty == 1 and not (self._forbidden or self._ends_forbidden_for) and guide is None
        )

    @property
    def over(self) -> bool:
        """Whether the guide's grammar leaves nothing more to say."""
        return self._guide is not None and self._guide.over

    def draw(self, logits: torch.Tensor, drawn: int) -> int:
        """The next token's id. logits: [vocabulary], any float type; drawn: how many were drawn before."""
        logits = logits.float()
        if self._penalty != 1:
            logits = self._penalize(logits)
        if drawn < self._ends_forbidden_for:
            logits = logits.index_fill(0, torch.tensor(self._ends, device=logits.device), -torch.inf)
        if self._forbidden:
            logits = logits.index_fill(0, torch.tensor(self._forbidden, device=logits.device), -torch.inf)
        if self._guide is not None:
            logits = self._guide.apply(logits)
        token = int(logits.argmax()) if self._greedy else self._pick(logits / self._temperature)
        if self._penalty != 1:
            self._history = [token]
        if self._guide is not None:
            self._guide.accept(token)
        return token

    def logprobs(self, logits: torch.Tensor, token: int) -> dict[int, float]:
        """Natural logarithms of the model's own probabilities: the likeliest tokens' and the drawn one's."""
        values = logits.float().log_softmax(0)
        best, ids = values.topk(min(self._logprobs, values.numel()))
        found: dict[int, float] = dict(zip(ids.tolist(), best.tolist(), strict=True))
        found.setdefault(token, float(values[token]))
        return found

    def _penalize(self, logits: torch.Tensor) -> torch.Tensor:
        if self._seen is None:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
        self._seen[torch.tensor(self._history, device=logits.device)] = True
        penalized = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
        return torch.where(self._seen, penalized, logits)

    def _pick(self, logits: torch.Tensor) -> int:
        count = logits.numel()
        ids = None
        if 0 < self._top_k < count:
            logits, ids = logits.topk(self._top_k)
        elif self._top_p < 1 or self._min_p > 0:
            logits, ids = logits.sort(descending=True)
        probabilities = logits.softmax(0)
        # In numpy because these are a dozen scalar steps, each of which costs several times as much in torch.
        edges = probabilities.double().cumsum(0).cpu().numpy()
        count = len(edges)
        if self._top_p < 1:
            # A token stays while those before it are short of top_p.
            count = min(count, int(edges.searchsorted(self._top_p)) + 1)
        if self._min_p > 0:
            count = min(count, int((probabilities >= self._min_p * probabilities[0]).sum()))
        index = int(edges[:count].searchsorted(self._random.random() * edges[count - 1], side="right"))
        index = min(index, count - 1)
        return index if ids is None else int(ids[index])
