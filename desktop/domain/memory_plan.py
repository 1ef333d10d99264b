"""From a wish to the setting that makes it come true at the smallest loss, or the plain fact that none does.

The order of what is given up, the first first; plan() never takes a later step where an earlier one is enough:

1. Requests at once beyond the chats wished for: they only wait.
2. The length of a prefill step, down to 512 tokens: a long prompt takes longer to read, the answer is the same.
3. More cards, where there are: the same answer, but the cards are not free for anything else.
4. The KV cache in 8 bits: InternLM2.5-7B lost 0.2 points on GSM8K and none on MMLU (85.67 -> 85.44, 72.30 -> 72.27;
   docs/en/quantization/kv_quant.md of LMDeploy).
5. The KV cache in 4 bits: 1 to 2 points there (GSM8K 83.78, MMLU 71.17).
6. Weights in 8 bits, then in 4: 1 to 6 points on hard tests (llm_compressor.md there: AWQ of Qwen3-8B on MMLU-Pro
   73.69 -> 72.34, AIME 2025 69.48 -> 63.96). A form that is on the disk comes before one that has to be made.

Weights weigh most: a step of the KV cache is tried with all the others before the next form of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import DEFAULT_SESSION, MIB, CardMemory, Forecast, forecast
from desktop.domain.memory_shape import MemoryShape, awq_shape

RATIO_STEPS = 1000  # cache ratios are whole thousandths
MOST_RATIO = 990  # thousandths; TurboMind ends itself at 1
_PREFILLS = (4096, 2048, 1024, 512)
_BATCHES = (128, 64, 32, 16, 8, 4, 2, 1)
_MOST_BATCH = 1024  # EngineConfig.problems()
_LEAST_CONTEXT = 2048
_NO_CARD = 1 << 30  # MiB; no search looks for a larger card
# Head sizes whose kernels for a quantized cache TurboMind has (kernels/attention/kernel/decoding_sm80_*.cu).
_KV_HEADS = {8: (64, 128, 192, 256), 4: (64, 128, 256)}
_WEIGHT_LOSS = {"": 0, "mxfp4": 0, "fp8": 1, "smooth_quant": 1}  # MXFP4 is what its models were published in


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """So many chats of so many tokens at once.

    leave_free: bytes that must stay free on each card beyond the margin; the KV cache takes all the rest. None: the
    cache takes what the chats need and no more.
    """

    chats: int = 1
    context: int = _LEAST_CONTEXT
    leave_free: int | None = None


class WeightForm(msgspec.Struct, frozen=True, kw_only=True):
    """A form in which a model's weights can be had. path: its folder, "" where it has to be quantized first."""

    name: str
    shape: MemoryShape
    path: str = ""

    @property
    def loss(self) -> int:
        """0: as published, 1: 8 bits, 2: 4 bits."""
        quantization = self.shape.config.quantization
        if quantization is not None and quantization.bits == 8:
            return 1
        return _WEIGHT_LOSS.get(self.shape.quantization, 2)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that does what was wished, and its forecast. devices: the numbers of the cards it runs on."""

    form: WeightForm
    config: EngineConfig
    forecast: Forecast
    devices: tuple[int, ...]


class NothingFits(msgspec.Struct, frozen=True, kw_only=True):
    """No setting does it. reason: what no card could change, a sentence, else "".

    card_bytes: what a single card must have in all, with every step that saves memory; lossless_bytes: without loss of
    quality; both with what others use of the emptiest card, 0 where no card helps.
    """

    reason: str = ""
    card_bytes: int = 0
    lossless_bytes: int = 0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of what can be given up; its cache ratio is still to be found."""

    form: WeightForm
    config: EngineConfig
    cards: tuple[CardMemory, ...]


def forms_of(name: str, shape: MemoryShape, path: str) -> tuple[WeightForm, ...]:
    """The form on the disk, and AWQ where the weights can be packed."""
    here = WeightForm(name=name, shape=shape, path=path)
    if not shape.weights.packable:
        return (here,)
    return here, WeightForm(name="AWQ", shape=awq_shape(shape))


def plan(
    wish: Wish,
    forms: Sequence[WeightForm],
    cards: Sequence[CardMemory],
    base: EngineConfig | None = None,
    residual: int = 0,
) -> Plan | NothingFits:
    """The setting that loses least of those that make the wish come true.

    forms: the weights there are, of one model. cards: those that may be used (or the machine's memory for the CPU).
    base: what else is set; its prefill, its batch and, where it is named, its session length are the largest that are
    tried, except that the wish itself may need more. residual: see forecast(). ValueError without forms or cards.
    """
    base = base or EngineConfig()
    if not forms or not cards:
        raise ValueError("a plan needs weights and a card")
    if reason := _impossible(wish, forms, base):
        return NothingFits(reason=reason)
    found = _first(groups(wish, forms, cards, base), wish, residual)
    return found or _what_card(wish, forms, cards, base, residual)


