"""What config.json says, in the dialects of many families."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.checkpoint import Quantization, parameter_count, parse_config
from desktop.domain.errors import FailureCode, TurbodeskError

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
AWQ = Quantization(method="awq", bits=4, group_size=128)


def problem_of(config: object) -> str:
    with pytest.raises(TurbodeskError) as caught:
        parse_config(config)
    assert caught.value.failure.code is FailureCode.CONFIG_BROKEN
    return caught.value.failure.message


def test_what_is_not_said_follows_from_the_rest() -> None:
    found = parse_config(LLAMA)
    assert (found.kv_heads, found.head_dim) == (32, 128)
    assert (found.tied_embeddings, found.vision, found.needs_remote_code) == (False, False, False)
    assert found.quantization is None


def test_an_empty_config_says_nothing() -> None:
    found = parse_config({})
    assert (found.architecture, found.model_type, found.layers, found.head_dim) == ("", "", None, None)


def test_null_is_as_good_as_absent() -> None:
    nothing = {"architectures": None, "model_type": None, "head_dim": None, "quantization_config": None}
    assert parse_config({**LLAMA, **nothing}).head_dim == 128


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config"])
def test_the_language_part_counts_first(key: str) -> None:
    config = {
        "architectures": ["VisionModel"],
        "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24},
        "hidden_size": 7,
        "tie_word_embeddings": False,
        "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128},
        key: {**LLAMA, "tie_word_embeddings": True},
    }
    found = parse_config(config)
    assert (found.architecture, found.vision) == ("VisionModel", True)
    assert (found.layers, found.hidden_size, found.context_length) == (32, 4096, 4096)
    assert (found.tied_embeddings, found.quantization) == (True, AWQ)


def test_a_language_part_two_levels_down() -> None:
    thinker = {"text_config": LLAMA, "vision_config": {"depth": 32}}
    found = parse_config({"architectures": ["Omni"], "thinker_config": thinker})
    assert (found.layers, found.vision) == (32, True)


def test_rope_scaling_is_left_alone() -> None:
    scaled = {**LLAMA, "rope_scaling": {"type": "yarn", "factor": 4.0}}
    assert parse_config(scaled).context_length == 4096


def test_families_have_their_own_names() -> None:
    gpt2 = parse_config({"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024, "n_inner": None})
    assert (gpt2.layers, gpt2.hidden_size, gpt2.heads, gpt2.head_dim, gpt2.context_length) == (12, 768, 12, 64, 1024)
    glm = parse_config(
        {"num_layers": 28, "multi_query_group_num": 2, "padded_vocab_size": 65024, "kv_channels": 128, "seq_length": 8}
    )
    assert (glm.layers, glm.kv_heads, glm.vocab_size, glm.head_dim, glm.context_length) == (28, 2, 65024, 128, 8)


def test_one_number_a_layer_is_no_number() -> None:
    assert parse_config({**LLAMA, "intermediate_size": [8192, 4096]}).intermediate_size is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, AWQ),
        ({"quant_method": "AWQ", "w_bit": 4, "q_group_size": 128}, AWQ),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, Quantization(method="gptq", bits=8)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Quantization(method="fp8", bits=8)),
        ({"quant_method": "smooth_quant", "quant_dtype": "int8"}, Quantization(method="smooth_quant", bits=8)),
        ({"quant_method": "mxfp4"}, Quantization(method="mxfp4", bits=4, group_size=32)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Quantization(method="bitsandbytes", bits=4)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128, "type": "int"}}},
            },
            Quantization(method="compressed-tensors", bits=4, group_size=128),
        ),
        ({"quant_method": "compressed-tensors"}, Quantization(method="compressed-tensors")),
        ({"bits": 4}, Quantization(method="unknown", bits=4)),
        ({}, None),
    ],
)
def test_quantization(raw: dict[str, Any], expected: Quantization | None) -> None:
    assert parse_config({**LLAMA, "quantization_config": raw}).quantization == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"hidden_size": 4096.5}, "hidden_size"),
        ({"hidden_size": []}, "hidden_size"),
        ({"hidden_size": 10**30}, "hidden_size"),
        ({"architectures": "Llama"}, "architectures"),
        ({"architectures": [1]}, "architectures"),
        ({"model_type": 5}, "model_type"),
        ({"text_config": []}, "text_config"),
        ({"quantization_config": "awq"}, "quantization_config"),
        ({"quantization_config": {"quant_method": 4}}, "quant_method"),
        ({"quantization_config": {"bits": "4"}}, "bits"),
    ],
)
def test_wrong_types_are_named(change: dict[str, Any], words: str) -> None:
    assert words in problem_of({**LLAMA, **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *LLAMA,
                        "text_config",
                        "vision_config",
                        "quantization_config",
                        "quant_method",
                        "config_groups",
                        "bits",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(config: object) -> None:
    try:
        parse_config(config)
    except TurbodeskError as problem:
        json.dumps(problem.failure.message)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "size", "quantization", "expected"),
    [
        ("a.weight", "BF16", (3, 5), 30, None, 15),
        ("a.scales", "F16", (3, 5), 30, None, 15),
        ("a.weight", "F16", (3, 5), 30, AWQ, 15),
        ("a.bias", "F16", (5,), 10, AWQ, 5),
        ("a.qweight", "I32", (16, 2), 128, AWQ, 256),
        ("a.qzeros", "I32", (1, 2), 8, AWQ, 0),
        ("a.scales", "F16", (1, 16), 32, AWQ, 0),
        ("a.g_idx", "I32", (16,), 64, Quantization(method="gptq", bits=4), 0),
        ("a.qweight", "I32", (3, 10), 120, Quantization(method="gptq", bits=3), 320),
        ("a.weight_packed", "I32", (4, 4), 64, Quantization(method="compressed-tensors", bits=4), 128),
        ("a.weight_shape", "I64", (2,), 16, Quantization(method="compressed-tensors", bits=4), 0),
        ("a.weight", "F8_E4M3", (4, 4), 16, Quantization(method="fp8", bits=8), 16),
        ("a.weight_scale_inv", "F32", (1, 1), 4, Quantization(method="fp8", bits=8), 0),
        ("a.gate_up_proj_blocks", "U8", (2, 2, 2, 16), 128, Quantization(method="mxfp4", bits=4), 256),
        ("a.gate_up_proj_scales", "U8", (2, 2, 2), 8, Quantization(method="mxfp4", bits=4), 0),
        ("a.weight", "U8", (8, 1), 8, Quantization(method="bitsandbytes", bits=4), 16),
        ("a.weight.absmax", "F32", (2,), 8, Quantization(method="bitsandbytes", bits=4), 0),
        ("a", "F32", (), 4, None, 1),
        ("a", "F32", (0, 9), 0, None, 0),
    ],
)
def test_parameters_are_counted_as_before_quantization(
    name: str, dtype: str, shape: tuple[int, ...], size: int, quantization: Quantization | None, expected: int
) -> None:
    assert parameter_count(name, dtype, shape, size, quantization) == expected
