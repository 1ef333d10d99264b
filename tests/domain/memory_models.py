"""Shapes, cards and wishes for tests of the forecast: real families and any that hypothesis thinks of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from desktop.domain.checkpoint import CheckpointConfig, Quantization
from desktop.domain.checkpoint_details import CheckpointDetails
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory
from desktop.domain.memory_plan import WeightForm, Wish
from desktop.domain.memory_shape import MemoryShape, read_shape
from desktop.domain.weights import Part, Weights
from tests.domain import headers as made

GIB, MIB = 2**30, 2**20


def llama_shape() -> MemoryShape:
    return read_shape(made.LLAMA_3_8B, made.text_headers(made.LLAMA_3_8B))


def card(gib: float, used_gib: float = 0.0, index: int = 0) -> CardMemory:
    return CardMemory(total=int(gib * GIB), used=int(used_gib * GIB), index=index)


@st.composite
def shapes(draw: st.DrawFn) -> MemoryShape:
    """Any model, small or large, dense or with experts, that reads up to 128k tokens."""
    kv_heads = draw(st.sampled_from((1, 2, 4, 8, 16)))
    heads = kv_heads * draw(st.sampled_from((1, 2, 4, 7)))
    head_dim = draw(st.sampled_from((64, 80, 128, 192, 256)))
    layers = draw(st.integers(1, 96))
    experts = draw(st.sampled_from((0, 0, 8, 128)))
    hybrid = draw(st.sampled_from((False, False, False, True)))
    return MemoryShape(
        config=CheckpointConfig(
            architecture=draw(st.sampled_from(("InternLM2ForCausalLM", "LlamaForCausalLM"))),
            model_type="",
            quantization=None,
            context_length=draw(st.sampled_from((None, 2048, 32768, 131072))),
            vision=False,
            needs_remote_code=False,
            tied_embeddings=draw(st.booleans()),
            layers=layers,
            hidden_size=heads * head_dim,
            intermediate_size=draw(st.integers(256, 32768)),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocab_size=draw(st.integers(1000, 260_000)),
        ),
        details=CheckpointDetails(
            experts=experts,
            experts_per_token=min(8, experts),
            expert_intermediate_size=768 if experts else 0,
            attention_layers=-(-layers // 4) if hybrid else None,
            state_values=layers * 100_000 if hybrid else 0,
        ),
        weights=draw(weights()),
    )


@st.composite
def weights(draw: st.DrawFn) -> Weights:
    language = draw(st.sampled_from((GIB // 2, 3 * GIB, 14 * GIB, 28 * GIB, 60 * GIB))) + draw(st.integers(0, 4 * GIB))
    embeddings = draw(st.integers(MIB, 4 * GIB))
    vision = draw(st.sampled_from((0, 0, 600 * MIB)))
    return Weights(
        language=Part(language, language // 1000),
        embeddings=Part(embeddings),
        vision=Part(vision, vision // 100),
        keys_values=language // 20,
        parameters=(language + embeddings + vision) // 2,
        embedding_parameters=embeddings // 2,
        stored=language + embeddings + vision,
        exact=draw(st.booleans()),
    )


@st.composite
def forms(draw: st.DrawFn) -> list[WeightForm]:
    """One to three forms of one model, each on the disk or still to be made, in any order."""
    shape = draw(shapes())
    found = [WeightForm(name="16-bit", shape=shape, path=draw(st.sampled_from(("", "/m"))))]
    for method, bits, share in (("fp8", 8, 0.52), ("awq", 4, 0.28)):
        if draw(st.booleans()):
            found.append(
                WeightForm(
                    name=method,
                    shape=quantized(shape, method, bits, share),
                    path=draw(st.sampled_from(("", "/q"))),
                )
            )
    return draw(st.permutations(found))


def quantized(shape: MemoryShape, method: str, bits: int, share: float) -> MemoryShape:
    values: dict[str, Any] = {name: getattr(shape.config, name) for name in shape.config.__struct_fields__}
    held = shape.weights
    language = Part(int(held.language.split * share), held.language.copied)
    return MemoryShape(
        config=CheckpointConfig(**{**values, "quantization": Quantization(method=method, bits=bits)}),
        details=shape.details,
        weights=Weights(
            language=language,
            embeddings=held.embeddings,
            vision=held.vision,
            keys_values=int(held.keys_values * share),
            parameters=held.parameters,
            embedding_parameters=held.embedding_parameters,
            stored=language.split + held.embeddings.split,
            exact=held.exact,
        ),
    )


@st.composite
def card_lists(draw: st.DrawFn) -> list[CardMemory]:
    count = draw(st.integers(1, 3))
    cards = []
    for index in range(count):
        total = draw(st.sampled_from((2, 6, 12, 16, 24, 32, 48, 80))) * GIB + draw(st.integers(0, 4 * GIB))
        cards.append(CardMemory(total=total, used=draw(st.integers(0, total)) // 4, index=index))
    return cards


wishes = st.builds(
    Wish,
    chats=st.integers(1, 40),
    context=st.sampled_from((1, 100, 2048, 8192, 32768)),
    leave_free=st.none() | st.integers(0, 24).map(GIB.__mul__) | st.integers(0, 24 * GIB),
)
settings = st.builds(
    EngineConfig,
    backend=st.sampled_from((Backend.AUTO, Backend.TURBOMIND, Backend.TURBOMIND, Backend.PYTORCH, Backend.CPU)),
    max_batch_size=st.sampled_from((1, 3, 16, 128)),
    max_prefill_token_num=st.sampled_from((512, 1000, 2048, 8192)),
    session_len=st.sampled_from((None, 4096)),
    cache_max_entry_count=st.sampled_from((0.01, 0.2, 0.8, 0.95)),
    quant_policy=st.sampled_from((0, 0, 4, 8)),
)
