"""The head of a README, its text, and heads that are made to do harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from desktop.domain.shelf import CardSummary
from desktop.storage.model_card import read_card, read_summary


def summary(folder: Path, text: str | bytes) -> CardSummary:
    (folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_summary(folder, {"README.md", "other"})


def test_the_facts_of_a_card(tmp_path: Path) -> None:
    head = (
        "---\r\nlicense: other\r\nlicense_name: qwen\r\nlicense_link: https://example.org/LICENSE\r\nlanguage: en\r\n"
        "base_model:\n- a/one\n- a/two\ntags: [x]\nmodel-index:\n- name: y\n  license: not this\n"
        "pipeline_tag: 'text-generation'\nmore: {license: nor this}\n---\n\n# Title\n---\nlicense: mit\n---\n"
    )
    assert summary(tmp_path, head) == CardSummary(
        license="other",
        license_name="qwen",
        license_link="https://example.org/LICENSE",
        languages=("en",),
        base_models=("a/one", "a/two"),
        task="text-generation",
    )
    (tmp_path / "LICENSE").write_text("Do as you like.")
    card = read_card(str(tmp_path))
    assert card.text == "# Title\n---\nlicense: mit\n---\n"
    assert (card.license_text, card.cut) == ("Do as you like.", False)


@pytest.mark.parametrize(
    "text", ["", "# No head\nlicense: mit", "---\nnever ends: mit\n", "---\n- a\n- list\n---\n", "---\n---"]
)
def test_cards_without_facts(tmp_path: Path, text: str) -> None:
    assert summary(tmp_path, text) == CardSummary()


@pytest.mark.parametrize(
    "harm",
    [
        "[" * 60_000,
        "- " * 30_000,
        "{a: " * 15_000,
        "? " * 30_000,
        "a: &a [*a]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]",
        "!!python/object/apply:os.system ['touch pwned']",
        "x: 2001-99-99",
        "x: \0",
        "\tx: ][",
        "x: " + "9" * 60_000,
        "x: " + ":".join(["1"] * 20_000),
        "? [a, b]\n: license",
    ],
)
def test_what_comes_before_the_harm_counts(tmp_path: Path, harm: str) -> None:
    found = summary(tmp_path, f"---\nlicense: mit\nz: 1\n{harm}\n---\n")
    assert found.license in ("mit", "")
    assert found == CardSummary(license=found.license)
    if "\0" not in harm:  # the parser refuses that before it begins
        assert found.license == "mit"


def test_text_that_is_no_text(tmp_path: Path) -> None:
    found = summary(tmp_path, b"---\nlicense: m\xffit\x1b[0m\n---\n\xff\xfe")
    found.license.encode()
    assert "\x1b" not in found.license
    read_card(str(tmp_path)).text.encode()


def test_long_texts_are_cut(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x" * 1_000_000)
    card = read_card(str(tmp_path))
    assert card.cut
    assert len(card.text) == 256 << 10


def test_pipes_and_folders_instead_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    (tmp_path / "LICENSE").mkdir()
    card = read_card(str(tmp_path))
    assert (card.text, card.license_text, card.summary) == ("", "", CardSummary())
    assert read_card(str(tmp_path / "gone")).text == ""
