"""The forecast against published measurements, and the laws it must keep."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CONTEXT, CPU_PROCESS, CardMemory, Confidence, Forecast, forecast, kv_block_bytes
from desktop.domain.memory_shape import MemoryShape, read_shape
from tests.domain import headers as made
from tests.domain.memory_models import GIB, MIB, card, card_lists, llama_shape, settings, shapes

ROWS = Path(__file__).parent / "data" / "vram_rows.csv"


def measured_rows() -> list[dict[str, str]]:
    lines = (line for line in ROWS.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return list(csv.DictReader(lines))


def row_shape(row: dict[str, str]) -> MemoryShape:
    names = ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab")
    layers, hidden, heads, kv_heads, head_dim, intermediate, vocab = (int(row[name]) for name in names)
    config: dict[str, Any] = {
        "architectures": ["InternLM2ForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "tie_word_embeddings": False,
        "max_position_embeddings": 32768,  # of both models' config.json
    }
    headers = made.internlm2_headers(config)
    if row["weights"] == "awq":
        headers = made.packed(headers, "awq")
        config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 128}
    return read_shape(config, headers)


@pytest.mark.parametrize(
    "row", measured_rows(), ids=lambda row: f"{row['model']}-{row['weights']}-{row['cache_ratio']}"
)
def test_measured_rows_within_2_percent(row: dict[str, str]) -> None:
    # The defaults of those versions, on every card then.
    config = EngineConfig(
        cache_max_entry_count=float(row["cache_ratio"]), max_batch_size=128, max_prefill_token_num=8192
    )
    found = forecast(row_shape(row), config, [CardMemory(int(row["card_mib"]) * MIB)])
    assert found.engine / MIB == pytest.approx(int(row["measured_mib"]), rel=0.02)
    assert found.confidence is Confidence.MEASURED


def test_there_are_eight_measured_rows() -> None:
    assert len(measured_rows()) == 8


@pytest.mark.parametrize(("batch", "prefill", "mib"), [(128, 8192, 755), (4, 2048, 212)])
def test_workspace_of_internlm25_7b(batch: int, prefill: int, mib: int) -> None:
    """As worked out by hand from the C++ sources when they were read."""
    shape = read_shape(made.INTERNLM25_7B, made.internlm2_headers(made.INTERNLM25_7B))
    config = EngineConfig(max_batch_size=batch, max_prefill_token_num=prefill)
    found = forecast(shape, config, [card(24)])
    assert round(found.workspace / MIB) == mib
    tokens, hidden, feed_forward = prefill + batch, 4096, 14336
    ids, logits, sums = 4 * batch * 32768, 8 * batch * 92544, 16384 * 32 * 128
    assert found.workspace == 4 * tokens * hidden + 4 * tokens * feed_forward + sums + ids + logits


def test_the_region_is_cut_into_pages() -> None:
    """Of 32 MiB at most: four blocks of 8 MiB, and what is left of the last page holds nothing."""
    found = forecast(llama_shape(), EngineConfig(), [card(24)])
    assert (found.block, found.page) == (8 * MIB, 32 * MIB)
    assert found.tokens == found.kv // (32 * MIB) * 4 * 64


def test_block_of_internvl25_8b() -> None:
    """8.000 MB, as its log says: LMDeploy issue 3411."""
    assert kv_block_bytes(read_shape(made.INTERNVL25_8B)) == 8 * MIB


def test_block_of_gpt_oss_with_4_bits() -> None:
    """0.844 MB, as its log says: LMDeploy issue 3949. 24 layers, 8 KV heads of 64."""
    found = kv_block_bytes(read_shape(made.GPT_OSS_20B), quant_policy=4)
    assert found == 24 * 8 * 2 * 64 * (64 // 2 + 4)
    assert f"{found / MIB:.3f}" == "0.844"


def test_latent_attention_keeps_one_head_for_keys_and_values() -> None:
    config = {**made.LLAMA_3_8B, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_hidden_layers": 47}
    assert kv_block_bytes(read_shape(config)) == 64 * 47 * 576 * 2


def test_only_layers_with_full_attention_keep_keys_and_values() -> None:
    kinds = ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 8
    linear = {
        "layer_types": kinds,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
    }
    shape = read_shape({**made.LLAMA_3_8B, **linear})
    assert kv_block_bytes(shape) == 64 * 8 * 8 * 2 * 256
    found = forecast(shape, EngineConfig(), [card(24)])
    assert found.state == 24 * ((2 * 16 * 128 + 32 * 128) * 4 + 32 * 128 * 128) * 2
    assert found.chat_bytes(64) == found.block + found.state
    assert found.confidence is Confidence.ESTIMATED


@pytest.mark.parametrize(("bits", "gain"), [(8, 1.94), (4, 3.76)])
def test_a_quantized_cache_holds_more_but_not_twice_as_much(bits: Any, gain: float) -> None:
    shape = llama_shape()
    plain = forecast(shape, EngineConfig(), [card(24)])
    quantized = forecast(shape, EngineConfig(quant_policy=bits), [card(24)])
    assert quantized.tokens / plain.tokens == pytest.approx(gain, rel=0.01)
    assert quantized.engine == plain.engine  # the share of the memory is the same


def test_the_parts_add_up() -> None:
    found = forecast(llama_shape(), EngineConfig(), [card(24, 2)], residual=100 * MIB)
    assert found.context == CONTEXT
    assert found.weights == 2 * 8_030_261_248
    assert found.before_cache == 22 * GIB - found.context - found.weights
    assert found.kv == int(found.before_cache * 0.8)
    assert found.engine == found.context + found.weights + found.kv + found.workspace + 100 * MIB
    assert found.total == found.others + found.engine + found.margin + found.free


def test_a_chat_takes_whole_blocks() -> None:
    found = forecast(llama_shape(), EngineConfig(), [card(24)])
    assert found.block == 64 * 32 * 8 * 2 * 256
    assert found.chats(65) == found.tokens // 128
    assert found.region_for(1, 1) == found.page
    with pytest.raises(ValueError, match="at least one token"):
        found.chats(0)


def test_the_tightest_card_decides() -> None:
    config = EngineConfig(tp=2)
    both = forecast(llama_shape(), config, [card(24, 1), card(24, 6, index=1)])
    tight = forecast(llama_shape(), config, [card(24, 6), card(24, 6, index=1)])
    assert both == tight
    assert any("several cards" in note for note in both.notes)


def test_cards_that_outnumber_the_kv_heads_repeat_them() -> None:
    shape = read_shape(made.QWEN25_7B, made.text_headers(made.QWEN25_7B, bias=True))  # 4 KV heads
    assert kv_block_bytes(shape, cards=4) == kv_block_bytes(shape, cards=8) == kv_block_bytes(shape) // 4
    eight = forecast(shape, EngineConfig(tp=8), [card(24, index=index) for index in range(8)])
    assert eight.language == shape.weights.language.on_card(8) + shape.weights.keys_values // 8


def test_a_forecast_without_a_card_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one card"):
        forecast(llama_shape(), EngineConfig(), [])


def test_a_language_model_alone_leaves_the_tower_out() -> None:
    shape = read_shape(made.QWEN25_VL_7B, made.text_headers(made.QWEN25_7B) | made.qwen25_vit_headers(3584))
    whole, text = (forecast(shape, EngineConfig(language_model_only=only), [card(24)]) for only in (False, True))
    assert whole.vision == shape.weights.vision.on_card()
    assert text.vision == 0
    assert whole.confidence is Confidence.DERIVED
    assert text.confidence is Confidence.SIMILAR


def test_experts_need_room_for_their_inputs() -> None:
    shape = read_shape(made.QWEN3_30B_A3B)
    found = forecast(shape, EngineConfig(max_prefill_token_num=8192), [card(80)])
    tokens = 8192 + 16
    assert found.workspace > 4 * tokens * 2048 + 8 * tokens * (2 * 2048 + 4 * 768)
    assert any("experts" in note for note in found.notes)


@pytest.mark.parametrize(
    ("config", "confidence"),
    [
        (EngineConfig(), Confidence.SIMILAR),
        (EngineConfig(tp=2), Confidence.DERIVED),
        (EngineConfig(backend=Backend.CPU), Confidence.DERIVED),
        (EngineConfig(backend=Backend.PYTORCH), Confidence.ROUGH),
    ],
)
def test_confidence(config: EngineConfig, confidence: Confidence) -> None:
    found = forecast(llama_shape(), config, [card(48), card(48, index=1)])
    assert found.confidence is confidence
    assert found.notes


def test_loads_on_this_card_correct_the_forecast() -> None:
    shape, config, cards = llama_shape(), EngineConfig(), [card(24)]
    first = forecast(shape, config, cards)
    measured = first.engine + 321 * MIB
    again = forecast(shape, config, cards, residual=measured - first.engine)
    assert again.engine == measured
    assert again.confidence is Confidence.LEARNED
    assert again.kv == first.kv
    assert again.margin < first.margin


def test_numbers_that_config_json_does_not_say_are_named() -> None:
    headers = made.text_headers(made.LLAMA_3_8B)
    shape = read_shape({"architectures": ["LlamaForCausalLM"]}, headers)
    found = forecast(shape, EngineConfig(), [card(24)])
    assert found.weights == 2 * 8_030_261_248
    assert (found.tokens, found.chats(2048), found.confidence) == (0, 0, Confidence.ROUGH)
    assert "config.json does not say" in found.notes[0]
    assert found.fits


def test_the_pytorch_engine_keeps_room_for_logits_and_embeddings_once() -> None:
    """executor/base.py: (prefill + 2 batch) x vocabulary x 2 bytes, then the share of what is left."""
    shape = read_shape(made.QWEN3_0_6B, made.text_headers(made.QWEN3_0_6B, qk_norm=True))
    config = EngineConfig(backend=Backend.PYTORCH, max_batch_size=16, max_prefill_token_num=4096)
    found = forecast(shape, config, [card(24)])
    assert found.weights == 2 * 596_049_920
    assert found.workspace == (4096 + 2 * 16) * 151936 * 2
    assert found.kv == int((24 * GIB - CONTEXT - found.weights - found.workspace) * 0.8)


@pytest.mark.parametrize(("gib", "size"), [(80, 4), (4, 2)])
def test_the_cpu_widens_weights_where_there_is_room(gib: int, size: int) -> None:
    """cpu_loading.py: float32 when it takes at most a quarter of the free memory."""
    shape = read_shape(made.QWEN3_0_6B, made.text_headers(made.QWEN3_0_6B, qk_norm=True))
    found = forecast(shape, EngineConfig(backend=Backend.CPU, session_len=2048), [card(gib)])
    assert found.weights == size * 596_049_920
    assert found.context == CPU_PROCESS
    assert found.block == 32 * 28 * 8 * 2 * 128 * size
    assert found.kv <= 16 * 2048 // 32 * found.block


def test_the_cpu_unpacks_awq() -> None:
    headers = made.text_headers(made.QWEN25_7B, bias=True)
    quantization = {"quant_method": "awq", "bits": 4, "group_size": 128}
    shape = read_shape({**made.QWEN25_7B, "quantization_config": quantization}, made.packed(headers, "awq"))
    found = forecast(shape, EngineConfig(backend=Backend.CPU), [card(32)])
    assert found.weights == 2 * 7_615_616_512


def test_a_forecast_can_be_kept_and_sent() -> None:
    shape = llama_shape()
    found = forecast(shape, EngineConfig(), [card(24)])
    assert msgspec.json.decode(msgspec.json.encode(shape), type=MemoryShape) == shape
    assert msgspec.json.decode(msgspec.json.encode(found), type=Forecast) == found


@given(shape=shapes(), config=settings, cards=card_lists(), more=st.integers(1, 64 * GIB))
def test_more_memory_never_holds_fewer_chats(
    shape: MemoryShape, config: EngineConfig, cards: list[CardMemory], more: int
) -> None:
    assume(config.backend is not Backend.CPU)  # which widens its weights to float32 where there is room
    larger = [CardMemory(one.total + more, one.used, one.index) for one in cards]
    before, after = forecast(shape, config, cards), forecast(shape, config, larger)
    assert after.tokens >= before.tokens
    assert after.chats(2048) >= before.chats(2048)


@given(
    shape=shapes(),
    config=settings,
    cards=card_lists(),
    ratios=st.tuples(st.floats(0.001, 0.99), st.floats(0.001, 0.99)),
)
def test_a_larger_ratio_holds_no_fewer_tokens_and_leaves_no_more_free(
    shape: MemoryShape, config: EngineConfig, cards: list[CardMemory], ratios: tuple[float, float]
) -> None:
    small, large = (
        forecast(shape, msgspec.structs.replace(config, cache_max_entry_count=ratio), cards) for ratio in sorted(ratios)
    )
    assert large.tokens >= small.tokens
    assert large.free <= small.free


@given(shape=shapes(), config=settings, cards=card_lists())
def test_the_cache_never_holds_more_than_its_bytes(
    shape: MemoryShape, config: EngineConfig, cards: list[CardMemory]
) -> None:
    found = forecast(shape, config, cards)
    assert found.tokens // found.block_tokens * found.block <= found.kv
    chats = found.chats(1000)
    assert found.region_for(chats, 1000) <= found.kv
    assert found.region_for(chats + 1, 1000) > found.kv


@given(shape=shapes(), config=settings, cards=card_lists(), less=st.integers(1, 512))
def test_a_smaller_prefill_or_batch_never_needs_more(
    shape: MemoryShape, config: EngineConfig, cards: list[CardMemory], less: int
) -> None:
    smaller = msgspec.structs.replace(
        config,
        max_prefill_token_num=max(1, config.max_prefill_token_num - less),
        max_batch_size=max(1, config.max_batch_size - less),
    )
    before, after = forecast(shape, config, cards), forecast(shape, smaller, cards)
    assert after.workspace <= before.workspace
    assert after.before_cache >= before.before_cache


@given(shape=shapes(), backend=st.sampled_from((Backend.TURBOMIND, Backend.PYTORCH)))
def test_more_cards_hold_no_more_on_each(shape: MemoryShape, backend: Backend) -> None:
    one, two = (
        forecast(shape, EngineConfig(backend=backend, tp=count), [card(200), card(200, index=1)]) for count in (1, 2)
    )
    assert two.weights <= one.weights
    assert two.block <= one.block
