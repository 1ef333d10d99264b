"""Numbers on screen."""

from __future__ import annotations

import pytest

from desktop.ui.format import GIB, card_label, format_bytes, gigabytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 byte"),
        (0, "0 bytes"),
        (1000, "1,000 bytes"),
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
