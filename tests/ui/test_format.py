"""Numbers on screen."""

from __future__ import annotations

import pytest

from desktop.ui.format import GIB, card_label, counted, format_bytes, gigabytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1024, "1 kB"),
        (12 * 2**20, "12 MB"),
        (GIB - 1, "1.0 GB"),
        (GIB, "1.0 GB"),
        (round(17.2 * GIB), "17.2 GB"),
        (2000 * GIB, "2000.0 GB"),
    ],
)
def test_bytes(count: int, text: str):
    assert format_bytes(count) == text


def test_a_24_gb_card_has_24_gb():
    assert gigabytes(25_757_220_864) == "24.0"


def test_card_names_as_people_say_them():
    assert card_label("NVIDIA GeForce RTX 4090") == "RTX 4090"
    assert card_label("NVIDIA H100 80GB HBM3") == "H100 80GB HBM3"
    assert card_label("Tesla T4") == "Tesla T4"


def test_one_and_many() -> None:
    assert [counted(n, "token") for n in (0, 1, 2, 1234)] == ["0 tokens", "1 token", "2 tokens", "1,234 tokens"]
