"""What config.json says beyond CheckpointConfig that decides memory: experts, kinds of attention, the vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class CheckpointDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of the language part, 0 where config.json does not say or the model has no such thing.

    experts: of one layer, all of them in memory. dense_layers: layers of a model with experts that have none.
    attention_layers: layers that keep keys and values; None: all of them. state_values: numbers that one request's
    linear attention keeps in all layers together, whatever its length. latent_size and latent_rope_size: of
    multi-head latent attention. vision_heads: of the vision tower. gated_query: the query also makes an output gate.
    """

    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate_size: int = 0
    shared_intermediate_size: int = 0
    dense_layers: int = 0
    attention_layers: int | None = None
    state_values: int = 0
    latent_size: int = 0
    latent_rope_size: int = 0
    vision_heads: int = 0
    gated_query: bool = False


def parse_details(config: Mapping[str, Any]) -> CheckpointDetails:
    """Read the decoded config.json. What has a wrong type counts as not said: parse_config() is the strict one."""
    text, vision = language_part(config), vision_part(config)
    experts = number(text, "num_experts", "num_local_experts", "n_routed_experts")
    width = number(text, "moe_intermediate_size", "intermediate_size") if experts else 0
    shared = number(text, "shared_expert_intermediate_size") or number(text, "n_shared_experts") * width
    linear = _layers_of_kind(text, "linear_attention")
    layers = number(text, "num_hidden_layers")
    return CheckpointDetails(
        experts=experts,
        experts_per_token=number(text, "num_experts_per_tok") if experts else 0,
        expert_intermediate_size=width,
        shared_intermediate_size=shared if experts else 0,
        dense_layers=_dense_layers(text, layers) if experts else 0,
        attention_layers=max(0, layers - linear) if linear else None,
        state_values=linear * _state_values(text),
        latent_size=number(text, "kv_lora_rank"),
        latent_rope_size=number(text, "qk_rope_head_dim"),
        vision_heads=number(vision, "num_heads", "num_attention_heads"),
        gated_query=bool(linear) or text.get("attn_output_gate") is True,
    )


def language_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json about the language model; the whole where there are no parts.

    The same places as parse_config() looks in; a value that only the whole has is found there too.
    """
    found = dict(config)
    for key in ("thinker_config", "language_config", "llm_config", "text_config"):
        inner = found.get(key)
        if isinstance(inner, dict):
            found.update(inner)
    return found


def vision_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json about the vision tower; empty where there is none."""
    for part in (config, language_part(config)):
        found = part.get("vision_config") or part.get("visual")
        if isinstance(found, dict):
            return found
    return {}


def number(part: Mapping[str, Any], *names: str) -> int:
    """The first of the names that holds a number above 0, else 0."""
    for name in names:
        value = part.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 48:
            return value
    return 0


def _layers_of_kind(text: Mapping[str, Any], kind: str) -> int:
    kinds = text.get("layer_types")
    return kinds.count(kind) if isinstance(kinds, list) else 0


def _dense_layers(text: Mapping[str, Any], layers: int) -> int:
    kinds, mlp_only = text.get("mlp_layer_types"), text.get("mlp_only_layers")
    if isinstance(kinds, list):
        return kinds.count("dense")
    if isinstance(mlp_only, list):
        return len(mlp_only)
    return min(number(text, "first_k_dense_replace"), layers)


def _state_values(text: Mapping[str, Any]) -> int:
    """Of one gated delta net layer: the window of its convolution, and a matrix for each value head.

    Source: CreateDefaultGdnCachePlan in LMDeploy's object_cache_plan.cc.
    """
    key_heads, value_heads = number(text, "linear_num_key_heads"), number(text, "linear_num_value_heads")
    key_dim, value_dim = number(text, "linear_key_head_dim"), number(text, "linear_value_head_dim")
    window = number(text, "linear_conv_kernel_dim") or 4
    return (2 * key_heads * key_dim + value_heads * value_dim) * window + value_heads * key_dim * value_dim
