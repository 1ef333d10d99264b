"""What of a checkpoint decides a quantization: its linear layers, its bytes, and those of each result."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

import msgspec

from desktop.domain.checkpoint import CheckpointConfig
from desktop.domain.quantization import GROUP_SIZE, QuantizationMethod
from desktop.domain.weights import TensorEntry

_FLOATS = frozenset(("F16", "BF16", "F32", "F64"))
_EMBEDDINGS = ("embed_tokens.weight", "tok_embeddings.weight", "wte.weight", "word_embeddings.weight")
_HEADS = ("lm_head.weight", "output.weight", "output_layer.weight")
_DROPPED = re.compile(r"(^|\.)mtp\.|\.(inv_freq|masked_bias)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_VISION = re.compile(r"(^|\.)(visual|vision\w*|vit|vpm|audio\w*|mlp1|resampler)\.")
_HEADER_ALIGNMENT = 8
_LENGTH_BYTES = 8


class Linear(msgspec.Struct, frozen=True):
    """A linear layer inside the decoder layers. name: without `.weight`. layer: the decoder layer's number."""

    name: str
    outputs: int
    inputs: int
    layer: int


class QuantizationSource(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint as a quantization sees it.

    linears: what a method packs. embedding_bytes, model_bytes: in 16 bits. layer_bytes: of the largest decoder layer.
    others: tensors that stay, each with its shape.
    """

    config: CheckpointConfig
    linears: tuple[Linear, ...]
    others: tuple[tuple[str, tuple[int, ...]], ...]
    embedding_bytes: int
    layer_bytes: int
    model_bytes: int

    @property
    def layers(self) -> int:
        """The decoder layers that hold linear ones."""
        return len({linear.layer for linear in self.linears})

    def packed(self, skipped: tuple[str, ...]) -> tuple[Linear, ...]:
        """The layers that a method packs; skipped: parts of names, as LMDeploy compares them."""
        return tuple(linear for linear in self.linears if not any(part in linear.name for part in skipped))

    def indivisible(self, skipped: tuple[str, ...]) -> Linear | None:
        """A layer that cannot be packed in groups of 128, if there is one."""
        # Eight weights of neighbouring outputs share an int32.
        return next((one for one in self.packed(skipped) if one.inputs % GROUP_SIZE or one.outputs % 8), None)

    def result_bytes(self, method: QuantizationMethod, skipped: tuple[str, ...] = ()) -> int:
        """Bytes of the weights file that a method writes, its header included.

        Layouts: lmdeploy/lite/quantization/modules/linear.py (4 bits: qweight, scales and zero points of 128 weights
        each), lmdeploy/pytorch/models/q_modules.py (8 bits: a float32 scale for each output).
        """
        packed = {linear.name for linear in self.packed(skipped)}
        size, header = 0, {"__metadata__": {"format": "pt"}}
        tensors: list[tuple[str, str, tuple[int, ...], int]] = []
        for linear in self.linears:
            if linear.name in packed:
                tensors += _packed(linear, method)
            else:
                tensors.append((f"{linear.name}.weight", "F16", (linear.outputs, linear.inputs), 2))
        tensors += [(name, "F16", shape, 2) for name, shape in self.others]
        entries: dict[str, object] = dict(header)
        for name, dtype, shape, width in tensors:
            end = size + math.prod(shape) * width
            entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [size, end]}
            size = end
        length = len(json.dumps(entries, separators=(",", ":")))
        return _LENGTH_BYTES + -(-length // _HEADER_ALIGNMENT) * _HEADER_ALIGNMENT + size


def _packed(linear: Linear, method: QuantizationMethod) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """The tensors that take the weight's place: name, type, shape, bytes of an element."""
    name, outputs, inputs = linear.name, linear.outputs, linear.inputs
    if method in (QuantizationMethod.INT8, QuantizationMethod.FP8):
        dtype = "I8" if method is QuantizationMethod.INT8 else "F8_E4M3"
        yield f"{name}.weight", dtype, (outputs, inputs), 1
        yield f"{name}.scale", "F32", (outputs, 1), 4
        return
    groups = inputs // GROUP_SIZE
    if method is QuantizationMethod.GPTQ:  # packs along the inputs, and says of each input which group it is in
        yield f"{name}.qweight", "I32", (inputs // 8, outputs), 4
        yield f"{name}.g_idx", "I32", (inputs,), 4
    else:
        yield f"{name}.qweight", "I32", (inputs, outputs // 8), 4
    yield f"{name}.scales", "F16", (groups, outputs), 2
    yield f"{name}.qzeros", "I32", (groups, outputs // 8), 4


def quantization_source(config: CheckpointConfig, tensors: Mapping[str, TensorEntry]) -> QuantizationSource:
    """Sort the tensors of all files; takes milliseconds, for models with experts tens of them."""
    linears: list[Linear] = []
    others: list[tuple[str, tuple[int, ...]]] = []
    layers: dict[int, int] = {}
    embedding = model = 0
    for name, tensor in tensors.items():
        if _DROPPED.search(name) or (config.tied_embeddings and name.endswith(_HEADS)):
            continue
        size = 2 * math.prod(tensor.shape) if tensor.dtype in _FLOATS else tensor.size
        model += size
        found = None if _VISION.search(name) else _LAYER.search(name)
        number = int(found[1]) if found else -1
        if found:
            layers[number] = layers.get(number, 0) + size
        elif name.endswith(_EMBEDDINGS):
            embedding += size
        if found and name.endswith(".weight") and len(tensor.shape) == 2 and tensor.dtype in _FLOATS:
            linears.append(Linear(name.removesuffix(".weight"), tensor.shape[0], tensor.shape[1], number))
        else:
            others.append((name, tensor.shape))
    return QuantizationSource(
        config=config,
        linears=tuple(linears),
        others=tuple(others),
        embedding_bytes=embedding,
        layer_bytes=max(layers.values(), default=0),
        model_bytes=model,
    )