def nearest(
    forms: Sequence[WeightForm], config: EngineConfig, cards: Sequence[CardMemory], residual: int = 0
) -> Plan | NothingFits:
    """The setting that fits and is nearest to one that does not: nothing gets better than it was set.

    It holds at least one chat of 2,048 tokens, or of a whole session that is shorter. The cache ratio stays as near to
    the one that was set as fits. forms: the chosen one, and others that may take its place.
    """
    session = config.session_len or forms[0].shape.config.context_length or _LEAST_CONTEXT
    wish = Wish(chats=1, context=min(_LEAST_CONTEXT, session), leave_free=0)
    if reason := _impossible(wish, forms, config):
        return NothingFits(reason=reason)
    if config.tp > len(cards):
        return NothingFits(reason=f"{config.tp} cards are needed, there are {len(cards)}")
    steps = max(1, round(config.cache_max_entry_count * RATIO_STEPS))
    saving = (0, 8, 4)[(0, 8, 4).index(config.quant_policy) :]
    tried = (
        group
        for group in groups(wish, forms, cards, config)
        if group[0].config.quant_policy in saving and group[0].config.tp == config.tp
    )
    found = _first(tried, wish, residual, steps)
    return found or _what_card(wish, forms, cards, config, residual)


def largest_cache(
    shape: MemoryShape, config: EngineConfig, cards: Sequence[CardMemory], residual: int = 0, leave_free: int = 0
) -> Forecast | None:
    """The forecast with the largest cache ratio that fits and leaves so much free; None where none does."""
    return _largest(shape, config, cards, residual, leave_free, 1, MOST_RATIO)


def with_ratio(config: EngineConfig, thousandths: int) -> EngineConfig:
    """The same setting with another cache ratio."""
    return msgspec.structs.replace(config, cache_max_entry_count=thousandths / RATIO_STEPS)


def groups(
    wish: Wish, forms: Sequence[WeightForm], cards: Sequence[CardMemory], base: EngineConfig
) -> Iterator[tuple[Candidate, ...]]:
    """Every candidate, what loses least first; those of one group differ in prefill and batch only."""
    cpu = base.backend is Backend.CPU
    emptiest = sorted(cards, key=lambda card: -card.available)
    batches = [max(base.max_batch_size, wish.chats)]
    batches += [count for count in (*_BATCHES, wish.chats) if wish.chats <= count < batches[0]]
    batches = sorted(set(batches), reverse=True)
    prefills = [base.max_prefill_token_num, *(count for count in _PREFILLS if count < base.max_prefill_token_num)]
    session = base.session_len
    for form in sorted(forms, key=_form_order):
        model = form.shape.config
        length = session if session is None or session >= wish.context else wish.context
        if length is None and (model.context_length or DEFAULT_SESSION) < wish.context:
            length = wish.context
        for bits in (0, 8, 4):
            if bits and (cpu or model.head_dim not in _KV_HEADS[bits] or form.shape.details.latent_size):
                continue
            for tp in _tensor_parallel(form, cards, cpu):
                used = tuple(emptiest[:tp])
                devices = tuple(sorted(card.index for card in used)) if len(cards) > 1 else base.devices
                settings = {"quant_policy": bits, "tp": tp, "devices": devices, "session_len": length}
                yield tuple(
                    Candidate(
                        form=form,
                        cards=used,
                        config=msgspec.structs.replace(
                            base, max_prefill_token_num=prefill, max_batch_size=batch, **settings
                        ),
                    )
                    for prefill in prefills
                    for batch in batches
                )


def _form_order(form: WeightForm) -> tuple[int, bool]:
    return form.loss, not form.path


def _tensor_parallel(form: WeightForm, cards: Sequence[CardMemory], cpu: bool) -> list[int]:
    heads = form.shape.config.heads or 1
    return [count for count in (1, 2, 4, 8) if count == 1 or (count <= len(cards) and not heads % count and not cpu)]


def _first(tried: Iterator[tuple[Candidate, ...]], wish: Wish, residual: int, most: int = MOST_RATIO) -> Plan | None:
    """most: thousandths that the ratio may not pass unless the wished chats need more."""
    for group in tried:
        # The last of a group takes least: where it does not fit, none of the group does.
        if _least(group[-1], wish, residual) is None:
            continue
        for candidate in group:
            if found := _least(candidate, wish, residual):
                return _settled(candidate, found, wish, residual, most)
    return None


