"""One sentence says what will happen, and what would help."""

from __future__ import annotations

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory, Confidence, forecast
from desktop.domain.memory_plan import NothingFits, forms_of, nearest
from desktop.domain.memory_shape import read_shape
from desktop.domain.memory_words import advice, changed, outlook, trust
from tests.domain import headers as made
from tests.domain.memory_models import GIB, card, llama_shape


def said(config: EngineConfig, one: CardMemory, context: int = 0) -> str:
    return outlook(forecast(llama_shape(), config, [one]), context)


def test_it_fits() -> None:
    config = EngineConfig(max_batch_size=8, max_prefill_token_num=2048)
    found = forecast(llama_shape(), config, [card(32)])
    assert found.chats(8192) > 8
    assert said(config, card(32), 8192) == f"Fits: 8 chats of 8,192 tokens, {found.free / GIB:.1f} GB stay free."


def test_a_whole_session_is_meant_where_no_context_is_named() -> None:
    found = said(EngineConfig(session_len=30_000), card(24))
    assert found.startswith("Fits: 1 chat of 30,000 tokens, ")


def test_it_fits_but_not_one_chat() -> None:
    found = said(EngineConfig(cache_max_entry_count=0.2), card(24))
    assert found.startswith("Fits, but not one chat of 131,072 tokens: the KV cache holds 14,080; ")


def test_it_loads_with_too_little_left() -> None:
    config = EngineConfig(cache_max_entry_count=0.9)
    found = forecast(llama_shape(), config, [card(24)])
    assert not found.fits
    assert found.loads
    assert said(config, card(24)).startswith("Loads, but ")


def test_the_weights_alone_are_too_large() -> None:
    found = said(EngineConfig(), card(12))
    assert found == "Needs 4.0 GB more video memory than is free: the weights alone take 15.0 GB."


def test_the_cache_takes_too_much() -> None:
    found = said(EngineConfig(cache_max_entry_count=0.98), card(24))
    assert "more video memory than is free: the KV cache takes 8.4 GB and leaves too little" in found


def test_the_machine_has_memory_and_not_video_memory() -> None:
    assert "more memory than is free" in said(EngineConfig(backend=Backend.CPU), card(8))


def test_a_cache_without_a_block() -> None:
    found = said(EngineConfig(cache_max_entry_count=0.0001), card(24))
    assert found == "Cannot answer: the KV cache of 1 MB has no room for a single block."


def test_a_model_of_unknown_size() -> None:
    shape = read_shape({"architectures": ["LlamaForCausalLM"]}, made.text_headers(made.LLAMA_3_8B))
    found = outlook(forecast(shape, EngineConfig(), [card(24)]))
    assert found.startswith("Fits: 6.9 GB for the KV cache, ")


def test_advice_names_what_to_change() -> None:
    asked = EngineConfig(cache_max_entry_count=0.98)
    answer = nearest(forms_of("16-bit", llama_shape(), "/m"), asked, [card(24)])
    assert advice(answer, asked).startswith("This fits: a cache ratio of 0.854.")


def test_advice_to_quantize() -> None:
    answer = nearest(forms_of("16-bit", llama_shape(), "/m"), EngineConfig(), [card(12)])
    assert advice(answer, EngineConfig()).startswith("This fits: AWQ weights, which have to be made first")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            NothingFits(reason="the model reads at most 4,096 tokens"),
            "Nothing helps: the model reads at most 4,096 tokens.",
        ),
        (NothingFits(), "No setting fits, on a card of any size."),
        (NothingFits(card_bytes=8 * GIB, lossless_bytes=8 * GIB), "No setting fits: it takes a card of 8.0 GB."),
        (
            NothingFits(card_bytes=8 * GIB, lossless_bytes=20 * GIB),
            "No setting fits: it takes a card of 8.0 GB, or of 20.0 GB without loss of quality.",
        ),
    ],
)
def test_advice_where_nothing_fits(answer: NothingFits, words: str) -> None:
    assert advice(answer, EngineConfig()) == words


def test_changes_in_words() -> None:
    before = EngineConfig()
    after = EngineConfig(
        quant_policy=8,
        tp=2,
        max_prefill_token_num=2048,
        max_batch_size=4,
        session_len=8192,
        cache_max_entry_count=0.412,
    )
    assert changed(before, after) == [
        "a KV cache of 8 bits",
        "2 cards",
        "prompts in steps of 2,048 tokens",
        "4 replies at once",
        "sessions of 8,192 tokens",
        "a cache ratio of 0.412",
    ]
    assert changed(before, before) == []


@pytest.mark.parametrize("confidence", list(Confidence))
def test_each_confidence_has_words(confidence: Confidence) -> None:
    found = forecast(llama_shape(), EngineConfig(), [card(24)])
    assert trust(msgspec.structs.replace(found, confidence=confidence))
