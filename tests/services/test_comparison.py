"""One prompt to two settings, and where the replies part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.conversation import ChatSettings, MessageState
from desktop.domain.engine_config import EngineConfig
from desktop.domain.generation import SamplingParams
from desktop.services.comparison import Comparison, Side, common_length, with_kv_precision
from tests.services.conftest import DEMO, Desk, words

PLAIN = Side(ChatSettings())


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_the_common_length_is_that_of_the_common_prefix(left: str, right: str) -> None:
    length = common_length(left, right)
    assert left[:length] == right[:length]
    assert length in (len(left), len(right)) or left[length] != right[length]


def test_both_at_once_and_the_same(desk: Desk) -> None:
    desk.load(tokens=50, tokens_per_second=500)
    comparison = Comparison(desk.chats, desk.host)
    begun: list[int] = []
    comparison.begun.connect(begun.append)
    comparison.start("one", PLAIN, Side(ChatSettings(system_prompt="Be brief.")), EngineConfig())
    assert begun == [0, 1]
    assert desk.chats.generating_count == 2
    desk.until(lambda: not comparison.is_running)
    assert comparison.parting is None
    assert comparison.are_same
    assert comparison.text(0) == comparison.text(1) == words(50)
    left, right = comparison.conversation(0), comparison.conversation(1)
    assert left is not None
    assert right is not None
    assert desk.library.conversation(left).title == "A: one"
    assert desk.library.conversation(right).settings == ChatSettings(system_prompt="Be brief.")


def test_they_part_where_one_is_cut_off(desk: Desk) -> None:
    desk.load(tokens=50)
    comparison = Comparison(desk.chats, desk.host)
    short = Side(ChatSettings(params=SamplingParams(max_new_tokens=5)))
    comparison.start("one", PLAIN, short, EngineConfig())
    desk.until(lambda: not comparison.is_running)
    assert comparison.text(1) == words(5)
    assert comparison.parting == len(words(5))
    assert not comparison.are_same


def test_two_loads_come_one_after_the_other(desk: Desk) -> None:
    desk.load(tokens=20)
    comparison = Comparison(desk.chats, desk.host)
    usual = EngineConfig(session_len=4096)
    sixteen, four = (Side(ChatSettings(), with_kv_precision(usual, bits)) for bits in (16, 4))
    loaded: list[int] = []
    comparison.begun.connect(lambda _side: loaded.append(desk.host.status.config.quant_policy))
    comparison.start("one", sixteen, four, usual)
    desk.until(lambda: not comparison.is_running)
    assert loaded == [0, 4]
    assert comparison.are_same
    for side in (0, 1):
        conversation = comparison.conversation(side)
        assert conversation is not None
        assert desk.chats.messages(conversation)[-1].state is MessageState.COMPLETE
    desk.host.reload()
    desk.until(lambda: desk.host.is_ready and desk.host.status.config == usual)


def test_a_load_would_cut_off_other_replies_so_it_is_refused(desk: Desk) -> None:
    desk.load(tokens=1000, tokens_per_second=100)
    desk.chats.send(None, "long")
    comparison = Comparison(desk.chats, desk.host)
    assert "Wait" in comparison.refusal(Side(ChatSettings(), EngineConfig(quant_policy=4)), PLAIN)
    assert comparison.refusal(PLAIN, PLAIN) == ""


def test_a_load_that_is_refused_ends_the_comparison(desk: Desk) -> None:
    desk.load(tokens=5)
    comparison = Comparison(desk.chats, desk.host)
    broken = Side(ChatSettings(), EngineConfig(cache_max_entry_count=2.0))
    comparison.start("one", broken, PLAIN, EngineConfig())
    desk.until(lambda: not comparison.is_running)
    assert comparison.conversation(0) is None
    assert desk.host.is_ready
    assert desk.host.status.path == DEMO


def test_stopping_keeps_what_there_is(desk: Desk) -> None:
    desk.load(tokens=10_000, tokens_per_second=200)
    comparison = Comparison(desk.chats, desk.host)
    comparison.start("one", PLAIN, PLAIN, EngineConfig())
    desk.until(lambda: len(desk.shown) == 2)
    comparison.stop()
    assert not comparison.is_running
    desk.until(lambda: desk.chats.generating_count == 0)
    for side in (0, 1):
        assert comparison.text(side)
        assert words(10_000).startswith(comparison.text(side))
