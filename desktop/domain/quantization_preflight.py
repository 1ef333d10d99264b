"""What a quantization will need of disk and memory before it starts, and the settings that fit."""

from __future__ import annotations

import msgspec

from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.domain.quantization_source import QuantizationSource

_GIB = 2**30
# Forecast: torch, Transformers and LMDeploy in the job's process (0.9 GB resident on a machine without a card).
PROCESS_BYTES = 1_200_000_000
CUDA_CONTEXT_BYTES = 500_000_000
FEWEST_SAMPLES = 16
SHORTEST_SEQUENCE = 256


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are free now: on the disk of the target, in the machine, on the card (None without one)."""

    disk: int
    host: int
    card: int | None = None


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """Forecast bytes that a job cannot do without. result: of the weights file it writes. card: 0 on a CPU.

    The last check unpacks the result, and takes more of the machine's memory where there is more.
    """

    result: int
    disk: int
    host: int
    card: int


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """A plan against what is free. warnings: a sentence for each thing that will not do; none: it fits.

    suggestion: the plan with the samples, lengths and batch that fit, where such settings alone help.
    """

    needs: Needs
    warnings: tuple[str, ...] = ()
    suggestion: QuantizationPlan | None = None

    @property
    def fits(self) -> bool:
        """Whether the job can be started as it is."""
        return not self.warnings


def forecast_needs(plan: QuantizationPlan, source: QuantizationSource, skipped: tuple[str, ...] = ()) -> Needs:
    """Forecast a job; skipped: parts of names of modules that LMDeploy leaves in 16 bits."""
    result = source.result_bytes(plan.method, (*skipped, *plan.kept))
    working = _working_bytes(plan, source)
    statistics = 40 * sum(linear.inputs + linear.outputs for linear in source.linears)
    disk = result + (statistics if plan.facts.calibrates else 0) + 16 * plan.calibration_tokens
    if plan.device == "cpu":
        return Needs(result=result, disk=disk, host=PROCESS_BYTES + source.model_bytes + working, card=0)
    host = PROCESS_BYTES + source.model_bytes
    return Needs(result=result, disk=disk, host=host, card=CUDA_CONTEXT_BYTES + working)


def _working_bytes(plan: QuantizationPlan, source: QuantizationSource) -> int:
    """What lies beside the model where the layers are computed.

    The hidden states S of all samples go through one layer at a time: 4 S + embedding + one layer while a layer's
    outputs are put together, about 6 S in the last norm, whichever is more. Three reports agree within 0.02 GB with
    the first (LMDeploy issues 1729, 2873, 1656); the second is derived. A batch of more than one adds what its
    sequences hold inside a layer; scale search adds copies of a layer.
    """
    config = source.config
    if not plan.facts.calibrates:
        return source.layer_bytes
    hidden = config.hidden_size or 0
    states = 2 * plan.samples * plan.sequence_length * hidden
    inside = 2 * plan.sequence_length * (3 * (config.intermediate_size or 4 * hidden) + 4 * hidden)
    layer = source.embedding_bytes + source.layer_bytes + (plan.batch_size - 1) * inside
    if plan.method is QuantizationMethod.AWQ_SEARCH:
        layer += 2 * source.layer_bytes + plan.batch_size * inside
    return max(4 * states + layer, 6 * states + source.embedding_bytes)


def preflight(
    plan: QuantizationPlan, source: QuantizationSource, room: Room, skipped: tuple[str, ...] = ()
) -> Preflight:
    """Compare what a job needs with what is free, and look for settings that fit."""
    needs = forecast_needs(plan, source, skipped)
    warnings = []
    if needs.disk > room.disk:
        warnings.append(f"The result needs {_gb(needs.disk)} on the disk, and {_gb(room.disk)} are free.")
    if needs.host > room.host:
        what = "The model in 16 bits" if plan.device == "cuda" else "The model and the calibration"
        warnings.append(f"{what} will need {_gb(needs.host)} of memory, and {_gb(room.host)} are free.")
    if needs.card > (room.card or 0):
        free = "there is no card" if room.card is None else f"{_gb(room.card)} are free on the card"
        warnings.append(f"The calibration will need {_gb(needs.card)} of video memory, and {free}.")
    suggestion = fitting_plan(plan, source, room, skipped) if warnings else None
    return Preflight(needs=needs, warnings=tuple(warnings), suggestion=suggestion)


def fitting_plan(
    plan: QuantizationPlan, source: QuantizationSource, room: Room, skipped: tuple[str, ...] = ()
) -> QuantizationPlan | None:
    """The plan with as much calibration as fits, at most what it asks for; None where no such setting fits.

    The batch gives way first, since it only saves time; then the samples down to 16, then their length.
    """
    length = plan.sequence_length
    while True:
        samples = plan.samples
        while True:
            for batch in sorted({min(plan.batch_size, samples), 1}, reverse=True):
                tried = msgspec.structs.replace(plan, samples=samples, sequence_length=length, batch_size=batch)
                if not tried.problems() and _fits(forecast_needs(tried, source, skipped), room):
                    return tried
            if samples <= FEWEST_SAMPLES:
                break
            samples = max(FEWEST_SAMPLES, samples // 2)
        if length <= SHORTEST_SEQUENCE or not plan.facts.calibrates:
            return None
        length = max(SHORTEST_SEQUENCE, length // 2)


def advice(plan: QuantizationPlan, source: QuantizationSource, room: Room, skipped: tuple[str, ...] = ()) -> str:
    """What to change after memory ran out, as a sentence. room: as it was before the job."""
    fitting = fitting_plan(plan, source, room, skipped)
    if fitting is None:
        return "No smaller calibration would fit; close other programs, or choose a smaller model."
    if fitting == plan:
        # The forecast was too low, or somebody else took the memory meanwhile.
        samples, length = plan.samples, plan.sequence_length
        if samples > FEWEST_SAMPLES:
            samples = max(FEWEST_SAMPLES, samples // 2)
        else:
            length = max(SHORTEST_SEQUENCE, length // 2)
        fitting = msgspec.structs.replace(plan, samples=samples, sequence_length=length, batch_size=1)
    needs = forecast_needs(fitting, source, skipped)
    return (
        f"Start it again with {fitting.samples} samples of {fitting.sequence_length} tokens and a batch of "
        f"{fitting.batch_size}, which should need {_gb(needs.card or needs.host)}."
    )


def _fits(needs: Needs, room: Room) -> bool:
    return needs.disk <= room.disk and needs.host <= room.host and needs.card <= (room.card or 0)


def _gb(size: int) -> str:
    return f"{size / _GIB:.1f} GB"
