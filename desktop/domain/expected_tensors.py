"""The tensors a checkpoint ought to have by its config.json alone, for a model whose files are not here yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from desktop.domain.checkpoint import CheckpointConfig, Quantization
from desktop.domain.checkpoint_details import CheckpointDetails, language_part, number, vision_part

_GROUP = 128
_MOST_LAYERS = 1000  # a broken config.json may name more than there is time to count


class ExpectedTensor(NamedTuple):
    """One tensor as a header would name it. size: bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int


def expected_tensors(
    raw: Mapping[str, Any], config: CheckpointConfig, details: CheckpointDetails
) -> dict[str, ExpectedTensor]:
    """Tensors by name, in the layout of Llama and of most families after it; empty where numbers are missing.

    raw: the decoded config.json, config and details: what was read from it. Small things (biases, norms of queries
    and keys) are left out: well below 1 % of a model with 100 million parameters or more.
    """
    hidden, layers, vocabulary = config.hidden_size, config.layers, config.vocab_size
    if not (hidden and layers and vocabulary and config.heads and config.kv_heads and config.head_dim):
        return {}
    if layers > _MOST_LAYERS:
        return {}
    tensors = {"model.embed_tokens.weight": _sixteen_bit(vocabulary, hidden)}
    if not config.tied_embeddings:
        tensors["lm_head.weight"] = _sixteen_bit(vocabulary, hidden)
    text = language_part(raw)
    method = config.quantization.method if config.quantization else ""
    attention = details.attention_layers if details.attention_layers is not None else layers
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes = _attention(text, config, details) if layer < attention else _linear_attention(text, hidden)
        experts = details.experts and layer >= details.dense_layers
        # gpt-oss is quantized in its experts only.
        quantization = None if method == "mxfp4" else config.quantization
        if not experts:
            shapes |= _feed_forward("mlp", hidden, config.intermediate_size or 4 * hidden)
        elif details.shared_intermediate_size:
            shapes |= _feed_forward("mlp.shared_expert", hidden, details.shared_intermediate_size)
        for name, shape in shapes.items():
            tensors.update(_linear(prefix + name, shape, quantization))
        tensors[prefix + "norms.weight"] = _sixteen_bit(2 * hidden)
        if experts:
            width = details.expert_intermediate_size
            tensors[prefix + "mlp.gate.weight"] = _sixteen_bit(details.experts, hidden)
            for name, shape in (("gate_up_proj", (2 * width, hidden)), ("down_proj", (hidden, width))):
                packed = (details.experts, *shape)
                tensors.update(_linear(f"{prefix}mlp.experts.{name}", packed, config.quantization))
    tensors.update(_tower(vision_part(raw), hidden))
    return tensors


