"""Numbers of things in words."""

from __future__ import annotations

from desktop.domain.counting import counted


def test_one_and_many() -> None:
    assert [counted(n, "token") for n in (0, 1, 2, 1234)] == ["0 tokens", "1 token", "2 tokens", "1,234 tokens"]
