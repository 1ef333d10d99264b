"""What will happen with a setting, in one sentence, and what another one changes."""

from __future__ import annotations

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import Confidence, Forecast
from desktop.domain.memory_plan import NothingFits, Plan

_GIB = 2**30


def outlook(found: Forecast, context: int = 0) -> str:
    """One sentence: whether it fits, what it holds and what stays free, or how much is missing and for what.

    context: tokens of the chats that it counts, 0: of a whole session.
    """
    context = context or found.session
    free = f"{gigabytes(found.free)} stay free"
    if found.fits:
        if not found.block:
            return f"Fits: {gigabytes(found.kv)} for the KV cache, {free}."
        chats = min(found.chats(context), found.batch)
        if not chats:
            return f"Fits, but not one chat of {context:,} tokens: the KV cache holds {found.tokens:,}; {free}."
        return f"Fits: {_chats(chats)} of {context:,} tokens, {free}."
    if found.loads:
        short = gigabytes(-found.free)
        return f"Loads, but {short} more should be kept free for long prompts and for what a forecast cannot know."
    missing = -(found.free + found.margin)
    place = "memory" if found.backend is Backend.CPU else "video memory"
    if not found.before_cache:
        return (
            f"Needs {gigabytes(missing)} more {place} than is free: the weights alone take {gigabytes(found.weights)}."
        )
    if missing <= 0:
        return f"Cannot answer: the KV cache of {gigabytes(found.kv)} has no room for a single block."
    return (
        f"Needs {gigabytes(missing)} more {place} than is free: the KV cache takes {gigabytes(found.kv)} "
        f"and leaves too little for a workspace of {gigabytes(found.workspace)}."
    )


_TRUST = {
    Confidence.LEARNED: "corrected by what earlier loads here took",
    Confidence.MEASURED: "this family was measured, on other cards",
    Confidence.SIMILAR: "models of the same kind were measured, on other cards",
    Confidence.DERIVED: "calculated from what the engine does, not measured",
    Confidence.ESTIMATED: "estimated, because the sizes of the weights are taken from config.json",
    Confidence.ROUGH: "rough, because something that matters is not known",
}


def trust(found: Forecast) -> str:
    """How far the forecast is to be trusted, as the end of a sentence; its notes say why."""
    return _TRUST[found.confidence]


def advice(answer: Plan | NothingFits, asked: EngineConfig) -> str:
    """What to change so that it fits, or what it would take; one sentence. asked: the setting that does not fit."""
    if isinstance(answer, NothingFits):
        if answer.reason:
            return f"Nothing helps: {answer.reason}."
        if not answer.card_bytes:
            return "No setting fits, on a card of any size."
        if answer.lossless_bytes in (0, answer.card_bytes):
            return f"No setting fits: it takes a card of {gigabytes(answer.card_bytes)}."
        return (
            f"No setting fits: it takes a card of {gigabytes(answer.card_bytes)}, "
            f"or of {gigabytes(answer.lossless_bytes)} without loss of quality."
        )
    changes = changed(asked, answer.config)
    if not answer.form.path:
        changes = [f"{answer.form.name} weights, which have to be made first", *changes]
    return f"This fits: {', '.join(changes)}." if changes else "This fits as it is."


def changed(before: EngineConfig, after: EngineConfig) -> list[str]:
    """What is different, in words for the screen; empty where nothing is that concerns memory."""
    words = []
    if after.quant_policy != before.quant_policy:
        words.append(f"a KV cache of {after.quant_policy or 16} bits")
    if after.tp != before.tp:
        words.append(f"{after.tp} cards" if after.tp > 1 else "1 card")
    if after.max_prefill_token_num != before.max_prefill_token_num:
        words.append(f"prompts in steps of {after.max_prefill_token_num:,} tokens")
    if after.max_batch_size != before.max_batch_size:
        words.append(f"{after.max_batch_size} replies at once")
    if after.session_len != before.session_len and after.session_len is not None:
        words.append(f"sessions of {after.session_len:,} tokens")
    if after.cache_max_entry_count != before.cache_max_entry_count:
        words.append(f"a cache ratio of {after.cache_max_entry_count:g}")
    return words


def _chats(count: int) -> str:
    return "1 chat" if count == 1 else f"{count:,} chats"


def gigabytes(size: int) -> str:
    """GB of 2^30 bytes, as everywhere on screen; what is little in MB of 2^20, so that it is not 0.0."""
    return f"{size / _GIB:.1f} GB" if size >= 0.95 * _GIB or size <= 0 else f"{max(1, round(size / 2**20))} MB"