def _attention(text: Mapping[str, Any], config: CheckpointConfig, details: CheckpointDetails) -> dict[str, Any]:
    hidden, heads = config.hidden_size or 0, config.heads or 0
    if details.latent_size:
        rope, plain = details.latent_rope_size, number(text, "qk_nope_head_dim")
        value, query = number(text, "v_head_dim"), number(text, "q_lora_rank")
        return {
            "self_attn.q_a_proj": (query, hidden),
            "self_attn.q_b_proj": (heads * (plain + rope), query or hidden),
            "self_attn.kv_a_proj_with_mqa": (details.latent_size + rope, hidden),
            "self_attn.kv_b_proj": (heads * (plain + value), details.latent_size),
            "self_attn.o_proj": (hidden, heads * value),
        }
    query, key = heads * (config.head_dim or 0), (config.kv_heads or 0) * (config.head_dim or 0)
    return {
        "self_attn.q_proj": (query * (2 if details.gated_query else 1), hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.o_proj": (hidden, query),
    }


def _linear_attention(text: Mapping[str, Any], hidden: int) -> dict[str, Any]:
    keys = number(text, "linear_num_key_heads") * number(text, "linear_key_head_dim")
    values = number(text, "linear_num_value_heads") * number(text, "linear_value_head_dim")
    return {
        "linear_attn.in_proj_qkv": (2 * keys + values, hidden),
        "linear_attn.in_proj_z": (values, hidden),
        "linear_attn.out_proj": (hidden, values),
    }


def _feed_forward(name: str, hidden: int, width: int) -> dict[str, Any]:
    return {
        f"{name}.gate_proj": (width, hidden),
        f"{name}.up_proj": (width, hidden),
        f"{name}.down_proj": (hidden, width),
    }


def _linear(
    name: str, shape: tuple[int, ...], quantization: Quantization | None
) -> Iterator[tuple[str, ExpectedTensor]]:
    """The tensors of one linear layer of […, outputs, inputs]."""
    if not math.prod(shape):
        return
    if quantization is None:
        yield f"{name}.weight", _sixteen_bit(*shape)
        return
    *experts, outputs, inputs = shape
    bits = quantization.bits or 4
    groups = -(-inputs // (quantization.group_size or _GROUP))
    if quantization.method in ("awq", "gptq", "compressed-tensors") and bits == 4:
        words = (*experts, inputs, -(-outputs // 8))
        yield f"{name}.qweight", ExpectedTensor("I32", words, 4 * math.prod(words))
        yield f"{name}.scales", _sixteen_bit(*experts, groups, outputs)
        zeros = (*experts, groups, -(-outputs // 8))
        yield f"{name}.qzeros", ExpectedTensor("I32", zeros, 4 * math.prod(zeros))
    elif quantization.method == "mxfp4":
        blocks = (*experts, outputs, -(-inputs // 2))
        yield f"{name}_blocks", ExpectedTensor("U8", blocks, math.prod(blocks))
        scales = (*experts, outputs, -(-inputs // 32))
        yield f"{name}_scales", ExpectedTensor("U8", scales, math.prod(scales))
    elif quantization.method == "fp8":
        yield f"{name}.weight", ExpectedTensor("F8_E4M3", shape, math.prod(shape))
        yield f"{name}.weight_scale_inv", _sixteen_bit(*experts, -(-outputs // _GROUP), -(-inputs // _GROUP))
    else:
        yield f"{name}.weight", ExpectedTensor("I8" if bits == 8 else "U8", shape, math.prod(shape) * bits // 8)


def _tower(vision: Mapping[str, Any], language_size: int) -> Iterator[tuple[str, ExpectedTensor]]:
    """A vision transformer and the layers that bring its output to the language part's size."""
    size = number(vision, "hidden_size", "embed_dim")
    if vision.get("embed_dim"):  # Qwen2-VL: its hidden_size is the language part's
        size = number(vision, "embed_dim")
    depth = min(_MOST_LAYERS, number(vision, "depth", "num_hidden_layers", "layers"))
    width = number(vision, "intermediate_size") or 4 * size
    gated = vision.get("hidden_act") == "silu" and "fullatt_block_indexes" in vision
    for layer in range(depth):
        prefix = f"visual.blocks.{layer}."
        yield prefix + "attn.qkv.weight", _sixteen_bit(3 * size, size)
        yield prefix + "attn.proj.weight", _sixteen_bit(size, size)
        yield prefix + "mlp.up_proj.weight", _sixteen_bit((2 if gated else 1) * width, size)
        yield prefix + "mlp.down_proj.weight", _sixteen_bit(size, width)
    if depth and size:
        patch = number(vision, "patch_size") or 14
        inputs = 3 * patch * patch * (number(vision, "temporal_patch_size") or 1)
        yield "visual.patch_embed.proj.weight", _sixteen_bit(size, inputs)
        # Four neighbours become one token in the Qwen and the InternVL families.
        middle = 4 * size if "spatial_merge_size" in vision else language_size
        yield "visual.merger.mlp.0.weight", _sixteen_bit(middle, 4 * size)
        yield "visual.merger.mlp.2.weight", _sixteen_bit(language_size, middle)


def _sixteen_bit(*shape: int) -> ExpectedTensor:
    return ExpectedTensor("BF16", shape, 2 * math.prod(shape))
