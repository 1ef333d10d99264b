"""What a model folder is: architecture, shapes, bytes, quantization, read from its config.json and weight headers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from desktop.domain.errors import FailureCode, error


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """How the weights are packed. method: config.json's quant_method. group_size: weights that share one scale."""

    method: str
    bits: int | None = None
    group_size: int | None = None


class CheckpointConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What config.json says. Numbers are None where it does not say, or where each layer has its own.

    Of a model with several parts (vision, language) the numbers are the language part's. context_length: tokens,
    without rope scaling. needs_remote_code: the folder names Python files of its own to be run (auto_map).
    """

    architecture: str
    model_type: str
    quantization: Quantization | None
    context_length: int | None
    vision: bool
    needs_remote_code: bool
    tied_embeddings: bool
    layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    vocab_size: int | None


class Checkpoint(CheckpointConfig, frozen=True, kw_only=True):
    """A model folder. name: the folder's. label: what the folder calls itself in turbodesk.json, "" for most.

    parameters: see parameter_count. weight_bytes: of all tensors, as stored. dtypes: safetensors' names, the one with
    the most bytes first.
    pickles: the weights files, where they can run programs when they are opened, so that nobody looks into them before
    the user allowed it: then parameters are estimated from config.json, None where it does not say how large the model
    is, weight_bytes are those of the files, and dtypes are not known.
    """

    path: str
    name: str
    label: str
    parameters: int | None
    weight_bytes: int
    dtypes: tuple[str, ...]
    has_tokenizer: bool
    has_chat_template: bool
    pickles: tuple[str, ...] = ()


# Where a model of several parts keeps its language part, as LMDeploy looks for it.
_LANGUAGE_PARTS = ("thinker_config", "language_config", "llm_config", "text_config")
_VISION_KEYS = ("vision_config", "visual", "vision_tower", "mm_vision_tower")

# Families have their own names for the same number.
_NAMES = {
    "context_length": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "intermediate_size": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "multi_query_group_num"),
    "head_dim": ("head_dim", "kv_channels"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
}


def parse_config(config: object) -> CheckpointConfig:
    """Read the decoded config.json. Raises TurbodeskError (config_broken) when a value has the wrong type."""
    outer = _mapping(config, "the file")
    parts = [outer]
    for key in _LANGUAGE_PARTS:
        if parts[-1].get(key) is not None:
            parts.append(_mapping(parts[-1][key], key))
    parts.reverse()  # the language part's own values count first

    numbers = {field: _number(parts, names) for field, names in _NAMES.items()}
    heads, hidden_size = numbers["heads"], numbers["hidden_size"]
    if numbers["kv_heads"] is None:
        numbers["kv_heads"] = heads
    if numbers["head_dim"] is None and heads and hidden_size:
        numbers["head_dim"] = hidden_size // heads

    architectures = outer.get("architectures")
    if architectures is None:
        architectures = []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise _broken("architectures is not a list of names")
    model_type = outer.get("model_type") or ""
    if not isinstance(model_type, str):
        raise _broken("model_type is not a name")
    tied = _first(parts, "tie_word_embeddings")
    return CheckpointConfig(
        architecture=architectures[0] if architectures else "",
        model_type=model_type,
        quantization=_quantization(parts),
        vision=any(_first(parts, key) for key in _VISION_KEYS),
        needs_remote_code=bool(outer.get("auto_map")),
        tied_embeddings=tied is True,
        **numbers,
    )


def parameter_count(name: str, dtype: str, shape: Sequence[int], size: int, quantization: Quantization | None) -> int:
    """The parameters that one tensor of a weights file stands for; size: its bytes.

    Without quantization its elements. With it, as for the model before it was quantized: packed integers (AWQ and GPTQ
    `qweight`, compressed-tensors `weight_packed`, MXFP4 `_blocks`, 4-bit bytes) count once for each weight they
    hold; scales, zero points and other aids of unpacking do not count.
    """
    if quantization is not None:
        last = name.rpartition(".")[2]
        if last in _AIDS or last.endswith("_scales") or (quantization.method == "bitsandbytes" and ".weight." in name):
            return 0
        packed = last in ("qweight", "weight_packed") or last.endswith("_blocks")
        if packed or (last == "weight" and dtype == "U8" and quantization.bits == 4):
            return size * 8 // (quantization.bits or 4)
    return math.prod(shape)


_AIDS = frozenset(
    (
        *("scale", "scales", "zeros", "qzeros", "g_idx", "k_scale", "v_scale"),
        *("weight_scale", "weight_scale_2", "weight_scale_inv", "weight_global_scale"),
        *("weight_zero_point", "weight_shape", "weight_g_idx"),
        *("input_scale", "input_zero_point", "input_global_scale"),
    )
)


def _quantization(parts: Sequence[Mapping[str, Any]]) -> Quantization | None:
    raw = _first(parts, "quantization_config") or _first(parts, "compression_config")
    if not raw:
        return None
    found = _mapping(raw, "quantization_config")
    method = found.get("quant_method") or "unknown"
    if not isinstance(method, str):
        raise _broken("quant_method is not a name")
    bits, group_size = _number([found], ("bits", "w_bit")), _group_size(found)
    if method == "compressed-tensors":
        groups = _mapping(found.get("config_groups") or {}, "config_groups")
        for group in groups.values():
            weights = _mapping(_mapping(group, "config_groups").get("weights") or {}, "weights")
            bits, group_size = _number([weights], ("num_bits",)), _group_size(weights)
            break
    elif method == "mxfp4":
        bits, group_size = 4, 32
    elif bits is None and (method in ("fp8", "smooth_quant") or found.get("load_in_8bit")):
        bits = 8
    elif bits is None and found.get("load_in_4bit"):
        bits = 4
    return Quantization(method=method.lower(), bits=bits, group_size=group_size)


def _group_size(raw: Mapping[str, Any]) -> int | None:
    # -1 is how the formats write "one scale for a whole column", 0 "the method's own".
    if raw.get("group_size") in (-1, 0):
        return None
    return _number([raw], ("group_size", "q_group_size"))


def _number(parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int | None:
    for part in parts:
        for name in names:
            value = part.get(name)
            if value is None:
                continue
            if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
                return None  # one number a layer
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 48:
                raise _broken(f"{name} is not a number above 0")
            return value
    return None


def _first(parts: Sequence[Mapping[str, Any]], key: str) -> Any:
    return next((part[key] for part in parts if part.get(key) is not None), None)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _broken(f"{name} is not an object")
    return value


def _broken(reason: str) -> Exception:
    return error(FailureCode.CONFIG_BROKEN, file="config.json", reason=reason)
