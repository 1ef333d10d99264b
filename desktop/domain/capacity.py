"""What the pages about memory show: sizes of the cache in all its units, the capacity table, presets."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from desktop.domain.engine_config import EngineConfig
from desktop.domain.memory import CardMemory, Forecast, forecast
from desktop.domain.memory_plan import (
    MOST_RATIO,
    RATIO_STEPS,
    NothingFits,
    Plan,
    WeightForm,
    Wish,
    largest_cache,
    nearest,
    plan,
)


def ratio_for_bytes(shown: Forecast, size: int) -> float:
    """The smallest cache ratio whose region has at least so many bytes; the largest there is where none has.

    shown: a forecast of the same setting; its own ratio does not matter. The next forecast has tokens and chats.
    """
    steps = -(-size * RATIO_STEPS // shown.before_cache) if shown.before_cache else MOST_RATIO
    if int(shown.before_cache * (steps / RATIO_STEPS)) < size:
        steps += 1  # a product of fractions may come out one byte short
    return min(max(steps, 1), MOST_RATIO) / RATIO_STEPS


def ratio_for_chats(shown: Forecast, chats: int, context: int) -> float:
    """The smallest cache ratio whose region holds so many chats of so many tokens; see ratio_for_bytes()."""
    return ratio_for_bytes(shown, shown.region_for(chats, context) if shown.block else 0)


def ratio_for_tokens(shown: Forecast, tokens: int) -> float:
    """The smallest cache ratio whose region holds so many tokens in all; see ratio_for_bytes()."""
    blocks = -(-tokens // shown.block_tokens)
    pages = -(-blocks // (shown.page // shown.block)) if shown.block else 0
    return ratio_for_bytes(shown, pages * shown.page)


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: weights in this form with a KV cache of 16, 8 or 4 bits (0, 8, 4).

    forecast: with the largest cache ratio that fits, so chats(context) says how many; None where nothing fits.
    """

    form: WeightForm
    quant_policy: int
    forecast: Forecast | None


def capacity_table(
    forms: Sequence[WeightForm], cards: Sequence[CardMemory], config: EngineConfig, residual: int = 0
) -> tuple[Capacity, ...]:
    """What these cards can hold at most: one cell for each form of the weights and each precision of the KV cache.

    All but the weights, the KV precision and the cache ratio is as in config.
    """
    return tuple(
        Capacity(
            form=form,
            quant_policy=bits,
            forecast=largest_cache(form.shape, msgspec.structs.replace(config, quant_policy=bits), cards, residual),
        )
        for form in forms
        for bits in (0, 8, 4)
    )


class Preset(StrEnum):
    """What a load is for."""

    BALANCED = "balanced"
    LONGEST_CONTEXT = "longest_context"
    MOST_CHATS = "most_chats"
    SMALLEST = "smallest"


_BALANCED = ((8, 8192), (4, 8192), (4, 4096), (1, 8192), (1, 2048))
_MANY = (128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
_CHAT = 2048
_LITTLE = 512
_STEP = 1024


def preset(
    kind: Preset, form: WeightForm, cards: Sequence[CardMemory], base: EngineConfig, residual: int = 0
) -> Plan | NothingFits:
    """The setting of a preset for these weights on these cards; base says what else is set.

    BALANCED: the first of 8 x 8k, 4 x 8k, 4 x 4k, 1 x 8k and 1 x 2k chats x tokens that fits without loss of quality,
    with the cache ratio at the engine's own 0.8 or as near to it as fits; where none does, the last with what loss it
    needs.
    LONGEST_CONTEXT: one chat as long as fits, at most what the model reads, its KV cache in 16 bits where that is
    enough, else in 8, else in 4. MOST_CHATS: as many chats of 2,048 tokens as fit, at most 128. SMALLEST: one chat of
    2,048 tokens and as little memory as that takes, without loss of quality.
    """
    longest = form.shape.config.context_length or _CHAT
    if kind is Preset.BALANCED:
        return _balanced(form, cards, base, residual, longest)
    if kind is Preset.LONGEST_CONTEXT:
        return _longest(form, cards, base, residual, longest)
    if kind is Preset.MOST_CHATS:
        context = min(_CHAT, longest)
        config = msgspec.structs.replace(base, max_batch_size=1, session_len=None)
        found: Plan | NothingFits = NothingFits()
        for chats in _MANY:
            found = plan(Wish(chats=chats, context=context, leave_free=0), [form], cards, config, residual)
            if isinstance(found, Plan):
                break
        return found
    little = msgspec.structs.replace(
        base, max_batch_size=1, max_prefill_token_num=min(_LITTLE, base.max_prefill_token_num), session_len=None
    )
    return plan(Wish(chats=1, context=min(_CHAT, longest)), [form], cards, little, residual)


def _balanced(
    form: WeightForm, cards: Sequence[CardMemory], base: EngineConfig, residual: int, longest: int
) -> Plan | NothingFits:
    usual = msgspec.structs.replace(base, cache_max_entry_count=EngineConfig().cache_max_entry_count, session_len=None)
    found: Plan | NothingFits = NothingFits()
    for chats, context in _BALANCED:
        found = plan(Wish(chats=chats, context=min(context, longest)), [form], cards, usual, residual)
        if isinstance(found, Plan) and not found.config.quant_policy:
            break
    if isinstance(found, NothingFits):
        return found
    # More than was wished, where the usual ratio fits.
    used = [card for card in cards if card.index in found.devices]
    roomy = msgspec.structs.replace(
        found.config, cache_max_entry_count=max(usual.cache_max_entry_count, found.forecast.ratio)
    )
    wider = nearest([form], roomy, used, residual)
    return wider if isinstance(wider, Plan) and wider.forecast.kv >= found.forecast.kv else found


def _longest(
    form: WeightForm, cards: Sequence[CardMemory], base: EngineConfig, residual: int, longest: int
) -> Plan | NothingFits:
    config = msgspec.structs.replace(base, max_batch_size=1, session_len=None)
    low, high = 1, -(-longest // _STEP)
    best = plan(Wish(chats=1, context=min(_STEP, longest)), [form], cards, config, residual)
    while isinstance(best, Plan) and low < high:
        middle = (low + high + 1) // 2
        found = plan(Wish(chats=1, context=min(middle * _STEP, longest)), [form], cards, config, residual)
        if isinstance(found, Plan):
            best, low = found, middle
        else:
            high = middle - 1
    if isinstance(best, NothingFits):
        return best
    session = min(low * _STEP, longest)
    config = msgspec.structs.replace(best.config, session_len=session)
    used = [card for card in cards if card.index in best.devices]
    return msgspec.structs.replace(best, config=config, forecast=forecast(form.shape, config, used, residual))
