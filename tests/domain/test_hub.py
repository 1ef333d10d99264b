"""Addresses of mirrors as users write them."""

from __future__ import annotations

import pytest

from desktop.domain.hub import mirror_address


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://hub.example", "https://hub.example"),
        (" hub.example/ ", "https://hub.example"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address(text: str, endpoint: str) -> None:
    found = mirror_address(text)
    assert found is not None
    assert found.endpoint == endpoint


@pytest.mark.parametrize("text", ["", "https://", "ftp://hub.example", "two words", "http://hub:99999", "http://[::1"])
def test_what_is_none(text: str) -> None:
    assert mirror_address(text) is None
