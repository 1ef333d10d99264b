"""The verdict and the page of an evaluation."""

from __future__ import annotations

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.evaluation import Evaluation, Grade, Interval, Side, as_markdown, thresholds, verdict

SIDE = Side(
    path="/models/a",
    name="Qwen3 | 8B",
    signature="1",
    config=EngineConfig(),
    backend=Backend.TURBOMIND,
    device="RTX 4090",
    perplexity=Interval(8.0, 7.8, 8.2),
    tokens_per_second=61.25,
    time_to_first_token=0.034,
    disk_bytes=16 * 2**30,
    memory_bytes=None,
    replies=("The same", "It begins alike", "short"),
)


def found(kl: float = 0.02, top1: float = 0.95, spread: float = 0.1) -> Evaluation:
    return Evaluation(
        id=1_000_000,
        original=SIDE,
        other=msgspec.structs.replace(
            SIDE,
            name="AWQ",
            perplexity=Interval(8.4, 8.1, 8.6),
            replies=("The same", "It begins other", "short and more"),
        ),
        text_name="own text",
        text_hash="ab" * 32,
        tokens=4096,
        window=512,
        kl=Interval(kl, kl * (1 - spread), kl * (1 + spread)),
        kl_999=Interval(1.0, 0.9, 1.1),
        top1=Interval(top1, top1 - 0.005, min(1.0, top1 + 0.005)),
        kl_of=(),
        worst=(),
        prompts=("One", "Two | pipes\nand lines", "Three"),
        versions={"torch": "2.12.1"},
    )


@pytest.mark.parametrize(
    ("kl", "top1", "grade"),
    [
        (0.001, 0.99, Grade.INDISTINGUISHABLE),
        (0.0048, 0.99, Grade.GOOD),  # the interval reaches above 0.005
        (0.001, 0.982, Grade.GOOD),  # the interval reaches below 98 %
        (0.02, 0.95, Grade.GOOD),
        (0.02, 0.88, Grade.NOTICEABLE),
        (0.1, 0.95, Grade.NOTICEABLE),
        (0.5, 0.95, Grade.POOR),
        (0.001, 0.5, Grade.POOR),
    ],
)
def test_the_worse_of_both_decides_and_of_each_the_bad_end(kl: float, top1: float, grade: Grade) -> None:
    assert found(kl, top1).grade is grade


def test_the_verdict_gives_its_reason() -> None:
    words = verdict(found())
    assert words.startswith("It says what the original says")
    assert "95.0% of the time (at least 94.5%)" in words
    assert "0.0200 nats (at most 0.0220)" in words
    for limit in ("0.005", "98%", "0.05", "90%", "0.2", "80%"):
        assert limit in thresholds()


def test_where_answers_part() -> None:
    three = found()
    assert [three.parted(number) for number in range(3)] == [None, 10, 5]
    assert three.perplexity_ratio == pytest.approx(1.05)


def test_the_page_has_every_figure_and_no_broken_table() -> None:
    page = as_markdown(found())
    assert "| model | Qwen3 \\| 8B | AWQ |" in page
    assert "| tokens/s | 61.2 | 61.2 |" in page
    assert "| memory | not measured | not measured |" in page
    assert "| Two \\| pipes and lines | character 10 |" in page
    assert "| One | the end |" in page
    assert "8.000 (7.800 to 8.200)" in page
    assert "ab" * 32 in page
    for line in page.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_it_survives_json() -> None:
    data = msgspec.json.encode(found())
    assert msgspec.json.decode(data, type=Evaluation) == found()
