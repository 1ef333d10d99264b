"""How a number of things is said."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """'1 token', '1,234 tokens'. thing: one of them, with a regular plural."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
