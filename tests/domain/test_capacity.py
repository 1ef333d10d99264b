"""The units of the cache, the capacity table and the presets."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from desktop.domain.capacity import (
    Preset,
    capacity_table,
    preset,
    ratio_for_bytes,
    ratio_for_chats,
    ratio_for_tokens,
)
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory, forecast
from desktop.domain.memory_plan import NothingFits, Plan, WeightForm, forms_of
from desktop.domain.memory_shape import MemoryShape
from tests.domain.memory_models import GIB, card, card_lists, llama_shape, settings, shapes


def llama_form() -> WeightForm:
    return WeightForm(name="16-bit", shape=llama_shape(), path="/models/llama")


@given(shape=shapes(), config=settings, cards=card_lists(), share=st.floats(0.01, 0.9), context=st.integers(1, 9000))
def test_change_one_and_all_follow(
    shape: MemoryShape, config: EngineConfig, cards: list[CardMemory], share: float, context: int
) -> None:
    """Each unit gives a ratio whose forecast has at least what was asked, and a thousandth less has not."""
    shown = forecast(shape, config, cards)
    assume(shown.before_cache > GIB)
    wanted = int(shown.before_cache * share)
    room = forecast(shape, msgspec.structs.replace(config, cache_max_entry_count=share), cards)
    for ratio, has in (
        (ratio_for_bytes(shown, min(wanted, room.kv)), lambda found: found.kv >= min(wanted, room.kv)),
        (ratio_for_tokens(shown, room.tokens), lambda found: found.tokens >= room.tokens),
        (
            ratio_for_chats(shown, room.chats(context), context),
            lambda found: found.chats(context) >= room.chats(context),
        ),
    ):
        assert has(forecast(shape, msgspec.structs.replace(config, cache_max_entry_count=ratio), cards))
        if ratio > 0.0015:
            assert ratio <= share + 0.001
    assert forecast(shape, config, cards) == shown


def test_what_no_ratio_has_gives_the_largest() -> None:
    shown = forecast(llama_shape(), EngineConfig(), [card(24)])
    assert ratio_for_bytes(shown, 100 * GIB) == ratio_for_chats(shown, 10_000, 8192) == 0.99
    assert ratio_for_bytes(shown, 0) == ratio_for_tokens(shown, 0) == 0.001


def test_ratio_and_bytes_of_a_known_card() -> None:
    shown = forecast(llama_shape(), EngineConfig(), [card(24)])
    assert ratio_for_bytes(shown, 4 * GIB) == pytest.approx(4 * GIB / shown.before_cache, abs=0.001)
    eight = msgspec.structs.replace(EngineConfig(), cache_max_entry_count=ratio_for_chats(shown, 4, 8192))
    assert forecast(llama_shape(), eight, [card(24)]).chats(8192) == 4


def test_the_capacity_table() -> None:
    forms = forms_of("16-bit", llama_shape(), "/models/llama")
    cells = capacity_table(forms, [card(24)], EngineConfig())
    assert [(cell.form.name, cell.quant_policy) for cell in cells] == [
        ("16-bit", 0),
        ("16-bit", 8),
        ("16-bit", 4),
        ("AWQ", 0),
        ("AWQ", 8),
        ("AWQ", 4),
    ]
    chats = [cell.forecast.chats(8192) if cell.forecast else 0 for cell in cells]
    assert chats[0] < chats[1] < chats[2]
    assert chats[3] < chats[4] < chats[5]
    assert chats[0] < chats[3]
    assert all(cell.forecast and cell.forecast.fits for cell in cells)


def test_a_cell_without_room_is_empty() -> None:
    cells = capacity_table(forms_of("16-bit", llama_shape(), "/models/llama"), [card(12)], EngineConfig())
    assert [cell.forecast is None for cell in cells] == [True, True, True, False, False, False]


@given(shape=shapes(), cards=card_lists(), config=settings, kind=st.sampled_from(list(Preset)))
def test_a_preset_fits(shape: MemoryShape, cards: list[CardMemory], config: EngineConfig, kind: Preset) -> None:
    cards = cards[:1] if config.backend is Backend.CPU else cards
    answer = preset(kind, WeightForm(name="16-bit", shape=shape, path="/m"), cards, config)
    if isinstance(answer, NothingFits):
        assert answer.card_bytes or answer.reason
        return
    assert answer.forecast.fits
    assert answer.config.problems() == []
    used = [one for one in cards if one.index in answer.devices]
    assert answer.forecast == forecast(shape, answer.config, used)
    assert answer.forecast.chats(min(1024, answer.forecast.session)) >= 1


def chosen(kind: Preset, gib: float) -> Plan:
    answer = preset(kind, llama_form(), [card(gib)], EngineConfig())
    assert isinstance(answer, Plan)
    return answer


def test_balanced_keeps_quality_and_the_usual_ratio() -> None:
    roomy, tight = chosen(Preset.BALANCED, 48), chosen(Preset.BALANCED, 20)
    assert (roomy.config.quant_policy, roomy.config.cache_max_entry_count) == (0, 0.8)
    assert tight.config.quant_policy == 0
    assert tight.config.cache_max_entry_count < 0.8
    assert tight.forecast.chats(8192) >= 1


def test_the_longest_context_is_one_chat_of_all_that_fits() -> None:
    small, large = chosen(Preset.LONGEST_CONTEXT, 24), chosen(Preset.LONGEST_CONTEXT, 48)
    assert large.config.session_len == 131072
    assert large.config.quant_policy == 0
    assert (small.config.session_len, small.config.quant_policy) == (131072, 4)
    tiny = chosen(Preset.LONGEST_CONTEXT, 17.5)
    assert tiny.config.session_len is not None
    assert 1024 <= tiny.config.session_len < 131072
    assert tiny.forecast.chats(tiny.config.session_len) == 1
    assert all(answer.config.max_batch_size == 1 for answer in (small, large, tiny))


def test_most_chats_is_more_than_balanced_holds_at_once() -> None:
    answer = chosen(Preset.MOST_CHATS, 24)
    assert answer.config.max_batch_size > 16
    assert answer.forecast.chats(2048) >= answer.config.max_batch_size


def test_the_smallest_takes_least() -> None:
    smallest = chosen(Preset.SMALLEST, 24)
    assert smallest.config.quant_policy == 0
    for other in (Preset.BALANCED, Preset.LONGEST_CONTEXT, Preset.MOST_CHATS):
        assert smallest.forecast.engine < chosen(other, 24).forecast.engine
    assert smallest.forecast.kv < GIB
