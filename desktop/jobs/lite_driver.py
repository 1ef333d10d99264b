"""Drives LMDeploy's quantizers (lmdeploy.lite) with our own calibration sequences, and watches them.

The only module that touches their inner names, all of LMDeploy 0.18. Nothing in LMDeploy is edited and no number of
the result depends on the watching: names in its modules are replaced for the time of one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from desktop.domain.quantization import QuantizationMethod, QuantizationPlan, lite_arguments
from desktop.jobs.layer_error import ErrorMeter
from desktop.jobs.messages import JobStep, LayerError
from desktop.jobs.progress import ProgressMeter

# Of each shape of layer so much is rounded and packed before, to know how long all will take.
_TRIAL_ROWS = 256
_TRIAL_COLUMNS = 4


class LiteDriver:
    """One run. on_error: called with the error of each linear layer when it is packed.

    layer: the one that was worked on last, for a failure's sentence.
    """

    def __init__(
        self,
        plan: QuantizationPlan,
        samples: list[torch.Tensor],
        meter: ProgressMeter,
        on_error: Callable[[LayerError], None],
    ) -> None:
        self._plan = plan
        self._samples = samples
        self._meter = meter
        self._errors = ErrorMeter(plan.method, on_error)
        self._to_pack: list[Any] = []
        self._unpacked = 0
        self.layer = ""

    def run(self, folder: Path) -> None:
        """Quantize into an empty folder. Raises whatever LMDeploy raises."""
        method, arguments = self._plan.method, lite_arguments(self._plan)
        if self._plan.facts.calibrates:
            # The text may have given fewer sequences than were asked for.
            arguments["calib_samples"] = len(self._samples)
        with self._replaced_names():
            if method is QuantizationMethod.GPTQ:
                from lmdeploy.lite.apis.gptq import auto_gptq as quantize
            elif method in (QuantizationMethod.INT8, QuantizationMethod.FP8):
                from lmdeploy.lite.apis.smooth_quant import QLinear
                from lmdeploy.lite.apis.smooth_quant import smooth_quant as quantize

                # LMDeploy loads its kernels with the first layer, whose seconds would be taken for a layer's.
                QLinear.from_float(torch.nn.Linear(16, 16, dtype=torch.float16))
            else:
                from lmdeploy.lite.apis.auto_awq import auto_awq as quantize
            quantize(self._plan.source, work_dir=str(folder), **arguments)

    @contextmanager
    def _replaced_names(self) -> Iterator[None]:
        from lmdeploy.lite.apis import auto_awq, calibrate
        from lmdeploy.lite.quantization import awq

        with ExitStack() as names:

            def replace(module: Any, name: str, value: Any) -> None:
                names.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value)

            replace(calibrate, "get_calib_loaders", self._loaders)
            for name in ("CalibrationContext", "CalibrationContextV2"):
                replace(calibrate, name, self._watched_context(getattr(calibrate, name)))
            replace(awq, "SKIPPED_MODULE", [*awq.SKIPPED_MODULE, *self._plan.kept])
            replace(awq, "smooth_ln_fcs", self._errors.noting_scales(awq.smooth_ln_fcs))
            replace(awq, "smooth_fc_fcs", self._errors.noting_scales(awq.smooth_fc_fcs))
            replace(awq, "pseudo_quantize_tensor", self._errors.measuring(awq.pseudo_quantize_tensor))
            replace(auto_awq, "quant_weights", partial(self._quant_weights, awq.quant_weights))
            modules = [auto_awq]
            if self._plan.method is QuantizationMethod.GPTQ:
                from lmdeploy.lite.apis import gptq

                replace(gptq, "get_calib_loaders", self._loaders)
            elif self._plan.method in (QuantizationMethod.INT8, QuantizationMethod.FP8):
                from lmdeploy.lite.apis import smooth_quant

                replace(smooth_quant, "QLinear", self._watched_linear(smooth_quant.QLinear))
                modules.append(smooth_quant)
            for module in modules:
                for name in ("smooth_layers", "awq_layers"):
                    replace(module, name, partial(self._smooth, getattr(awq, name)))
            yield

    def _loaders(self, *_: object, **__: object) -> list[torch.Tensor]:
        return self._samples

    def _watched_context(self, context: Any) -> Any:
        driver = self

        class Watched(context):  # type: ignore[misc]
            def __enter__(self) -> None:
                super().__enter__()
                driver._watch_calibration(self)

        return Watched

    def _watch_calibration(self, context: Any) -> None:
        """Called when LMDeploy has put its own hooks in; it takes all of them out again."""
        for name, linear in context.name2fc.items():
            context._hooks.append(linear.register_forward_pre_hook(self._errors.input_hook(name)))
        self._to_pack = list(context.name2fc.values())
        self._forecast_packing(context.name2fc, len(context.name2layer))
        self._meter.begin(JobStep.CALIBRATING, work=len(context.name2layer), layers=len(context.name2layer))
        for name, layer in context.name2layer.items():
            layer.forward = partial(self._forward, layer.forward, name)

    def _forward(self, forward: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
        self.layer = name
        outputs = forward(*args, **kwargs)
        self._meter.advance()
        return outputs

    def _smooth(self, smooth: Callable[..., Any], layers: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        self._meter.begin(JobStep.SMOOTHING, work=len(layers), layers=len(layers))
        smooth(_Watched(layers, self._take_layer, lambda name, layer: self._meter.advance()), *args, **kwargs)
        if self._plan.method in (QuantizationMethod.INT8, QuantizationMethod.FP8):
            self._begin_packing(self._to_pack)

    def _quant_weights(
        self, quant_weights: Callable[..., Any], model: Any, linears: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        self._begin_packing(linears.values())
        watched = _Watched(linears, self._take_layer, self._packed)
        skipped = quant_weights(model, watched, *args, **kwargs)
        self._meter.begin(JobStep.SAVING)
        return skipped

    def _take_layer(self, name: str) -> None:
        self.layer = self._errors.layer = name

    def _begin_packing(self, linears: Collection[Any]) -> None:
        self._unpacked = len(linears)
        self._meter.begin(JobStep.PACKING, work=sum(linear.weight.numel() for linear in linears), layers=len(linears))

    def _packed(self, name: str, linear: Any) -> None:
        self._unpacked -= 1
        self._meter.advance(linear.weight.numel())

    def _packed_to_8_bits(self, linear: Any) -> None:
        self._packed("", linear)
        if self._unpacked == 0:
            self._meter.begin(JobStep.SAVING)

    def _watched_linear(self, linear_class: Any) -> Any:
        driver = self

        class Watched(linear_class):  # type: ignore[misc]
            @classmethod
            def from_float(cls, module: Any, *args: Any, **kwargs: Any) -> Any:
                packed = linear_class.from_float(module, *args, **kwargs)
                driver._errors.measure_8_bits(module, packed)
                driver._packed_to_8_bits(module)
                return packed

        return Watched

    def _forecast_packing(self, linears: Mapping[str, Any], layers: int) -> None:
        """Try the slow part of packing on a few columns of each shape, milliseconds in all."""
        seconds: dict[tuple[int, int], tuple[float, float]] = {}
        steps = packing = 0.0
        for linear in linears.values():
            shape = (linear.out_features, linear.in_features)
            if shape not in seconds:
                seconds[shape] = self._trial(linear.weight.data)
            steps += seconds[shape][0]
            packing += sum(seconds[shape])
        smooths = layers > 0 and self._plan.method is not QuantizationMethod.GPTQ
        self._meter.expect(JobStep.SMOOTHING, steps if smooths else 0.0)
        self._meter.expect(JobStep.PACKING, packing)

    def _trial(self, weight: torch.Tensor) -> tuple[float, float]:
        """Seconds of the arithmetic on a weight, and of putting its bits together (4 bits: WeightOnlyQLinear)."""
        from lmdeploy.lite.quantization.awq import pseudo_quantize_tensor

        outputs, inputs = weight.shape
        some = weight[:_TRIAL_ROWS].to(self._plan.device)
        group = self._plan.group_size if inputs % self._plan.group_size == 0 else -1
        arithmetic = _timed(lambda: pseudo_quantize_tensor(some, 4, group)) * outputs / len(some)
        if self._plan.facts.bits != 4:
            return arithmetic, 0.0
        packing = 0.0
        for rows in (inputs, max(1, inputs // self._plan.group_size)):  # weights, then zero points
            numbers = torch.zeros((rows, outputs), dtype=torch.int32, device=self._plan.device)
            packed = torch.zeros((rows, max(1, outputs // 8)), dtype=torch.int32, device=self._plan.device)
            packing += _timed(partial(_pack_columns, numbers, packed)) * packed.shape[1] / _TRIAL_COLUMNS
        return arithmetic, packing


class _Watched(dict[str, Any]):
    """A mapping that tells when somebody goes through it: before(name) and after(name, value)."""

    def __init__(
        self, content: Mapping[str, Any], before: Callable[[str], None], after: Callable[[str, Any], None]
    ) -> None:
        super().__init__(content)
        self._before, self._after = before, after

    def items(self) -> Any:
        for name, value in super().items():
            self._before(name)
            yield name, value
            self._after(name, value)


def _pack_columns(numbers: torch.Tensor, packed: torch.Tensor) -> None:
    columns = packed.shape[1]
    for step in range(_TRIAL_COLUMNS):
        column = step * columns // _TRIAL_COLUMNS
        for place in range(8):
            packed[:, column] |= numbers[:, (column * 8 + place) % numbers.shape[1]] << (place * 4)


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the second of two runs: the first one warms up."""
    work()
    _wait_for_card()
    start = time.perf_counter()
    work()
    _wait_for_card()
    return time.perf_counter() - start


def _wait_for_card() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
