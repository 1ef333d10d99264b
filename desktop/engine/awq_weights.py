"""Turns the packed 4-bit tensors of an AWQ folder back into ordinary weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from desktop.domain.errors import FailureCode, error

BITS = 4
_PACKED = (".qweight", ".qzeros", ".scales")
# AWQ packs eight outputs into one int32, the even ones in its low half and the odd ones in its high half
# (WeightOnlyQLinear.from_linear in lmdeploy/lite/quantization/modules/linear.py packs, this undoes it).
_SHIFTS = torch.tensor([0, 16, 4, 20, 8, 24, 12, 28], dtype=torch.int32)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Eight 4-bit numbers out of each int32: [rows, columns] -> [rows, 8 columns], values 0 to 15, int8."""
    numbers = (packed[:, :, None] >> _SHIFTS) & (2**BITS - 1)
    return numbers.to(torch.int8).flatten(1)


def dequantize(qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The weight of a linear layer, [outputs, inputs], float32.

    qweight: int32 [inputs, outputs / 8]; qzeros: int32 [groups, outputs / 8]; scales: [groups, outputs].
    Raises ValueError when the shapes do not belong together.
    """
    groups, outputs = scales.shape
    inputs = qweight.shape[0]
    if qweight.shape[1] * 8 != outputs or tuple(qzeros.shape) != (groups, outputs // 8) or inputs % groups:
        raise ValueError(f"shapes {tuple(qweight.shape)}, {tuple(qzeros.shape)}, {tuple(scales.shape)} do not fit")
    steps = unpack(qweight).view(groups, inputs // groups, outputs) - unpack(qzeros)[:, None]
    weight = steps.float().mul_(scales.float()[:, None])
    return weight.view(inputs, outputs).t().contiguous()


def read_dequantized(files: Iterable[Path], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All tensors of an AWQ folder under their names in the model without quantization, packed ones in dtype.

    Raises TurbodeskError when a packed layer is not whole.
    """
    handles: dict[str, Any] = {}
    shard: dict[str, str] = {}
    for path in files:
        # The handle closes its file when the last tensor taken from it is gone.
        handle: Any = safe_open(path, framework="pt")
        for name in handle.keys():  # noqa: SIM118 - not a dict
            handles[name], shard[name] = handle, path.name
    weights: dict[str, torch.Tensor] = {}
    for name, handle in handles.items():
        layer, dot, kind = name.rpartition(".")
        if dot + kind not in _PACKED:
            weights[name] = handle.get_tensor(name)
        elif layer + ".weight" not in weights:
            weights[layer + ".weight"] = _read_layer(layer, handles, shard).to(dtype)
    return weights


def _read_layer(layer: str, handles: Mapping[str, Any], shard: Mapping[str, str]) -> torch.Tensor:
    if missing := [layer + kind for kind in _PACKED if layer + kind not in handles]:
        raise error(FailureCode.WEIGHTS_MISSING, reason=f"there is no tensor {', '.join(missing)}")
    tensors = [handles[layer + kind].get_tensor(layer + kind) for kind in _PACKED]
    try:
        return dequantize(*tensors)
    except ValueError as wrong:
        file = shard[layer + ".qweight"]
        raise error(FailureCode.WEIGHTS_BROKEN, file=file, reason=f"{layer}: {wrong}") from wrong
