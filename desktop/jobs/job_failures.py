"""What goes wrong in a quantization, as a Failure for the user."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import torch

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.quantization import QuantizationPlan
from desktop.domain.quantization_preflight import Room, advice
from desktop.domain.quantization_source import QuantizationSource
from desktop.engine.cpu_loading import is_out_of_memory
from desktop.engine.lmdeploy_failures import first_line
from desktop.jobs.messages import JobStep
from desktop.jobs.result_check import first_not_finite

_WHEN = {
    JobStep.STARTING: "before it began",
    JobStep.READING_TEXT: "while the calibration text was read",
    JobStep.LOADING: "while the model was loaded",
    JobStep.CALIBRATING: "while the calibration text went through the model",
    JobStep.SMOOTHING: "while the layers were scaled",
    JobStep.PACKING: "while the weights were packed",
    JobStep.SAVING: "while the result was written",
    JobStep.CHECKING: "while the result was checked",
}


def quantization_failure(
    problem: Exception, plan: QuantizationPlan, source: QuantizationSource, room: Room, step: JobStep, layer: str
) -> Failure:
    """room: as it was before the job. layer: the one that was worked on last, "" before the first."""
    if isinstance(problem, TurbodeskError):
        return problem.failure
    detail = "".join(traceback.format_exception(problem))
    if reason := _no_room(problem):
        return failure(
            FailureCode.JOB_NO_ROOM, reason=f"the disk of {Path(plan.target).parent} {reason}", detail=detail
        )
    if is_out_of_memory(problem):
        memory = "memory" if plan.device == "cpu" or not isinstance(problem, torch.OutOfMemoryError) else "video memory"
        return failure(
            FailureCode.JOB_OUT_OF_MEMORY,
            memory=memory,
            when=_WHEN[step],
            advice=advice(plan, source, room),
            detail=detail,
        )
    if not Path(plan.source, "config.json").exists():
        return failure(FailureCode.CHECKPOINT_NOT_FOUND, path=plan.source, detail=detail)
    asserted = _asserted(problem)
    if "isnan" in asserted:  # how LMDeploy says that a number is not finite
        return _not_finite(plan, layer, detail)
    reason = (asserted or first_line(problem)) + (f" (in {layer})" if layer else "")
    return failure(FailureCode.JOB_FAILED, when=_WHEN[step], reason=reason, detail=detail)


def _asserted(problem: Exception) -> str:
    """The line of an assertion that failed, which most of them do without a word; "" for any other problem."""
    frames = traceback.extract_tb(problem.__traceback__)
    return (frames[-1].line or "") if isinstance(problem, AssertionError) and not str(problem) and frames else ""


def _not_finite(plan: QuantizationPlan, layer: str, detail: str) -> Failure:
    try:
        tensor = first_not_finite(Path(plan.source))
    except (OSError, TurbodeskError):
        tensor = ""
    if tensor:
        return failure(
            FailureCode.WEIGHTS_NOT_FINITE,
            layer=tensor,
            reason="the model's own file holds NaN or infinity there",
            advice="Download the model again; if it stays so, its makers have to mend it.",
            detail=detail,
        )
    return failure(
        FailureCode.WEIGHTS_NOT_FINITE,
        layer=layer or "a layer",
        reason="its values became too large for 16-bit numbers while text went through it",
        advice="Choose round to nearest, which needs no such pass, or quantize on a card that computes in bfloat16.",
        detail=detail,
    )


# The safetensors library writes by itself, and tells only in words.
_NO_ROOM = {
    errno.ENOSPC: ("No space left on device", "is full"),
    errno.EDQUOT: ("Disk quota exceeded", "holds no more for this user"),
    errno.EFBIG: ("File too large", "takes no file so large"),
}


def _no_room(problem: BaseException) -> str:
    """What is the matter with the disk; "" where it is something else."""
    found: BaseException | None = problem
    while found is not None:
        for number, (words, reason) in _NO_ROOM.items():
            if (isinstance(found, OSError) and found.errno == number) or words in str(found):
                return reason
        found = found.__cause__ or found.__context__
    return ""
