"""What loading a checkpoint will take of a card's or the machine's memory, before anything is loaded.

Pure arithmetic: a forecast takes microseconds. Sizes are bytes, on each of the cards that share the model. The
formulas are those of LMDeploy's source (C++ files of version 0.16, Python files of 0.18). Only CONTEXT is fitted to
measurements: the eight published ones in tests/domain/data/vram_rows.csv, all from LMDeploy 0.3 to 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory_shape import MemoryShape

MIB = 2**20

# CUDA context, torch and the workspace of TurboMind's matrix kernels; fitted on the rows of InternLM2-1.8B.
CONTEXT = 450 * MIB
# Python, torch, Transformers and LMDeploy in the engine's process. Resident memory beside the weights, measured on
# Linux with torch 2.12 after loading models of 4, 148 and 778 million parameters: 956, 985 and 1022 MiB. About 400 MiB
# of it are files of libraries, which other programs may share.
CPU_PROCESS = 1000 * MIB
# TurboMind cuts its region into pages of at most this size (models/llama/object_cache_plan.cc).
_PAGE = 32 * MIB
# A scale and a zero point of 16 bits for each head of each token (kernels/attention/block.h).
_KV_QUANT_PARAMETERS = 4
DEFAULT_SESSION = 4096


class CardMemory(msgspec.Struct, frozen=True):
    """The memory of one card, or the machine's own for the CPU. used: by others than the engine. index: the card's."""

    total: int
    used: int = 0
    index: int = 0

    @property
    def available(self) -> int:
        """What the engine may take."""
        return max(0, self.total - self.used)


class Confidence(StrEnum):
    """How far a forecast is to be trusted, the best first."""

    LEARNED = "learned"  # corrected by loads on this card
    MEASURED = "measured"  # this family, on other cards, with older versions
    SIMILAR = "similar"  # the same kind of model as the measured ones
    DERIVED = "derived"  # from the engine's source; nobody measured it
    ESTIMATED = "estimated"  # from a config.json alone: the weights were not counted
    ROUGH = "rough"  # something that matters is not known


# Memory to keep free beyond the forecast. Our own allowance: the measured rows were off by at most 54 MiB, what was
# not measured gets more.
_MARGINS = {
    Confidence.LEARNED: 256 * MIB,
    Confidence.MEASURED: 256 * MIB,
    Confidence.SIMILAR: 384 * MIB,
    Confidence.DERIVED: 768 * MIB,
    Confidence.ESTIMATED: 768 * MIB,
    Confidence.ROUGH: 1024 * MIB,
}


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What one load will take on each of its cards, in bytes; for the CPU of the machine's memory.

    total and others: of the tightest card. context: driver, libraries and kernels. language, embeddings, vision: the
    weights. ratio and kv: the share and the region of the KV cache; on the CPU the most it may grow to. workspace:
    activations and buffers. residual: what earlier loads took more than was forecast (it may be negative). margin: to
    be kept free for what comes while it runs: long prompts, and what the forecast cannot know. before_cache: what the
    cache ratio is a share of.

    block: bytes of one KV block, of block_tokens tokens, 0 where config.json does not say enough. page: bytes that the
    region is cut into. state: bytes that a request keeps whatever its length. session: tokens of a chat at most.
    batch: replies at once at most. notes: why the confidence is what it is, and what else to know.
    """

    backend: Backend
    cards: int
    total: int
    others: int
    context: int
    language: int
    embeddings: int
    vision: int
    ratio: float
    kv: int
    workspace: int
    residual: int
    margin: int
    before_cache: int
    block: int
    block_tokens: int
    page: int
    state: int
    session: int
    batch: int
    confidence: Confidence
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> int:
        """All weights."""
        return self.language + self.embeddings + self.vision

    @property
    def loaded(self) -> int:
        """What the engine will hold once it is loaded: to be compared with the measured value.

        On the CPU cache and activations come only with the replies.
        """
        return self.context + self.weights + self.residual if self.backend is Backend.CPU else self.engine

    @property
    def engine(self) -> int:
        """What the engine will hold in the end."""
        return self.context + self.weights + self.kv + self.workspace + self.residual

    @property
    def free(self) -> int:
        """What stays free for others after the margin; negative: how much is missing."""
        return self.total - self.others - self.engine - self.margin

    @property
    def loads(self) -> bool:
        """Whether it loads and can answer at all, with less kept free than it ought to be."""
        return self.free + self.margin >= 0 and (not self.block or self.tokens > 0)

    @property
    def fits(self) -> bool:
        """Whether it loads and keeps the margin."""
        return self.free >= 0 and self.loads

    @property
    def tokens(self) -> int:
        """Tokens that the KV region holds, 0 where that is not known."""
        return self.kv // self.page * (self.page // self.block) * self.block_tokens if self.block else 0

    def chats(self, context: int) -> int:
        """How many chats of so many tokens the KV region holds at once; `batch` may let fewer run.

        A chat takes whole blocks. ValueError for a context below one token.
        """
        if context < 1:
            raise ValueError("a chat has at least one token")
        if not self.block:
            return 0
        return self.kv // self.page * self.page // self.chat_bytes(context)

    def chat_bytes(self, context: int) -> int:
        """Bytes of the KV region that a chat of so many tokens takes."""
        return -(-context // self.block_tokens) * self.block + self.state

    def region_for(self, chats: int, context: int) -> int:
        """The smallest KV region that holds so many chats of so many tokens."""
        return -(-chats * self.chat_bytes(context) // self.page) * self.page


def forecast(shape: MemoryShape, config: EngineConfig, cards: Sequence[CardMemory], residual: int = 0) -> Forecast:
    """Forecast one load.

    cards: those it will run on, all of them (the tightest decides), or the machine's own memory for the CPU backend.
    AUTO is forecast as TurboMind. residual: bytes that loads on these cards with this backend took more than their
    forecast without residual; what they took less is negative. It counts as workspace, because the cache ratio is taken
    before the workspace: so it is never shared out to the cache. ValueError without cards.
    """
    if not cards:
        raise ValueError("a forecast needs at least one card")
    tightest = min(cards, key=_available)
    if config.backend is Backend.CPU:
        terms = _cpu_terms(shape, config, tightest.available)
    elif config.backend is Backend.PYTORCH:
        terms = _pytorch_terms(shape, config, tightest.available)
    else:
        terms = _turbomind_terms(shape, config, tightest.available)
    confidence, notes = _confidence(shape, config, residual)
    kv = min(int(terms.before_cache * config.cache_max_entry_count), terms.most_kv)
    session = config.session_len or shape.config.context_length or DEFAULT_SESSION
    # A long prompt's keys and values are unpacked to 16 bits, one layer at a time (unified_attention_layer.cc).
    held = kv * terms.block_tokens // terms.block if terms.block else 0
    margin = _MARGINS[confidence] + terms.long_prompt_token * min(session, held)
    return Forecast(
        backend=config.backend,
        cards=config.tp,
        total=tightest.total,
        others=tightest.used,
        context=terms.context,
        language=terms.language,
        embeddings=terms.embeddings,
        vision=terms.vision,
        ratio=config.cache_max_entry_count,
        kv=kv,
        workspace=terms.workspace,
        residual=residual,
        margin=margin,
        before_cache=terms.before_cache,
        block=terms.block,
        block_tokens=terms.block_tokens,
        page=max(terms.page, 1),
        state=terms.state,
        session=session,
        batch=config.max_batch_size,
        confidence=confidence,
        notes=notes,
    )


def kv_block_bytes(shape: MemoryShape, quant_policy: int = 0, block_tokens: int = 64, cards: int = 1) -> int:
    """Bytes of one KV block on each card, 0 where config.json does not say enough.

    tokens x layers x KV heads x 2 x (head size x bits / 8 + 4 where quantized): kernels/attention/block.h. Sliding
    windows do not shrink it.
    """
    layers = shape.config.layers if shape.details.attention_layers is None else shape.details.attention_layers
    heads, head_size, copies = _kv_heads(shape, cards)
    extra = _KV_QUANT_PARAMETERS if quant_policy else 0
    return block_tokens * (layers or 0) * heads * copies * (head_size * (quant_policy or 16) // 8 + extra)


def _kv_heads(shape: MemoryShape, cards: int) -> tuple[int, int, int]:
    """KV heads on each card, their size, and 2 for keys and values.

    Latent attention keeps one head for keys and values together (models/glm4_moe_lite.py). Cards that outnumber the KV
    heads repeat them (builders/attention.py).
    """
    if shape.details.latent_size:
        return 1, shape.details.latent_size + shape.details.latent_rope_size, 1
    return -(-(shape.config.kv_heads or 0) // cards), shape.config.head_dim or 0, 2


def _available(card: CardMemory) -> int:
    return card.available


class _Terms(NamedTuple):
    """See Forecast. most_kv: the KV region grows no further. long_prompt_token: of a long prompt, bytes a token."""

    context: int
    language: int
    embeddings: int
    vision: int
    workspace: int
    before_cache: int
    block: int
    block_tokens: int
    page: int
    state: int = 0
    most_kv: int = 1 << 62
    long_prompt_token: int = 0


def _turbomind_terms(shape: MemoryShape, config: EngineConfig, available: int) -> _Terms:
    weights, tp = shape.weights, config.tp
    kv_heads = shape.config.kv_heads or 1
    repeated = -(-kv_heads // tp) * tp - kv_heads
    language = weights.language.on_card(tp) + weights.keys_values * repeated // kv_heads // tp
    embeddings = weights.embeddings.on_card(tp)
    vision = 0 if config.language_model_only else weights.vision.on_card(tp)
    block = kv_block_bytes(shape, config.quant_policy, config.cache_block_seq_len, tp)
    heads, head_size, _ = _kv_heads(shape, tp)
    return _Terms(
        context=CONTEXT,
        language=language,
        embeddings=embeddings,
        vision=vision,
        workspace=_turbomind_workspace(shape, config),
        # The share is taken of what is free on the tightest card after weights and context (turbomind.cc).
        before_cache=max(0, available - CONTEXT - language - embeddings - vision),
        block=block,
        block_tokens=config.cache_block_seq_len,
        page=_PAGE // block * block if 0 < block <= _PAGE else block,
        state=2 * shape.details.state_values // tp,
        long_prompt_token=4 * heads * head_size,
    )


def _turbomind_workspace(shape: MemoryShape, config: EngineConfig) -> int:
    """Activations and buffers, allocated after the cache; T tokens at once, B requests.

    4 T H for the hidden states, the larger of feed-forward and attention, the partial sums of split attention, the
    token ids of all sessions, logits with their sorted copy. With experts: inputs and outputs of k experts a token,
    its routing (moe_ffn_layer.cc). Activations of a vision tower are not in it.
    """
    model, details, tp = shape.config, shape.details, config.tp
    batch = config.max_batch_size
    tokens = config.max_prefill_token_num + batch
    hidden, heads = model.hidden_size or 0, -(-(model.heads or 0) // tp)
    kv_heads, head_size, _ = _kv_heads(shape, tp)
    session = config.session_len or model.context_length or DEFAULT_SESSION
    dense = model.intermediate_size or 0
    if details.experts and not details.dense_layers:
        dense = details.shared_intermediate_size
    feed_forward = 4 * tokens * dense // tp
    if details.experts:
        picked, width = details.experts_per_token, details.expert_intermediate_size
        routed = picked * tokens * (2 * hidden + 4 * width // tp + 16) + 5 * tokens * details.experts
        feed_forward = max(feed_forward, routed + 4 * tokens * details.shared_intermediate_size // tp)
    attention = tokens * head_size * (4 * heads + 8 * kv_heads)
    partial_sums = 16384 * heads * head_size
    ids_and_logits = 4 * batch * session + 8 * batch * (model.vocab_size or 0)
    return 4 * tokens * hidden + max(feed_forward, attention) + partial_sums + ids_and_logits


def _pytorch_terms(shape: MemoryShape, config: EngineConfig, available: int) -> _Terms:
    """LMDeploy's PyTorch engine: it keeps room for logits and takes the share of what is then left.

    Source: lmdeploy/pytorch/engine/executor/base.py. Weights are as in the files, tied embeddings once. Recorded CUDA
    graphs are not in it. Where 16 blocks do not fit the engine halves the prefill by itself; here it does not fit.
    """
    weights, tp, batch = shape.weights, config.tp, config.max_batch_size
    embeddings = 2 * weights.embedding_parameters // tp
    vision = 0 if config.language_model_only else weights.vision.on_card(tp)
    language = max(0, weights.stored - 2 * weights.embedding_parameters - weights.vision.on_card()) // tp
    block = kv_block_bytes(shape, config.quant_policy, config.cache_block_seq_len, tp)
    state = 2 * shape.details.state_values // tp
    free = max(0, available - CONTEXT - language - embeddings - vision - state * (batch + 2))
    runtime = (config.max_prefill_token_num + 2 * batch) * (shape.config.vocab_size or 0) * 2
    return _Terms(
        context=CONTEXT,
        language=language,
        embeddings=embeddings,
        vision=vision,
        workspace=runtime + state * (batch + 2),
        before_cache=max(0, free - runtime),
        block=block,
        block_tokens=config.cache_block_seq_len,
        page=block,
    )


def _cpu_terms(shape: MemoryShape, config: EngineConfig, available: int) -> _Terms:
    """Our CPU backend: weights in float32 where that takes at most a quarter of the free memory, else in 16 bits.

    Source: cpu_loading.py (the number type; packed weights are unpacked), cpu_decoders.py (the cache: two buffers a
    layer that grow as chats do, up to the share or to max_batch_size full sessions), cpu_backend.py (the piece of a
    prompt that is computed at once).
    """
    weights, model = shape.weights, shape.config
    size = 4 if weights.parameters * 4 <= available // 4 else 2
    vision = weights.vision.on_card() // 2 * size
    embeddings = weights.embedding_parameters * size  # tied ones once
    language = max(0, weights.parameters * size - vision - embeddings)
    before_cache = max(0, available - CPU_PROCESS - language - embeddings - vision)
    block = kv_block_bytes(shape, 0, 32) * size // 2
    session = config.session_len or model.context_length or DEFAULT_SESSION
    piece = min(config.max_prefill_token_num, max(32, int(1e10 / (2 * max(weights.parameters, 1)))))
    width = max(3 * (model.intermediate_size or 0), (model.heads or 0) * (model.head_dim or 0) * 3)
    rows = config.max_batch_size * (model.vocab_size or 0)
    return _Terms(
        context=CPU_PROCESS,
        language=language,
        embeddings=embeddings,
        vision=vision,
        workspace=size * (piece * (width + 2 * (model.hidden_size or 0)) + 2 * rows),
        before_cache=before_cache,
        block=block,
        block_tokens=32,
        page=block,
        most_kv=config.max_batch_size * -(-session // 32) * block if block else 0,
    )


_MEASURED_FAMILY = "InternLM2ForCausalLM"


def _confidence(shape: MemoryShape, config: EngineConfig, residual: int) -> tuple[Confidence, tuple[str, ...]]:
    details = shape.details
    rough, derived = [], []
    if not shape.complete:
        rough.append("config.json does not say how large the layers are, so the workspace and the tokens are unknown")
    if config.backend is Backend.PYTORCH:
        rough.append("the PyTorch engine's CUDA graphs and its own pool of memory are not in the formula")
    if config.backend is Backend.CPU:
        derived.append("the cache grows with the chats; while it grows, up to half as much again is held for a moment")
    if not shape.weights.exact:
        derived.append("the weights are estimated from config.json, nobody has looked into their files")
    if details.experts:
        derived.append("models with experts were not measured")
    if details.latent_size or details.state_values:
        derived.append("this kind of attention was not measured")
    if shape.weights.vision.on_card() and not config.language_model_only:
        derived.append("what the vision tower takes while it reads a picture was not measured")
    if config.tp > 1:
        derived.append("the buffers through which several cards talk were not measured")
    if shape.quantization not in ("", "awq"):
        derived.append(f"{shape.quantization} weights were not measured")
    notes = (*rough, *derived)
    if rough:
        return Confidence.ROUGH, notes
    if not shape.weights.exact:
        return Confidence.ESTIMATED, notes
    if residual:
        return Confidence.LEARNED, (*notes, "corrected by what earlier loads here took")
    if derived:
        return Confidence.DERIVED, notes
    old = "measured with LMDeploy 0.3 to 0.5, within 2 %"
    if shape.config.architecture == _MEASURED_FAMILY:
        return Confidence.MEASURED, (f"this family was {old}",)
    return Confidence.SIMILAR, (f"a model of the same kind was {old}",)
