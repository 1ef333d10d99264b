"""What quantizing does to the outputs of each linear layer, for a handful of tokens: a thousandth of the job's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from desktop.domain.quantization import QuantizationMethod
from desktop.jobs.messages import LayerError

_TOKENS = 32  # spread over the first calibration sequence
_ROWS = 2048  # outputs at a time, so that a wide layer needs little memory
_FP8_MAX = 448.0
_INT8_MAX = 127.0


class ErrorMeter:
    """Told of a layer's inputs while the model is calibrated, and of its weights when they are packed.

    layer: the name of the layer whose weights come next.
    """

    def __init__(self, method: QuantizationMethod, tell: Callable[[LayerError], None]) -> None:
        self._method = method
        self._tell = tell
        self._inputs: dict[str, torch.Tensor] = {}
        self._scales: dict[Any, torch.Tensor] = {}  # by module
        self._names: dict[Any, str] = {}  # by module
        self._modules: dict[str, Any] = {}
        self.layer = ""

    def input_hook(self, name: str) -> Callable[[Any, Any], None]:
        """A forward pre-hook that keeps some of the first inputs of the layer `name`."""

        def take(module: Any, args: Any) -> None:
            if name not in self._inputs:
                tokens = args[0].detach().flatten(0, -2)
                spread = tokens[:: max(1, len(tokens) // _TOKENS)][:_TOKENS]
                self._inputs[name] = spread.to("cpu", copy=True)
                self._modules[name], self._names[module] = module, name

        return take

    def noting_scales(self, smooth: Callable[..., Any]) -> Callable[..., Any]:
        """LMDeploy's smoothing of some layers, which divides their inputs by what it multiplies their weights with."""

        def smoothed(before: Any, linears: list[Any], *args: Any, **kwargs: Any) -> Any:
            scales = smooth(before, linears, *args, **kwargs)
            if scales is not None:
                for linear in linears:
                    self._scales[linear] = scales.detach().float().cpu()
            return scales

        return smoothed

    def measuring(self, quantize: Callable[..., Any]) -> Callable[..., Any]:
        """LMDeploy's rounding of a weight to 4 bits, measured where the rounded weight is kept."""

        def quantized(weight: torch.Tensor, bits: int = 8, group: int = -1, return_scale_zeros: bool = False) -> Any:
            found = quantize(weight, bits, group, return_scale_zeros)
            if return_scale_zeros:
                self._measure_4_bits(weight, *found)
            return found

        return quantized

    def _measure_4_bits(
        self, weight: torch.Tensor, rounded: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor
    ) -> None:
        """rounded: [outputs, inputs] of 0 to 15; scales, zeros: [outputs, groups, 1]."""
        inputs = self._smoothed_inputs(self.layer, weight.device)
        parts = []
        for start in range(0, len(weight), _ROWS):
            rows = slice(start, start + _ROWS)
            groups = rounded[rows].float().view(len(scales[rows]), scales.shape[1], -1)
            again = ((groups - zeros[rows].float()) * scales[rows].float()).flatten(1)
            parts.append(_squares(weight[rows].float(), again, inputs, inputs))
        self._tell_of(self.layer, parts, inputs is None)

    def measure_8_bits(self, linear: Any, packed: Any) -> None:
        """linear: as it was; packed: LMDeploy's QLinear of it, whose inputs are rounded too when it runs."""
        name = self._names.get(linear, "")
        inputs = self._smoothed_inputs(name, linear.weight.device)
        if inputs is None:
            return
        rounded = _rounded_inputs(inputs, self._method)
        parts = []
        for start in range(0, len(linear.weight), _ROWS):
            rows = slice(start, start + _ROWS)
            again = packed.weight[rows].float() * packed.scale[rows].float()
            parts.append(_squares(linear.weight[rows].detach().float(), again, inputs, rounded))
        self._tell_of(name, parts, of_weights=False)

    def _smoothed_inputs(self, name: str, device: torch.device) -> torch.Tensor | None:
        inputs = self._inputs.pop(name, None)
        if inputs is None:
            return None
        inputs = inputs.float()
        scales = self._scales.pop(self._modules.pop(name), None)
        return (inputs if scales is None else inputs / scales).to(device)

    def _tell_of(self, name: str, parts: list[torch.Tensor], of_weights: bool) -> None:
        wrong, whole = torch.stack(parts).sum(0).tolist()
        self._tell(LayerError(name=name, error=(wrong / whole) ** 0.5 if whole > 0 else 0.0, of_weights=of_weights))


def _squares(
    weight: torch.Tensor, again: torch.Tensor, inputs: torch.Tensor | None, inputs_again: torch.Tensor | None
) -> torch.Tensor:
    """[the error's sum of squares, that of what is right]; of the weights themselves where there are no inputs."""
    if inputs is None or inputs_again is None:
        return torch.stack([(again - weight).square().sum(), weight.square().sum()])
    right = inputs @ weight.t()
    return torch.stack([(inputs_again @ again.t() - right).square().sum(), right.square().sum()])


def _rounded_inputs(inputs: torch.Tensor, method: QuantizationMethod) -> torch.Tensor:
    """Each token in 8 bits with a scale of its own, as the PyTorch engine rounds it."""
    largest = inputs.abs().amax(-1, keepdim=True).clamp(min=1e-7)
    if method is QuantizationMethod.FP8:
        scale = largest / _FP8_MAX
        return (inputs / scale).to(torch.float8_e4m3fn).float() * scale
    scale = largest / _INT8_MAX
    return torch.round(inputs / scale) * scale
