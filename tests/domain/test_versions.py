"""The versions of a model: which belong together, and what of them compares."""

from __future__ import annotations

import msgspec

from desktop.domain.evaluation import Evaluation
from desktop.domain.versions import MadeModel, versions
from tests.domain.test_evaluation import SIDE, found

SOURCE = "/models/a"


def made(path: str, evaluation: Evaluation | None = None, source: str = SOURCE) -> MadeModel:
    return MadeModel(path=path, source=source, source_name="a", method="AWQ, 4 bits", evaluation=evaluation)


def test_the_original_comes_first_with_what_was_measured_of_it() -> None:
    one = found()
    rows = versions(
        SOURCE,
        ("a", 16),
        [("b", 5, made("/b", one)), ("A", 4, made("/a")), ("other", 3, made("/o", source="/models/z"))],
    )
    assert [(row.name, row.disk_bytes, row.method) for row in rows] == [
        ("a", 16, ""),
        ("A", 4, "AWQ, 4 bits"),
        ("b", 5, "AWQ, 4 bits"),
    ]
    assert [row.side for row in rows] == [one.original, None, one.other]
    assert [row.evaluation for row in rows] == [None, None, one]
    assert not any(row.incomparable for row in rows)


def test_without_a_comparison_there_is_no_figure() -> None:
    rows = versions(SOURCE, ("a", None), [("b", 5, made("/b"))])
    assert [(row.disk_bytes, row.side, row.evaluation) for row in rows] == [(None, None, None), (5, None, None)]


def test_only_what_was_measured_over_the_same_text_compares() -> None:
    newest = msgspec.structs.replace(found(), id=9_000_000)
    cache = msgspec.structs.replace(SIDE.config, quant_policy=8)
    changes = (
        {},
        {"text_hash": "cd" * 32},
        {"window": 256},
        {"original": msgspec.structs.replace(SIDE, signature="2")},
        {"original": msgspec.structs.replace(SIDE, config=cache)},
    )
    older = [msgspec.structs.replace(found(), **change) for change in changes]
    rows = versions(
        SOURCE,
        ("a", 16),
        [("0", 1, made("/0", newest)), *((str(n), 1, made(f"/{n}", one)) for n, one in enumerate(older, 1))],
    )
    assert [row.incomparable for row in rows] == [False, False, False, True, True, True, True]


def test_a_verdict_on_a_smaller_cache_says_so() -> None:
    small = msgspec.structs.replace(SIDE.config, quant_policy=4)
    one = msgspec.structs.replace(found(), other=msgspec.structs.replace(found().other, config=small))
    _, row = versions(SOURCE, ("a", 16), [("b", 5, made("/b", one))])
    assert row.method == "AWQ, 4 bits, KV cache in 4 bits"
