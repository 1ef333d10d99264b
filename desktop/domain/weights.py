"""How many bytes a checkpoint's weights take on a card, as TurboMind holds them, from the headers of its files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

import msgspec

from desktop.domain.checkpoint import CheckpointConfig, parameter_count
from desktop.domain.checkpoint_details import CheckpointDetails

# Packed to 4 bits with a 16-bit scale and a 16-bit zero point for each 128 weights of a column: 0.53125 bytes
# (LMDeploy's models/linear_weight.cc). In the file the zero points are packed too: 0.51953125 bytes.
AWQ_GROUP = 128
AWQ_ON_CARD = (17, 32)
AWQ_STORED = (133, 256)


class TensorEntry(Protocol):
    """What a safetensors header says of one tensor. dtype: the format's name of it. size: bytes."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def size(self) -> int: ...


class Part(msgspec.Struct, frozen=True):
    """Bytes of one part of the weights. split: shared evenly by several cards. copied: whole on each card."""

    split: int = 0
    copied: int = 0

    def on_card(self, cards: int = 1) -> int:
        """Bytes on each of so many cards."""
        return -(-self.split // cards) + self.copied


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint's weights.

    language, embeddings (with the output layer), vision: as TurboMind holds them. keys_values: bytes of language that
    make keys and values; several cards may have to repeat them. packable: 16-bit weights that AWQ would pack to 4 bits,
    0 where it cannot or has. parameters: as parameter_count() counts; embedding_parameters: those of the embeddings.
    stored: bytes as in the files, each tensor once, floating-point numbers in 16 bits, without tensors that no engine
    reads. exact: from the headers of the files, not estimated from config.json.
    """

    language: Part
    embeddings: Part
    vision: Part = Part()
    keys_values: int = 0
    packable: int = 0
    parameters: int = 0
    embedding_parameters: int = 0
    stored: int = 0
    exact: bool = True

    @property
    def total(self) -> int:
        """Bytes on a single card."""
        return self.language.on_card() + self.embeddings.on_card() + self.vision.on_card()


def weights_on_card(
    config: CheckpointConfig, tensors: Mapping[str, TensorEntry], details: CheckpointDetails | None = None
) -> Weights:
    """Sum the tensors of all files, each as TurboMind holds it (LMDeploy 0.18, lmdeploy/turbomind).

    16-bit and 32-bit tensors have 2 bytes a number. Packed integers stay packed; scales of 4-bit formats come with a
    zero point of the same size, whether the file has one or not. Tied embeddings are held twice (models/qwen2.py,
    models/llama.py). Latent attention is folded into its neighbours (builders/mla.py), heads of a vision tower are
    padded to a size that the kernels know (models/qwen2_vl.py, models/qwen3_5.py). Layers beyond num_hidden_layers
    and tensors that only training uses are not loaded. Exact for 16-bit files. FP8 scales are counted as one 16-bit
    number for each column of a block, the most that a kernel asks for.
    """
    details = details or CheckpointDetails()
    method = config.quantization.method if config.quantization else ""
    language, embeddings, vision = [0, 0], [0, 0], [0, 0]
    keys_values = packable = parameters = embedding_parameters = stored = embedding = 0
    awq_can, has_head = not method and not details.latent_size, False
    for name, tensor in tensors.items():
        role = _role(name)
        if role.dropped or (config.layers and role.kind == "language" and role.layer >= config.layers):
            continue
        held = _held_bytes(role.last, tensor, method)
        stored += 2 * math.prod(tensor.shape) if tensor.dtype in _FLOATS else tensor.size
        count = parameter_count(name, tensor.dtype, tensor.shape, tensor.size, config.quantization)
        parameters += count
        if role.kind in ("embedding", "head"):
            embedding_parameters += count
            embedding += held if role.kind == "embedding" else 0
            has_head |= role.kind == "head"
            embeddings[0] += held
        elif role.kind == "vision":
            held = _padded_vision(role, tensor, details.vision_heads) or held
            vision[role.copied or len(tensor.shape) < 2] += held
        else:
            if details.latent_size and role.last == "weight":
                held = _folded(role, tensor, config, details, held)
            language[role.copied or len(tensor.shape) < 2] += held
            keys_values += _keys_values_share(role, config) * held // _SHARE
            if role.last == "weight" or role.module.startswith("experts"):
                linear = not role.copied and role.module != "conv1d" and len(tensor.shape) >= 2
                linear &= not role.last.endswith("bias")
                packable += held // 2 if linear else 0
                awq_can &= not linear or tensor.shape[-1] % AWQ_GROUP == 0
    if config.tied_embeddings or not has_head:
        # An output layer that the file holds beside a tied embedding is not read.
        embeddings[0] = 2 * embedding
    return Weights(
        language=Part(*language),
        embeddings=Part(*embeddings),
        vision=Part(*vision),
        keys_values=keys_values,
        packable=packable if awq_can else 0,
        parameters=parameters,
        embedding_parameters=embedding_parameters,
        stored=stored,
    )


def as_awq(weights: Weights) -> Weights:
    """What the same checkpoint takes once its linear layers are packed by AWQ with groups of 128.

    Raises ValueError where there is nothing to pack (`packable` is 0).
    """
    if not weights.packable:
        raise ValueError("these weights cannot be packed")
    packed = weights.packable * AWQ_ON_CARD[0] // AWQ_ON_CARD[1]
    saved = 2 * weights.packable - packed
    return msgspec.structs.replace(
        weights,
        language=Part(weights.language.split - saved, weights.language.copied),
        keys_values=weights.keys_values * AWQ_ON_CARD[0] // (2 * AWQ_ON_CARD[1]),
        packable=0,
        stored=weights.stored - 2 * weights.packable + weights.packable * AWQ_STORED[0] // AWQ_STORED[1],
    )


class _Role(NamedTuple):
    """What a tensor is, by its name. module: the last name but one. copied: each of several cards holds it whole."""

    kind: str  # "language", "embedding", "head" or "vision"
    module: str
    last: str
    layer: int
    copied: bool
    dropped: bool


_VISION = frozenset(
    (
        *("visual", "vision", "vision_model", "vision_tower", "vision_embed_tokens", "vision_proj", "vit", "vpm"),
        *("multi_modal_projector", "mm_projector", "mlp1", "resampler", "projector", "aligner", "image_newline"),
        *("audio_tower", "audio_model", "apm"),
    )
)
_EMBEDDINGS = frozenset(("embed_tokens", "tok_embeddings", "wte", "word_embeddings", "embed_in"))
_HEADS = frozenset(("lm_head", "output", "output_layer", "embed_out"))
_COPIED = frozenset(
    (
        *("gate", "router", "shared_expert_gate", "q_a_proj", "kv_a_proj_with_mqa"),
        *("patch_embed", "patch_embedding", "position_embedding", "pos_embed", "embeddings", "proj_in"),
    )
)
_DROPPED = frozenset(("inv_freq", "masked_bias", "position_ids", "num_batches_tracked"))
_LAYERS = frozenset(("layers", "layer", "blocks", "h"))


@lru_cache(maxsize=1 << 15)  # models of one family share their names, and a scan reads a thousand models
def _role(name: str) -> _Role:
    parts = name.split(".")
    last, module = parts[-1], parts[-2] if len(parts) > 1 else ""
    layer = -1
    for before, part in pairwise(parts):
        if before in _LAYERS and part.isdecimal():
            layer = int(part)
            break
    if not _VISION.isdisjoint(parts[:3]):
        kind = "vision"
    elif layer < 0 and module in _EMBEDDINGS:
        kind = "embedding"
    elif layer < 0 and module in _HEADS:
        kind = "head"
    else:
        kind = "language"
    dropped = last in _DROPPED or "mtp" in parts[:2]
    # The patch embedding of a tower is two names deep: patch_embed.proj.weight.
    copied = module in _COPIED or (kind == "vision" and not _COPIED.isdisjoint(parts))
    return _Role(kind, module, last, layer, copied, dropped)


_FLOATS = frozenset(("F16", "BF16", "F32", "F64"))
_PACKED_METHODS = frozenset(("awq", "gptq", "compressed-tensors"))
_UNHELD = frozenset(("qzeros", "zeros", "g_idx", "weight_g_idx", "weight_zero_point", "weight_shape"))


def _held_bytes(last: str, tensor: TensorEntry, method: str) -> int:
    """Bytes of one tensor on a card: lmdeploy/turbomind/weight_format.py."""
    if method:
        if last in _UNHELD:
            return 0
        if last.endswith("_scale_inv"):
            return 2 * math.prod(tensor.shape) * 128
        if last in ("scales", "weight_scale") and method in _PACKED_METHODS:
            return 4 * math.prod(tensor.shape)
    return 2 * math.prod(tensor.shape) if tensor.dtype in _FLOATS else tensor.size


def _folded(role: _Role, tensor: TensorEntry, config: CheckpointConfig, details: CheckpointDetails, held: int) -> int:
    """Latent attention: kv_b_proj is multiplied into the query and the output, whose heads grow to the latent size."""
    if not config.heads or len(tensor.shape) != 2:
        return held
    width = 2 * config.heads * (details.latent_size + details.latent_rope_size)
    outputs, inputs = tensor.shape
    return {"kv_b_proj": 0, "q_b_proj": inputs * width, "q_proj": inputs * width, "o_proj": outputs * width}.get(
        role.module, held
    )


def _padded_vision(role: _Role, tensor: TensorEntry, heads: int) -> int:
    """Bytes of a tensor that grows with the heads or the padded middle layer of a Qwen tower; 0: it does not."""
    shape = tensor.shape
    if tensor.dtype not in _FLOATS or not shape or role.layer < 0:
        return 0
    size = 2 * math.prod(shape)
    if heads and role.module in ("qkv", "proj"):
        width = shape[0] // 3 if role.module == "qkv" else shape[-1]
        head = width // heads
        grows = 64 < head < 128 and width == head * heads and (role.module == "qkv" or len(shape) == 2)
        return size // head * 128 if grows else 0
    if role.module in ("gate_proj", "up_proj", "down_proj"):
        return 2 * math.prod(-(-length // 8) * 8 for length in shape)
    return 0


_SHARE = 1 << 20


def _keys_values_share(role: _Role, config: CheckpointConfig) -> int:
    """How much of a tensor makes keys and values, in 2^-20."""
    if role.module in ("k_proj", "v_proj"):
        return _SHARE
    if role.module in ("wqkv", "qkv_proj", "c_attn", "query_key_value") and config.heads and config.kv_heads:
        return _SHARE * 2 * config.kv_heads // (config.heads + 2 * config.kv_heads)
    return 0
