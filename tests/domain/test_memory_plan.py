"""The inverse: what it returns does what was wished, and nothing that loses less would.

TURBODESK_PLAN_EXAMPLES sets how many random models, cards and wishes are tried (10,000 for the record).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory, Forecast, forecast
from desktop.domain.memory_plan import (
    NothingFits,
    Plan,
    WeightForm,
    Wish,
    forms_of,
    largest_cache,
    nearest,
    plan,
    with_ratio,
)
from desktop.domain.memory_shape import MemoryShape, read_shape
from tests.domain import headers as made
from tests.domain.memory_models import GIB, MIB, card, card_lists, forms, llama_shape, settings, shapes, wishes

EXAMPLES = int(os.environ.get("TURBODESK_PLAN_EXAMPLES", "300"))

Cost = tuple[Any, ...]


def llama_forms() -> list[WeightForm]:
    return list(forms_of("16-bit", llama_shape(), "/models/llama"))


def loss(form: WeightForm) -> int:
    return {"": 0, "fp8": 1, "awq": 2}[form.shape.quantization]


def cost(form: WeightForm, config: EngineConfig) -> Cost:
    """The order that memory_plan.py promises, written a second time."""
    kv = (0, 8, 4).index(config.quant_policy)
    return (loss(form), not form.path, kv, config.tp, -config.max_prefill_token_num, -config.max_batch_size)


def everything(
    wish: Wish, found_forms: list[WeightForm], cards: list[CardMemory], base: EngineConfig
) -> Iterator[tuple[Cost, WeightForm, EngineConfig, list[CardMemory]]]:
    """Every combination that may be offered, in no order."""
    cpu = base.backend is Backend.CPU
    ranked = sorted(cards, key=lambda one: one.total - one.used, reverse=True)
    most = max(base.max_batch_size, wish.chats)
    batches = {most} | {
        count for count in (*(2**power for power in range(8)), wish.chats) if wish.chats <= count < most
    }
    steps = {base.max_prefill_token_num} | {
        count for count in (512, 1024, 2048, 4096) if count < base.max_prefill_token_num
    }
    for form in found_forms:
        model = form.shape.config
        session = base.session_len
        if session is not None and session < wish.context:
            session = wish.context
        if session is None and (model.context_length or 4096) < wish.context:
            session = wish.context
        for bits in (0, 8, 4):
            kernels = {0: (model.head_dim,), 8: (64, 128, 192, 256), 4: (64, 128, 256)}[bits]
            if model.head_dim not in kernels or (bits and cpu):
                continue
            for tp in (1, 2, 4):
                if tp > 1 and (cpu or tp > len(cards) or (model.heads or 1) % tp):
                    continue
                for prefill in steps:
                    for batch in batches:
                        config = msgspec.structs.replace(
                            base,
                            quant_policy=bits,
                            tp=tp,
                            max_prefill_token_num=prefill,
                            max_batch_size=batch,
                            session_len=session,
                        )
                        yield cost(form, config), form, config, ranked[:tp]


def does(found: Forecast, wish: Wish) -> bool:
    return (
        found.fits
        and found.chats(wish.context) >= wish.chats
        and found.batch >= wish.chats
        and found.session >= wish.context
        and found.free >= (wish.leave_free or 0)
    )


def possible(form: WeightForm, config: EngineConfig, cards: list[CardMemory], wish: Wish) -> bool:
    """Whether any cache ratio does it: the smallest that holds the chats leaves most free."""
    low, high = 1, 991
    while low < high:
        middle = (low + high) // 2
        if forecast(form.shape, with_ratio(config, middle), cards).chats(wish.context) >= wish.chats:
            high = middle
        else:
            low = middle + 1
    return low <= 990 and does(forecast(form.shape, with_ratio(config, low), cards), wish)


@pytest.mark.timeout(1800)
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(wish=wishes, found_forms=forms(), cards=card_lists(), base=settings, any_ratio=st.integers(1, 990))
def test_what_is_planned_fits_and_nothing_cheaper_does(
    wish: Wish, found_forms: list[WeightForm], cards: list[CardMemory], base: EngineConfig, any_ratio: int
) -> None:
    if base.backend is Backend.CPU:
        cards = cards[:1]
    answer = plan(wish, found_forms, cards, base)
    if isinstance(answer, NothingFits) and answer.reason:
        event("impossible")
        longest = max(form.shape.config.context_length or 0 for form in found_forms)
        assert 0 < longest < wish.context
        return
    price: Cost = (9,)
    if isinstance(answer, Plan):
        event(f"loss {loss(answer.form)}, {answer.config.quant_policy}, {answer.config.tp} cards")
        used = [one for one in cards if one.index in answer.devices]
        assert len(used) == answer.config.tp
        assert answer.config.problems() == []
        assert answer.forecast == forecast(answer.form.shape, answer.config, used)
        assert does(answer.forecast, wish)
        price = cost(answer.form, answer.config)
    else:
        event("nothing fits")
    cheaper = [one for one in everything(wish, found_forms, cards, base) if one[0] < price]
    for _, form, config, used in cheaper:
        assert not possible(form, config, used, wish)
        assert not does(forecast(form.shape, with_ratio(config, any_ratio), used), wish)
    if isinstance(answer, NothingFits) and base.backend is not Backend.CPU:
        check_the_card(answer, wish, found_forms, cards, base)


def check_the_card(
    answer: NothingFits, wish: Wish, found_forms: list[WeightForm], cards: list[CardMemory], base: EngineConfig
) -> None:
    """The card that is named does it, one a MiB smaller does not; the same without loss of quality."""
    emptiest = max(cards, key=lambda one: one.total - one.used)
    for size, lossless in ((answer.card_bytes, False), (answer.lossless_bytes, True)):
        offered = [form for form in found_forms if not lossless or loss(form) == 0]
        larger = msgspec.structs.replace(emptiest, total=size)
        smaller = msgspec.structs.replace(emptiest, total=size - MIB)
        found = plan(wish, offered, [larger], base)
        assert isinstance(found, Plan)
        if not lossless:
            assert isinstance(plan(wish, offered, [smaller], base), NothingFits)
            continue
        price = cost(found.form, found.config)
        assert price[0] == price[2] == 0
        below = plan(wish, offered, [smaller], base)
        assert isinstance(below, NothingFits) or below.config.quant_policy != 0


@hypothesis_settings(max_examples=100, deadline=None)
@given(wish=wishes, found_forms=forms(), cards=card_lists(), base=settings)
def test_what_is_left_free_is_all_that_is_left(
    wish: Wish, found_forms: list[WeightForm], cards: list[CardMemory], base: EngineConfig
) -> None:
    """With leave_free a thousandth more would not leave enough; without, a thousandth less would not be enough."""
    answer = plan(wish, found_forms, cards[:1], base)
    if not isinstance(answer, Plan):
        return
    steps = round(answer.config.cache_max_entry_count * 1000)
    other = forecast(
        answer.form.shape, with_ratio(answer.config, steps + (1 if wish.leave_free is not None else -1)), cards[:1]
    )
    if steps in (1, 990):
        return
    assert other.free < wish.leave_free if wish.leave_free is not None else other.chats(wish.context) < wish.chats


@hypothesis_settings(max_examples=100, deadline=None)
@given(wish=wishes, found_forms=forms(), cards=card_lists(), base=settings)
def test_a_larger_card_never_costs_more(
    wish: Wish, found_forms: list[WeightForm], cards: list[CardMemory], base: EngineConfig
) -> None:
    if base.backend is Backend.CPU:
        return  # see test_memory.py
    before = plan(wish, found_forms, cards, base)
    after = plan(wish, found_forms, [CardMemory(one.total + GIB, one.used, one.index) for one in cards], base)
    if isinstance(before, Plan):
        assert isinstance(after, Plan)
        assert cost(after.form, after.config) <= cost(before.form, before.config)


@hypothesis_settings(max_examples=100, deadline=None)
@given(shape=shapes(), cards=card_lists(), config=settings)
def test_the_nearest_setting_fits_and_nothing_is_better_than_asked(
    shape: MemoryShape, cards: list[CardMemory], config: EngineConfig
) -> None:
    form = WeightForm(name="here", shape=shape, path="/m")
    answer = nearest([form], config, cards[:1])
    if isinstance(answer, Plan):
        assert answer.forecast.fits
        assert answer.forecast.chats(min(2048, answer.forecast.session)) >= 1
        assert (0, 8, 4).index(answer.config.quant_policy) >= (0, 8, 4).index(config.quant_policy)
        assert answer.config.max_prefill_token_num <= config.max_prefill_token_num
        assert answer.config.max_batch_size <= config.max_batch_size


LLAMA_8K = Wish(chats=8, context=8192)


def test_a_card_with_room_gets_all_as_published() -> None:
    answer = plan(LLAMA_8K, llama_forms(), [card(48)])
    assert isinstance(answer, Plan)
    assert (answer.form.name, answer.config.quant_policy) == ("16-bit", 0)
    assert answer.config.max_prefill_token_num == 8192
    # 8 x 8192 tokens take 8 GB of the 32 GB that are free; the ratio says just that.
    assert answer.config.cache_max_entry_count == pytest.approx(8 / 32.6, abs=0.005)


def test_waiting_and_slow_reading_come_before_loss_of_quality() -> None:
    lossless = plan(LLAMA_8K, llama_forms(), [card(200)])
    assert isinstance(lossless, Plan)
    needed = (lossless.forecast.engine + lossless.forecast.margin) / GIB
    answer = plan(LLAMA_8K, llama_forms(), [card(needed - 0.2)])
    assert isinstance(answer, Plan)
    assert (answer.form.name, answer.config.quant_policy) == ("16-bit", 0)
    assert (answer.config.max_batch_size, answer.config.max_prefill_token_num) < (16, 8192)


@pytest.mark.parametrize(
    ("gib", "form", "bits"), [(22, "16-bit", 8), (19.5, "16-bit", 4), (12, "AWQ", 8), (10, "AWQ", 4)]
)
def test_smaller_cards_lose_step_by_step(gib: float, form: str, bits: int) -> None:
    answer = plan(LLAMA_8K, llama_forms(), [card(gib)])
    assert isinstance(answer, Plan)
    assert (answer.form.name, answer.config.quant_policy) == (form, bits)


def test_a_form_on_the_disk_comes_before_one_that_has_to_be_made() -> None:
    to_make = llama_forms()[1]
    here = msgspec.structs.replace(to_make, name="AWQ from the hub", path="/models/llama-awq")
    for offered in ([to_make, here], [here, to_make]):
        answer = plan(LLAMA_8K, [llama_forms()[0], *offered], [card(12)])
        assert isinstance(answer, Plan)
        assert answer.form == here


def test_what_must_stay_free_costs_quality_where_it_has_to() -> None:
    least = plan(LLAMA_8K, llama_forms(), [card(26)])
    leaving = plan(msgspec.structs.replace(LLAMA_8K, leave_free=6 * GIB), llama_forms(), [card(26)])
    assert isinstance(least, Plan)
    assert isinstance(leaving, Plan)
    assert (least.config.quant_policy, leaving.config.quant_policy) == (0, 4)
    assert leaving.forecast.free >= 6 * GIB


def test_a_second_card_comes_before_loss_of_quality() -> None:
    answer = plan(LLAMA_8K, llama_forms(), [card(20), card(20, index=3)])
    assert isinstance(answer, Plan)
    assert (answer.config.tp, answer.config.devices, answer.devices) == (2, (0, 3), (0, 3))
    assert (answer.form.name, answer.config.quant_policy) == ("16-bit", 0)


def test_where_nothing_fits_it_says_what_would() -> None:
    answer = plan(LLAMA_8K, llama_forms(), [card(6)])
    assert isinstance(answer, NothingFits)
    assert 6 * GIB < answer.card_bytes < answer.lossless_bytes
    assert answer.lossless_bytes == pytest.approx(24.2 * GIB, rel=0.02)
    assert not answer.reason


@pytest.mark.parametrize("gib", [1, 4, 40])
def test_what_card_is_found_while_a_knob_moves(gib: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In so few forecasts, of 10 to 20 microseconds each, that the load dialog can ask at every step."""
    counted = []

    def count(*arguments: Any) -> Forecast:
        counted.append(arguments)
        return forecast(*arguments)

    monkeypatch.setattr("desktop.domain.memory_plan.forecast", count)
    config = {**made.LLAMA_3_8B, "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64}
    shape = read_shape(config, made.text_headers(config))
    answer = nearest(forms_of("16-bit", shape, "/m"), EngineConfig(), [card(gib)])
    assert isinstance(answer, NothingFits) == (gib < 40)
    assert len(counted) < 60


def test_leave_4_gb_free() -> None:
    answer = plan(Wish(leave_free=4 * GIB), llama_forms(), [card(24, 1)])
    assert isinstance(answer, Plan)
    assert 4 * GIB <= answer.forecast.free < 4.01 * GIB
    assert (answer.form.name, answer.config.quant_policy) == ("16-bit", 0)


def test_more_tokens_than_the_model_reads() -> None:
    wish = Wish(context=200_000)
    answer = plan(wish, llama_forms(), [card(200)])
    assert answer == NothingFits(reason="the model reads at most 131,072 tokens")
    stretched = plan(wish, llama_forms(), [card(200)], EngineConfig(rope_scaling_factor=2.0))
    assert isinstance(stretched, Plan)
    assert stretched.forecast.session >= 200_000


def test_more_chats_than_the_engine_takes() -> None:
    answer = plan(Wish(chats=2000), llama_forms(), [card(200)])
    assert isinstance(answer, NothingFits)
    assert "1,024 chats" in answer.reason


def test_a_model_of_unknown_size_cannot_be_planned() -> None:
    shape = read_shape({"architectures": ["LlamaForCausalLM"]}, made.text_headers(made.LLAMA_3_8B))
    answer = plan(Wish(), [WeightForm(name="16-bit", shape=shape, path="/m")], [card(24)])
    assert isinstance(answer, NothingFits)
    assert "config.json" in answer.reason


def test_a_session_that_is_too_short_for_the_wish_grows() -> None:
    answer = plan(LLAMA_8K, llama_forms(), [card(48)], EngineConfig(session_len=4096))
    assert isinstance(answer, Plan)
    assert answer.config.session_len == 8192


def test_the_nearest_setting_lowers_the_ratio_first() -> None:
    config = EngineConfig(cache_max_entry_count=0.98)
    assert not forecast(llama_shape(), config, [card(24)]).fits
    answer = nearest(llama_forms()[:1], config, [card(24)])
    assert isinstance(answer, Plan)
    assert msgspec.structs.replace(answer.config, cache_max_entry_count=0.98) == config
    assert 0 <= answer.forecast.free < 0.02 * GIB


def test_the_nearest_setting_may_need_more_cache_than_was_set() -> None:
    answer = nearest(llama_forms()[:1], EngineConfig(cache_max_entry_count=0.0001), [card(24)])
    assert isinstance(answer, Plan)
    assert answer.forecast.chats(2048) == 1


def test_cards_that_are_not_there() -> None:
    answer = nearest(llama_forms(), EngineConfig(tp=2), [card(24)])
    assert answer == NothingFits(reason="2 cards are needed, there are 1")


def test_the_largest_cache() -> None:
    shape, config = llama_shape(), EngineConfig()
    found = largest_cache(shape, config, [card(24)])
    assert found is not None
    assert found.fits
    more = with_ratio(config, round(found.ratio * 1000) + 1)
    assert not forecast(shape, more, [card(24)]).fits
    assert largest_cache(shape, config, [card(16)]) is None


def test_a_plan_needs_weights_and_a_card() -> None:
    with pytest.raises(ValueError, match="weights and a card"):
        plan(Wish(), [], [card(24)])
    with pytest.raises(ValueError, match="weights and a card"):
        plan(Wish(), llama_forms(), [])