def _least(candidate: Candidate, wish: Wish, residual: int) -> Forecast | None:
    """The forecast with the smallest cache ratio that holds the chats; None where it leaves too little.

    A larger ratio leaves less, so there is none either.
    """
    shape, cards = candidate.form.shape, candidate.cards
    found = forecast(shape, candidate.config, cards, residual)
    if not found.block or not found.before_cache:
        return None
    region = found.region_for(wish.chats, wish.context)
    if found.free + found.margin + found.kv - region < (wish.leave_free or 0):
        return None  # not even without a margin
    steps = max(1, -(-region * RATIO_STEPS // found.before_cache))
    while steps <= MOST_RATIO:
        found = forecast(shape, with_ratio(candidate.config, steps), cards, residual)
        if found.kv >= region:
            return found if found.fits and found.free >= (wish.leave_free or 0) else None
        steps += 1  # a product of fractions may come out one byte short
    return None


def _settled(candidate: Candidate, found: Forecast, wish: Wish, residual: int, most: int) -> Plan:
    shape, config, cards = candidate.form.shape, candidate.config, candidate.cards
    if wish.leave_free is not None:
        steps = round(found.ratio * RATIO_STEPS)
        found = _largest(shape, config, cards, residual, wish.leave_free, steps, max(most, steps)) or found
    used = tuple(sorted(card.index for card in cards))
    config = msgspec.structs.replace(config, cache_max_entry_count=found.ratio)
    return Plan(form=candidate.form, config=config, forecast=found, devices=used)


def _largest(
    shape: MemoryShape,
    config: EngineConfig,
    cards: Sequence[CardMemory],
    residual: int,
    leave_free: int,
    low: int,
    high: int,
) -> Forecast | None:
    best = None
    while low <= high:
        middle = (low + high) // 2
        found = forecast(shape, with_ratio(config, middle), cards, residual)
        # Too small a region holds not even one block: look further up, as where there is room to spare.
        if found.free >= leave_free:
            best, low = (found if found.fits else best), middle + 1
        else:
            high = middle - 1
    return best


def _impossible(wish: Wish, forms: Sequence[WeightForm], base: EngineConfig) -> str:
    """Why no card could do it, "" where one could."""
    if wish.chats < 1 or wish.context < 1:
        return "a wish needs at least one chat of one token"
    if wish.chats > _MOST_BATCH:
        return f"the engine answers at most {_MOST_BATCH:,} chats at once"
    if not any(form.shape.complete for form in forms):
        return "config.json does not say how large the model's layers are"
    longest = max(form.shape.config.context_length or 0 for form in forms)
    stretch = max(1.0, base.rope_scaling_factor)
    if longest and not base.hf_overrides and wish.context > longest * stretch:
        return f"the model reads at most {int(longest * stretch):,} tokens"
    return ""


def _what_card(
    wish: Wish, forms: Sequence[WeightForm], cards: Sequence[CardMemory], base: EngineConfig, residual: int
) -> NothingFits:
    emptiest = max(cards, key=lambda card: card.available)
    tried = [group[-1] for group in groups(wish, forms, [emptiest], base)]
    lossless = [one for one in tried if one.form.loss == 0 and not one.config.quant_policy]
    return NothingFits(
        card_bytes=_smallest_card(tried, emptiest, wish, residual),
        lossless_bytes=_smallest_card(lossless, emptiest, wish, residual),
    )


def _smallest_card(tried: Sequence[Candidate], like: CardMemory, wish: Wish, residual: int) -> int:
    """Bytes of the smallest card, in whole MiB, on which one of the candidates does it; 0 where none does."""

    def does(candidate: Candidate, size: int) -> bool:
        card = msgspec.structs.replace(like, total=size * MIB)
        return _least(msgspec.structs.replace(candidate, cards=(card,)), wish, residual) is not None

    smallest = 0
    for candidate in reversed(tried):  # what needs least comes last, and then the others are soon ruled out
        if smallest and not does(candidate, smallest - 1):
            continue
        if candidate.config.backend is Backend.CPU:  # its number type changes with the memory: nothing is too little
            start, high = 0, smallest or like.total // MIB + 1
        else:
            start = _too_small(candidate, like, wish, residual)
            high = start + 1
        low = start
        while high < _NO_CARD and not does(candidate, high):
            low, high = high, 2 * high - start
        if high >= _NO_CARD:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if does(candidate, middle) else (middle, high)
        smallest = high
    return smallest * MIB


def _too_small(candidate: Candidate, like: CardMemory, wish: Wish, residual: int) -> int:
    """MiB of a card that are too few, as many as can be told at once: what is needed beside the margin that grows."""
    bare = forecast(candidate.form.shape, with_ratio(candidate.config, 0), [like], residual)
    needed = like.total - bare.free + bare.region_for(wish.chats, wish.context) + (wish.leave_free or 0)
    return max(0, needed // MIB - 1)
