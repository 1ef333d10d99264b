"""How long work in a reader thread is given up."""

from __future__ import annotations

from collections.abc import Callable

IsCancelled = Callable[[], bool]
"""Asked now and then by long work; True makes it raise Cancelled."""


class Cancelled(Exception):
    """The work was given up because nobody wants its result any more. Nothing was changed."""


def never() -> bool:
    """For work that nobody gives up."""
    return False
