"""What config.json says beyond the usual, and that nothing in it can stop a forecast."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.checkpoint_details import CheckpointDetails, language_part, parse_details
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.memory import forecast
from desktop.domain.memory_plan import Wish, forms_of, plan
from desktop.domain.memory_shape import read_shape
from tests.domain import headers as made
from tests.domain.memory_models import card


def test_a_dense_model_has_no_details() -> None:
    assert parse_details(made.LLAMA_3_8B) == CheckpointDetails()


def test_experts_of_qwen3() -> None:
    found = parse_details({**made.QWEN3_30B_A3B, "mlp_only_layers": [0, 1]})
    assert (found.experts, found.experts_per_token, found.expert_intermediate_size) == (128, 8, 768)
    assert (found.shared_intermediate_size, found.dense_layers) == (0, 2)


def test_experts_of_deepseek() -> None:
    names = {"n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1408, "first_k_dense_replace": 1}
    found = parse_details({**made.LLAMA_3_8B, **names, "num_experts_per_tok": 6, "kv_lora_rank": 512})
    assert (found.experts, found.shared_intermediate_size, found.dense_layers) == (64, 2816, 1)
    assert found.latent_size == 512


def test_the_vision_towers_heads_are_not_the_language_models() -> None:
    assert parse_details(made.QWEN25_VL_7B).vision_heads == 16
    assert parse_details(made.INTERNVL25_8B).vision_heads == 16


def test_the_language_part_counts_first() -> None:
    found = language_part({"hidden_size": 1, "model_type": "outer", "text_config": {"hidden_size": 2}})
    assert (found["hidden_size"], found["model_type"]) == (2, "outer")


@pytest.mark.parametrize("value", ["8", 8.5, -1, True, [8], {}, None])
def test_what_has_a_wrong_type_was_not_said(value: Any) -> None:
    assert parse_details({**made.LLAMA_3_8B, "num_experts": value, "layer_types": value}) == CheckpointDetails()


def test_more_kinds_than_layers() -> None:
    found = parse_details({"num_hidden_layers": 2, "layer_types": ["linear_attention"] * 9})
    assert found.attention_layers == 0


@pytest.mark.parametrize("config", [{}, {**made.LLAMA_3_8B, "num_hidden_layers": 1 << 40}])
def test_without_files_the_config_must_say_how_large_the_model_is(config: dict[str, Any]) -> None:
    with pytest.raises(TurbodeskError) as caught:
        read_shape(config)
    assert caught.value.failure.code is FailureCode.CONFIG_BROKEN
    assert "how large the model is" in caught.value.failure.message


_NAMES = sorted(
    {
        *made.QWEN3_30B_A3B,
        *made.GPT_OSS_20B,
        *made.QWEN25_VL_7B["vision_config"],
        *("layer_types", "kv_lora_rank", "qk_rope_head_dim", "linear_num_value_heads", "linear_value_head_dim"),
        *("text_config", "visual", "n_shared_experts", "first_k_dense_replace", "mlp_layer_types"),
    }
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 300) | st.sampled_from((1 << 47, 1 << 60, 0.5, "silu", "mxfp4", "awq")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=6,
)


@given(
    changes=st.dictionaries(st.sampled_from(_NAMES), _values, max_size=5),
    backend=st.sampled_from((Backend.TURBOMIND, Backend.PYTORCH, Backend.CPU)),
    with_files=st.booleans(),
)
def test_any_config_gives_a_forecast_or_a_sentence(changes: dict[str, Any], backend: Backend, with_files: bool) -> None:
    config = {**made.QWEN3_0_6B, **changes}
    try:
        shape = read_shape(config, made.text_headers(made.QWEN3_0_6B) if with_files else None)
    except TurbodeskError:
        return
    found = forecast(shape, EngineConfig(backend=backend), [card(24)])
    assert min(found.weights, found.kv, found.workspace, found.margin, found.block, found.tokens) >= 0
    plan(Wish(), forms_of("here", shape, "/m"), [card(24)], EngineConfig(backend=backend))
