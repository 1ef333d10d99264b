"""The tensors of real families as a safetensors header lists them, made by hand from their published shapes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U8": 1, "F8_E4M3": 1}


class Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    size: int


Headers = dict[str, Entry]


def entry(*shape: int, dtype: str = "BF16") -> Entry:
    return Entry(dtype, shape, math.prod(shape) * _BYTES[dtype])


def parameters(headers: Headers) -> int:
    return sum(math.prod(tensor.shape) for tensor in headers.values())


def with_prefix(prefix: str, headers: Headers) -> Headers:
    return {prefix + name: tensor for name, tensor in headers.items()}


def text_headers(config: dict[str, Any], *, bias: bool = False, qk_norm: bool = False) -> Headers:
    """Llama, Qwen2, Qwen3 and Qwen3-MoE, as their own files name the tensors."""
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", hidden // heads)
    found = {"model.embed_tokens.weight": entry(config["vocab_size"], hidden), "model.norm.weight": entry(hidden)}
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = entry(config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, outputs in (("q", heads), ("k", kv), ("v", kv)):
            found[f"{at}self_attn.{name}_proj.weight"] = entry(outputs * size, hidden)
            if bias:
                found[f"{at}self_attn.{name}_proj.bias"] = entry(outputs * size)
        found[at + "self_attn.o_proj.weight"] = entry(hidden, heads * size)
        if qk_norm:
            found[at + "self_attn.q_norm.weight"] = found[at + "self_attn.k_norm.weight"] = entry(size)
        found[at + "input_layernorm.weight"] = found[at + "post_attention_layernorm.weight"] = entry(hidden)
        blocks = [("mlp.", config["intermediate_size"])]
        if experts := config.get("num_experts"):
            found[at + "mlp.gate.weight"] = entry(experts, hidden)
            blocks = [(f"mlp.experts.{number}.", config["moe_intermediate_size"]) for number in range(experts)]
        for block, width in blocks:
            found[at + block + "gate_proj.weight"] = found[at + block + "up_proj.weight"] = entry(width, hidden)
            found[at + block + "down_proj.weight"] = entry(hidden, width)
    return found


def internlm2_headers(config: dict[str, Any]) -> Headers:
    hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    found = {
        "model.tok_embeddings.weight": entry(config["vocab_size"], hidden),
        "model.norm.weight": entry(hidden),
        "output.weight": entry(config["vocab_size"], hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        found[at + "attention.wqkv.weight"] = entry((heads + 2 * kv) * (hidden // heads), hidden)
        found[at + "attention.wo.weight"] = entry(hidden, hidden)
        found[at + "attention_norm.weight"] = found[at + "ffn_norm.weight"] = entry(hidden)
        width = config["intermediate_size"]
        found[at + "feed_forward.w1.weight"] = found[at + "feed_forward.w3.weight"] = entry(width, hidden)
        found[at + "feed_forward.w2.weight"] = entry(hidden, width)
    return found


def intern_vit_headers(size: int, depth: int, language_size: int) -> Headers:
    """The tower and projector of InternVL's own format."""
    found = {
        "vision_model.embeddings.class_embedding": entry(1, 1, size),
        "vision_model.embeddings.patch_embedding.weight": entry(size, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": entry(size),
        "vision_model.embeddings.position_embedding": entry(1, 1025, size),
        "mlp1.0.weight": entry(4 * size),
        "mlp1.0.bias": entry(4 * size),
        "mlp1.1.weight": entry(language_size, 4 * size),
        "mlp1.1.bias": entry(language_size),
        "mlp1.3.weight": entry(language_size, language_size),
        "mlp1.3.bias": entry(language_size),
    }
    for layer in range(depth):
        at = f"vision_model.encoder.layers.{layer}."
        shapes = (("attn.qkv", 3 * size, size), ("attn.proj", size, size))
        for name, outputs, inputs in (*shapes, ("mlp.fc1", 4 * size, size), ("mlp.fc2", size, 4 * size)):
            found[f"{at}{name}.weight"], found[f"{at}{name}.bias"] = entry(outputs, inputs), entry(outputs)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1", "ls2"):
            found[at + name] = entry(size)
    return found


def qwen25_vit_headers(language_size: int) -> Headers:
    """The tower of Qwen2.5-VL: 32 layers of 1280, 16 heads of 80, a middle layer of 3420."""
    size, width = 1280, 3420
    found = {
        "visual.patch_embed.proj.weight": entry(size, 3, 2, 14, 14),
        "visual.merger.ln_q.weight": entry(size),
        "visual.merger.mlp.0.weight": entry(4 * size, 4 * size),
        "visual.merger.mlp.0.bias": entry(4 * size),
        "visual.merger.mlp.2.weight": entry(language_size, 4 * size),
        "visual.merger.mlp.2.bias": entry(language_size),
    }
    for layer in range(32):
        at = f"visual.blocks.{layer}."
        shapes = (("attn.qkv", 3 * size, size), ("attn.proj", size, size), ("mlp.gate_proj", width, size))
        for name, outputs, inputs in (*shapes, ("mlp.up_proj", width, size), ("mlp.down_proj", size, width)):
            found[f"{at}{name}.weight"], found[f"{at}{name}.bias"] = entry(outputs, inputs), entry(outputs)
        found[at + "norm1.weight"] = found[at + "norm2.weight"] = entry(size)
    return found


def packed(headers: Headers, method: str) -> Headers:
    """The same checkpoint with the linear layers of its language part quantized, as its tool writes them."""
    found: Headers = {}
    for name, tensor in headers.items():
        layer = name.removesuffix(".weight")
        linear = ".layers." in name and layer != name and len(tensor.shape) == 2
        if not linear or name.startswith("vision") or layer.endswith("mlp.gate"):
            found[name] = tensor
            continue
        outputs, inputs = tensor.shape
        groups = inputs // 128
        if method == "awq":
            found[layer + ".qweight"] = entry(inputs, outputs // 8, dtype="I32")
            found[layer + ".qzeros"] = entry(groups, outputs // 8, dtype="I32")
            found[layer + ".scales"] = entry(groups, outputs, dtype="F16")
        elif method == "gptq":
            found[layer + ".qweight"] = entry(inputs // 8, outputs, dtype="I32")
            found[layer + ".qzeros"] = entry(groups, outputs // 8, dtype="I32")
            found[layer + ".scales"] = entry(groups, outputs, dtype="F16")
            found[layer + ".g_idx"] = entry(inputs, dtype="I32")
        elif method == "compressed-tensors":
            found[layer + ".weight_packed"] = entry(outputs, inputs // 8, dtype="I32")
            found[layer + ".weight_scale"] = entry(outputs, groups)
            found[layer + ".weight_shape"] = entry(2, dtype="I32")
        elif method == "fp8":
            found[name] = entry(outputs, inputs, dtype="F8_E4M3")
            found[layer + ".weight_scale_inv"] = entry(-(-outputs // 128), -(-inputs // 128))
    return found


QWEN3_0_6B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 28,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}
LLAMA_3_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}
QWEN25_7B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
}
QWEN3_30B_A3B: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
}
INTERNLM25_7B: dict[str, Any] = {
    "architectures": ["InternLM2ForCausalLM"],
    "model_type": "internlm2",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 92544,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
}
INTERNVL25_8B: dict[str, Any] = {
    "architectures": ["InternVLChatModel"],
    "model_type": "internvl_chat",
    "llm_config": {**INTERNLM25_7B, "vocab_size": 92553},
    "vision_config": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "patch_size": 14,
    },
}
QWEN25_VL_7B: dict[str, Any] = {
    **QWEN25_7B,
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "vision_config": {
        "hidden_size": 1280,
        "depth": 32,
        "num_heads": 16,
        "intermediate_size": 3420,
        "hidden_act": "silu",
        "patch_size": 14,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "fullatt_block_indexes": [7, 15],
    },
}
GPT_OSS_20B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201088,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
    "quantization_config": {"quant_method": "mxfp4"},
}


def gpt_oss_headers() -> Headers:
    hidden, experts = 2880, 32
    found = {
        "model.embed_tokens.weight": entry(201088, hidden),
        "lm_head.weight": entry(201088, hidden),
        "model.norm.weight": entry(hidden),
    }
    for layer in range(24):
        at = f"model.layers.{layer}."
        for name, outputs, inputs in (("q", 4096, hidden), ("k", 512, hidden), ("v", 512, hidden), ("o", hidden, 4096)):
            found[f"{at}self_attn.{name}_proj.weight"] = entry(outputs, inputs)
            found[f"{at}self_attn.{name}_proj.bias"] = entry(outputs)
        found[at + "self_attn.sinks"] = entry(64)
        found[at + "input_layernorm.weight"] = found[at + "post_attention_layernorm.weight"] = entry(hidden)
        found[at + "mlp.router.weight"], found[at + "mlp.router.bias"] = entry(experts, hidden), entry(experts)
        for name, outputs in (("gate_up_proj", 2 * hidden), ("down_proj", hidden)):
            found[f"{at}mlp.experts.{name}_blocks"] = entry(experts, outputs, hidden // 32, 16, dtype="U8")
            found[f"{at}mlp.experts.{name}_scales"] = entry(experts, outputs, hidden // 32, dtype="U8")
            found[f"{at}mlp.experts.{name}_bias"] = entry(experts, outputs)
    return found
