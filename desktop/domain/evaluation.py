"""What an evaluation found: how far a model's replies are from those of the one it was made from, and the verdict.

The thresholds of the verdict are our own. They are about the mean Kullback-Leibler divergence of the next token's
probabilities, in nats, and about how often both models hold the same token for the likeliest. Of both the bad end of
the 95 % confidence interval counts, and the worse of the two decides.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig

# Asked of both, greedily: facts, reasoning, code, Chinese, a list, a summary.
PROMPTS = (
    "What is the KV cache?",
    "Explain in two sentences why the sky is blue.",
    "A train leaves at 14:40 and arrives at 17:05. How long does it take? Show your reasoning.",
    "Write a Python function that returns the n-th Fibonacci number, with a docstring.",
    "用两句话解释什么是光合作用。",
    "List three differences between a list and a tuple in Python.",
    "Translate into German: The library opens at nine, except on Sundays.",
    "Summarise in one sentence: The meeting was moved to Friday because two of the speakers were ill.",
)

FOREIGN = 200.0  # a perplexity above which a text is nothing that the model was made for

INDISTINGUISHABLE = (0.005, 0.98)
GOOD = (0.05, 0.90)
NOTICEABLE = (0.20, 0.80)


class Grade(StrEnum):
    """The verdict, the best first."""

    INDISTINGUISHABLE = "indistinguishable"
    GOOD = "good"
    NOTICEABLE = "noticeable"
    POOR = "poor"


_LIMITS = (
    (Grade.INDISTINGUISHABLE, *INDISTINGUISHABLE),
    (Grade.GOOD, *GOOD),
    (Grade.NOTICEABLE, *NOTICEABLE),
)


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95 % confidence interval (bootstrap over blocks of the text)."""

    value: float
    low: float
    high: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two, as it was measured. path: its folder. signature: of its files, see folder_listing.

    perplexity: of the text. tokens_per_second, time_to_first_token (seconds): medians over the prompts.
    disk_bytes: of the folder. memory_bytes: what its process held once it was loaded, on the card or, on the CPU, of
    the machine's memory; None where the system does not tell. replies: to the prompts, greedily.
    """

    path: str
    name: str
    signature: str
    config: EngineConfig
    backend: Backend
    device: str
    perplexity: Interval
    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    disk_bytes: int = 0
    memory_bytes: int | None = None
    replies: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the two differ most. position: of the token in the text. before, token: the text up to it, and itself.

    expected, chosen: the likeliest token by the original and by the other. kl: nats.
    """

    position: int
    before: str
    token: str
    expected: str
    chosen: str
    kl: float


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation. id: microseconds since the epoch. text_hash: SHA-256 of the text, text_name: what it is called.

    tokens: how many were judged, in windows of `window` tokens that know nothing of each other. kl, kl_999: the mean
    and the 99.9th percentile of the divergence, in nats. top1: share of tokens for which both hold the same for the
    likeliest. kl_of: of each token, in the order of the text. prompts: see Side.replies. versions: of what ran it.
    """

    id: int
    original: Side
    other: Side
    text_name: str
    text_hash: str
    tokens: int
    window: int
    kl: Interval
    kl_999: Interval
    top1: Interval
    kl_of: tuple[float, ...]
    worst: tuple[Place, ...]
    prompts: tuple[str, ...] = ()
    versions: dict[str, str] = {}

    @property
    def made_at(self) -> float:
        """Seconds since the epoch."""
        return self.id / 1e6

    @property
    def grade(self) -> Grade:
        """See the module."""
        for grade, most_kl, least_top1 in _LIMITS:
            if self.kl.high <= most_kl and self.top1.low >= least_top1:
                return grade
        return Grade.POOR

    @property
    def perplexity_ratio(self) -> float:
        """The other's perplexity by the original's; below 1 it guesses the text better."""
        return self.other.perplexity.value / self.original.perplexity.value

    def parted(self, number: int) -> int | None:
        """Characters that both replies to this prompt have in common; None where they are the same to the end."""
        first, second = self.original.replies[number], self.other.replies[number]
        if first == second:
            return None
        return next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(map(len, (first, second)))
        )


_MEANING = {
    Grade.INDISTINGUISHABLE: "You will not be able to tell it from the original",
    Grade.GOOD: "It says what the original says, now and then in other words",
    Grade.NOTICEABLE: "It often answers differently from the original, and sometimes worse",
    Grade.POOR: "It is not the same model any more",
}


def verdict(found: Evaluation) -> str:
    """The grade in words with its reason; a third sentence where the text says little about the model."""
    reason = (
        f"both hold the same token for the likeliest {found.top1.value:.1%} of the time "
        f"(at least {found.top1.low:.1%}), and the mean divergence is {found.kl.value:.4f} nats "
        f"(at most {found.kl.high:.4f})"
    )
    words = f"{_MEANING[found.grade]}. {found.grade.value.capitalize()}: {reason}."
    surprise = found.original.perplexity.value
    if surprise > FOREIGN:
        words += (
            f" But the original does not know this kind of text (perplexity {surprise:,.0f}), so this says little "
            "about what you use it for: compare them over text like your own."
        )
    return words


def thresholds() -> str:
    """What the grades stand for, one line."""
    parts = [
        f"{grade.value}: KL up to {kl:g} and the same token in {top1:.0%} of places" for grade, kl, top1 in _LIMITS
    ]
    return "; ".join(parts) + "; else poor"


def as_markdown(found: Evaluation) -> str:
    """A page to be kept or shown to others."""
    first, second = found.original, found.other

    def row(name: str, one: str, two: str) -> str:
        return f"| {name} | {one} | {two} |"

    def interval(figure: Interval, digits: int) -> str:
        return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"

    def known(value: float | None, words: str) -> str:
        return "not measured" if value is None else words.format(value)

    lines = [
        f"# {second.name} against {first.name}",
        "",
        verdict(found),
        "",
        "| | original | other |",
        "|---|---|---|",
        row("model", _cell(first.name), _cell(second.name)),
        row(
            "engine",
            f"{first.backend.value} on {_cell(first.device)}",
            f"{second.backend.value} on {_cell(second.device)}",
        ),
        row("KV cache", f"{first.config.quant_policy or 16} bits", f"{second.config.quant_policy or 16} bits"),
        row("perplexity", interval(first.perplexity, 3), interval(second.perplexity, 3)),
        row("tokens/s", *(known(side.tokens_per_second, "{:.1f}") for side in (first, second))),
        row("time to first token", *(known(side.time_to_first_token, "{:.3f} s") for side in (first, second))),
        row("on disk", *(f"{side.disk_bytes / 2**30:.2f} GB" for side in (first, second))),
        row(
            "memory", *(known(side.memory_bytes and side.memory_bytes / 2**30, "{:.2f} GB") for side in (first, second))
        ),
        "",
        f"* KL divergence, mean: {interval(found.kl, 4)} nats; 99.9th percentile: {interval(found.kl_999, 3)}",
        f"* Same token for the likeliest: {found.top1.value:.2%} ({found.top1.low:.2%} to {found.top1.high:.2%})",
        f"* Text: {_cell(found.text_name)}, {found.tokens:,} tokens in windows of {found.window:,}",
        f"* SHA-256 of the text: {found.text_hash}",
        f"* Intervals: 95 %, bootstrap over blocks of the text. Grades: {thresholds()}.",
        *(f"* {name} {version}" for name, version in sorted(found.versions.items())),
    ]
    if found.prompts:
        lines += ["", "## Greedy answers", "", "| prompt | the same until |", "|---|---|"]
        for number, prompt in enumerate(found.prompts):
            common = found.parted(number)
            until = "the end" if common is None else f"character {common:,}"
            lines.append(f"| {_cell(prompt)} | {until} |")
    return "\n".join(lines) + "\n"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")
