"""Weights on a card, counted from headers of real families; their parameters are those their authors publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desktop.domain.checkpoint import parse_config
from desktop.domain.memory_shape import awq_shape, read_shape
from desktop.domain.weights import Part, Weights, as_awq, weights_on_card
from desktop.storage.safetensors_header import read_header
from tests.domain import headers as made

DEMO = Path(__file__).parents[2] / "resources" / "demo-checkpoint"

QWEN3_PARAMETERS = 596_049_920
LLAMA_PARAMETERS = 8_030_261_248
MOE_PARAMETERS = 30_532_122_624
INTERNVL_PARAMETERS = 8_075_365_376
QWEN_VL_PARAMETERS = 8_292_166_656
QWEN_PARAMETERS = 7_615_616_512

SIXTEEN_BIT = {
    "Qwen3-0.6B": (made.QWEN3_0_6B, made.text_headers(made.QWEN3_0_6B, qk_norm=True), QWEN3_PARAMETERS),
    "Llama-3.1-8B": (made.LLAMA_3_8B, made.text_headers(made.LLAMA_3_8B), LLAMA_PARAMETERS),
    "Qwen2.5-7B": (made.QWEN25_7B, made.text_headers(made.QWEN25_7B, bias=True), QWEN_PARAMETERS),
    "Qwen3-30B-A3B": (made.QWEN3_30B_A3B, made.text_headers(made.QWEN3_30B_A3B, qk_norm=True), MOE_PARAMETERS),
    "InternVL2.5-8B": (
        made.INTERNVL25_8B,
        made.with_prefix("language_model.", made.internlm2_headers(made.INTERNVL25_8B["llm_config"]))
        | made.intern_vit_headers(1024, 24, 4096),
        INTERNVL_PARAMETERS,
    ),
    "Qwen2.5-VL-7B": (
        made.QWEN25_VL_7B,
        made.text_headers(made.QWEN25_7B, bias=True) | made.qwen25_vit_headers(3584),
        QWEN_VL_PARAMETERS,
    ),
}


def weights_of(name: str) -> Weights:
    config, headers, _ = SIXTEEN_BIT[name]
    return read_shape(config, headers).weights


@pytest.mark.parametrize("name", SIXTEEN_BIT)
def test_the_headers_are_those_of_the_published_model(name: str) -> None:
    _, headers, published = SIXTEEN_BIT[name]
    assert made.parameters(headers) == published
    assert weights_of(name).parameters == published


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen2.5-7B", "Qwen3-30B-A3B", "InternVL2.5-8B"])
def test_16_bit_weights_take_two_bytes_each(name: str) -> None:
    published = SIXTEEN_BIT[name][2]
    weights = weights_of(name)
    assert weights.total == 2 * published
    assert weights.stored == 2 * published
    assert weights.exact


def test_tied_embeddings_are_held_twice_on_a_card_and_once_elsewhere() -> None:
    weights = weights_of("Qwen3-0.6B")
    table = 151936 * 1024
    assert weights.embeddings.on_card() == 2 * 2 * table
    assert weights.total == 2 * (QWEN3_PARAMETERS + table)
    assert weights.stored == 2 * QWEN3_PARAMETERS
    assert weights.embedding_parameters == table


def test_an_output_layer_beside_a_tied_embedding_changes_nothing_on_the_card() -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen3-0.6B"]
    both = headers | {"lm_head.weight": made.entry(151936, 1024)}
    assert read_shape(config, both).weights.total == weights_of("Qwen3-0.6B").total


def test_a_file_without_an_output_layer_is_tied_whatever_the_config_says() -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen3-0.6B"]
    silent = {key: value for key, value in config.items() if key != "tie_word_embeddings"}
    assert read_shape(silent, headers).weights.total == weights_of("Qwen3-0.6B").total


def test_the_parts_of_a_vision_model() -> None:
    weights = weights_of("InternVL2.5-8B")
    assert weights.vision.on_card() == 2 * (304_012_288 + 33_570_816)  # InternViT-300M and its projector
    assert weights.embeddings.on_card() == 2 * 2 * 92553 * 4096


def test_heads_of_a_qwen_tower_are_padded() -> None:
    """16 heads of 80 become 16 of 128, the middle layer of 3420 becomes 3424 (models/qwen2_vl.py)."""
    size, width, padded = 1280, 3424, 16 * 128
    layer = 3 * padded * size + 3 * padded + size * padded + size  # query, key and value; output
    layer += 2 * (width * size + width) + size * width + size + 2 * size
    merger = size + 5120 * 5120 + 5120 + 3584 * 5120 + 3584
    tower = 32 * layer + 1280 * 3 * 2 * 14 * 14 + merger
    assert weights_of("Qwen2.5-VL-7B").vision.on_card() == 2 * tower
    assert weights_of("Qwen2.5-VL-7B").language == weights_of("Qwen2.5-7B").language


def test_latent_attention_is_folded() -> None:
    """kv_b_proj goes into the query and the output, both of heads x (latent + rotary) (builders/mla.py)."""
    heads, hidden, latent, rope, plain, value, query = 20, 2048, 512, 64, 192, 256, 768
    config = {
        **made.LLAMA_3_8B,
        "num_hidden_layers": 1,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "kv_lora_rank": latent,
        "qk_rope_head_dim": rope,
        "q_lora_rank": query,
    }
    at = "model.layers.0.self_attn."
    headers = {
        "model.embed_tokens.weight": made.entry(1000, hidden),
        "lm_head.weight": made.entry(1000, hidden),
        at + "q_a_proj.weight": made.entry(query, hidden),
        at + "q_b_proj.weight": made.entry(heads * (plain + rope), query),
        at + "kv_a_proj_with_mqa.weight": made.entry(latent + rope, hidden),
        at + "kv_b_proj.weight": made.entry(heads * (plain + value), latent),
        at + "o_proj.weight": made.entry(hidden, heads * value),
    }
    folded = heads * (latent + rope)
    expected = query * hidden + folded * query + (latent + rope) * hidden + hidden * folded
    assert read_shape(config, headers).weights.language.on_card() == 2 * expected


@pytest.mark.parametrize("method", ["awq", "gptq", "compressed-tensors"])
@pytest.mark.parametrize("name", ["Qwen2.5-7B", "Llama-3.1-8B", "Qwen3-30B-A3B"])
def test_4_bit_weights_take_053125_bytes_each(name: str, method: str) -> None:
    config, headers, published = SIXTEEN_BIT[name]
    four_bit = made.packed(headers, method)
    linear = sum(made.parameters({key: headers[key]}) for key in headers.keys() - four_bit.keys())
    assert linear > 0.8 * published
    quantization = {"quant_method": method, "bits": 4, "group_size": 128}
    if method == "compressed-tensors":
        quantization = {"quant_method": method, "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}
    weights = read_shape({**config, "quantization_config": quantization}, four_bit).weights
    expected = linear * 0.53125 + 2 * (published - linear)
    assert weights.total == pytest.approx(expected, rel=0.005)
    assert weights.total == expected  # these shapes are whole groups
    assert weights.parameters == published


@pytest.mark.parametrize("name", SIXTEEN_BIT)
def test_what_awq_will_take_is_known_before_it_is_done(name: str) -> None:
    config, headers, _ = SIXTEEN_BIT[name]
    before = read_shape(config, headers)
    done = {**config, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    if "llm_config" in config:
        done["llm_config"] = {**config["llm_config"], "quantization_config": done["quantization_config"]}
    after = read_shape(done, made.packed(headers, "awq"))
    forecast = awq_shape(before)
    assert forecast.weights.total == pytest.approx(after.weights.total, rel=1e-6)
    assert forecast.weights.stored == pytest.approx(after.weights.stored, rel=1e-6)
    assert forecast.weights.keys_values == pytest.approx(after.weights.keys_values, rel=1e-3)  # biases stay
    assert forecast.quantization == after.quantization == "awq"


def test_what_is_packed_cannot_be_packed_again() -> None:
    packed = as_awq(weights_of("Qwen2.5-7B"))
    with pytest.raises(ValueError, match="cannot be packed"):
        as_awq(packed)


def test_layers_that_are_not_whole_groups_cannot_be_packed() -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen3-0.6B"]
    odd = headers | {"model.layers.0.mlp.down_proj.weight": made.entry(1024, 3000)}
    assert read_shape(config, odd).weights.packable == 0


def test_fp8_weights_take_a_byte_and_at_most_their_scales() -> None:
    config, headers, published = SIXTEEN_BIT["Llama-3.1-8B"]
    fp8 = made.packed(headers, "fp8")
    total = read_shape({**config, "quantization_config": {"quant_method": "fp8"}}, fp8).weights.total
    linear = sum(made.parameters({key: fp8[key]}) for key in fp8 if fp8[key].dtype == "F8_E4M3")
    rest = published - linear
    assert linear + 2 * rest < total <= linear * (1 + 2 / 128) + 2 * rest


def test_mxfp4_experts_stay_as_they_are() -> None:
    headers = made.gpt_oss_headers()
    weights = read_shape(made.GPT_OSS_20B, headers).weights
    assert weights.total == sum(tensor.size for tensor in headers.values())
    assert weights.parameters == pytest.approx(20.9e9, rel=0.01)  # as published, rounded


def test_what_no_engine_reads_does_not_count() -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen3-0.6B"]
    unread = headers | {
        "model.layers.28.mlp.up_proj.weight": made.entry(3072, 1024),  # one layer more than num_hidden_layers
        "mtp.layers.0.mlp.up_proj.weight": made.entry(3072, 1024),
        "model.layers.0.self_attn.rotary_emb.inv_freq": made.entry(64, dtype="F32"),
    }
    assert read_shape(config, unread).weights == weights_of("Qwen3-0.6B")


def test_32_bit_files_are_loaded_as_16_bits() -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen3-0.6B"]
    wide = {name: made.entry(*tensor.shape, dtype="F32") for name, tensor in headers.items()}
    assert read_shape(config, wide).weights == weights_of("Qwen3-0.6B")


def test_two_cards_share_what_can_be_split() -> None:
    weights = weights_of("Qwen3-30B-A3B")
    routers = 2 * 48 * 128 * 2048
    norms = 2 * (48 * (2 * 2048 + 2 * 128) + 2048)
    assert weights.language.copied == routers + norms
    assert weights.language.on_card(2) == (weights.language.on_card() - routers - norms) // 2 + routers + norms


def test_a_share_is_rounded_up() -> None:
    assert Part(split=5, copied=2).on_card(2) == 5
    assert Part(split=5, copied=2).on_card() == 7


@pytest.mark.parametrize("name", SIXTEEN_BIT)
def test_an_estimate_from_the_config_alone_is_near(name: str) -> None:
    config = SIXTEEN_BIT[name][0]
    estimated, counted = read_shape(config).weights, weights_of(name)
    assert not estimated.exact
    assert estimated.total == pytest.approx(counted.total, rel=0.005)
    assert estimated.parameters == pytest.approx(counted.parameters, rel=0.005)


@pytest.mark.parametrize(("method", "error"), [("awq", 0.001), ("gptq", 0.001), ("fp8", 0.001)])
def test_an_estimate_of_quantized_weights(method: str, error: float) -> None:
    config, headers, _ = SIXTEEN_BIT["Qwen2.5-7B"]
    quantized: dict[str, Any] = {**config, "quantization_config": {"quant_method": method, "bits": 4}}
    if method == "fp8":
        quantized["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    counted = read_shape(quantized, made.packed(headers, method)).weights
    assert read_shape(quantized).weights.total == pytest.approx(counted.total, rel=error)


def test_an_estimate_of_mxfp4_experts() -> None:
    counted = read_shape(made.GPT_OSS_20B, made.gpt_oss_headers()).weights
    assert read_shape(made.GPT_OSS_20B).weights.total == pytest.approx(counted.total, rel=0.005)


def test_the_headers_of_a_real_file() -> None:
    config = parse_config(json.loads((DEMO / "config.json").read_text()))
    tensors = read_header(DEMO / "model.safetensors")
    weights = weights_on_card(config, tensors)
    values = sum(tensor.size for tensor in tensors.values())
    assert {tensor.dtype for tensor in tensors.values()} <= {"BF16", "F16"}
    tied = weights.embeddings.on_card() // 2 if config.tied_embeddings else 0
    assert weights.total == values + tied
