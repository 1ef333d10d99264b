"""A few rounds of the long proofs of `make chaos`."""

import pytest

from tests.chaos.kills import kill_engine, kill_window

pytestmark = pytest.mark.chaos


def test_the_engine_is_killed() -> None:
    assert kill_engine(5, seed=1)["tokens_kept"] > 0


def test_the_window_is_killed() -> None:
    assert kill_window(3, seed=1)["lost_text_max_s"] <= 0.5
