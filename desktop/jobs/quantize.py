"""Quantizes one checkpoint, in a job's process: text, LMDeploy, check, card, and one rename. Imports torch."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from desktop.domain.calibration import CalibrationSource, CalibrationStatistics
from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.quantization import QuantizationPlan
from desktop.domain.quantization_source import QuantizationSource
from desktop.jobs.calibration import CalibrationSet, make_calibration_set
from desktop.jobs.messages import (
    CalibrationCounted,
    CountCalibrationJob,
    JobEvent,
    JobStep,
    LayerError,
    Quantized,
    QuantizeJob,
)
from desktop.jobs.progress import ProgressMeter
from desktop.jobs.source import free_room, read_source
from desktop.jobs.work_folder import WorkFolder, remove_leftovers
from desktop.storage.checkpoint_reader import safetensors_files

_STATISTICS_FILES = ("inputs_stats.pth", "outputs_stats.pth")  # LMDeploy leaves them in the result
# Forecasts until they are measured: bytes a second written, seconds of a check, seconds for each byte it unpacks.
_WRITE_BYTES = 200e6
_CHECK_SECONDS = 1.0
_CHECK_SECONDS_A_BYTE = 8e-9
STEPS = (
    JobStep.STARTING,
    JobStep.READING_TEXT,
    JobStep.LOADING,
    JobStep.CALIBRATING,
    JobStep.SMOOTHING,
    JobStep.PACKING,
    JobStep.SAVING,
    JobStep.CHECKING,
)

Tell = Callable[[JobEvent], None]


def quantize(job: QuantizeJob, tell: Tell) -> Quantized:
    """Raises TurbodeskError; then nothing of the result is left."""
    meter = ProgressMeter(STEPS, tell)
    job.plan.check()
    target = Path(job.plan.target)
    source = read_source(job.plan.source)
    remove_leftovers(target.parent)
    folder = WorkFolder(target)
    try:
        return _Quantization(job, source, folder, meter, tell).run()
    finally:
        folder.discard()


def count_calibration(job: CountCalibrationJob, tell: Tell) -> CalibrationCounted:
    """Raises TurbodeskError."""
    tokenizer = _tokenizer(job.checkpoint, job.trust_remote_code)
    found = make_calibration_set(
        job.calibration, tokenizer, job.samples, job.sequence_length, seed=job.seed, count_all=True
    )
    return CalibrationCounted(found.statistics)


class _Quantization:
    def __init__(
        self, job: QuantizeJob, source: QuantizationSource, folder: WorkFolder, meter: ProgressMeter, tell: Tell
    ) -> None:
        self._job = job
        self._plan = job.plan
        self._source = source
        self._folder = folder
        self._meter = meter
        self._tell = tell
        self._errors: list[LayerError] = []
        self._room = free_room(folder.path, free_on_card(self._plan))

    def run(self) -> Quantized:
        from desktop.jobs.job_failures import quantization_failure
        from desktop.jobs.lite_driver import LiteDriver

        result = self._source.result_bytes(self._plan.method, self._plan.kept)
        if result > self._room.disk:
            raise error(
                FailureCode.JOB_NO_ROOM,
                reason=f"it needs {result / 2**30:.1f} GB, and {self._room.disk / 2**30:.1f} GB are free",
            )
        driver: LiteDriver | None = None
        try:
            text = read_text(self._plan, self._job.calibration, self._meter)
            samples = text.samples if text else []
            self._meter.expect(JobStep.SAVING, saving_seconds(result))
            self._meter.expect(JobStep.CHECKING, checking_seconds(self._source))
            self._meter.begin(JobStep.LOADING)
            driver = LiteDriver(self._plan, samples, self._meter, self._take_error)
            driver.run(self._folder.result)
            return self._finish(text)
        except Exception as problem:
            found = quantization_failure(
                problem, self._plan, self._source, self._room, self._meter.step, driver.layer if driver else ""
            )
            raise TurbodeskError(found) from problem

    def _take_error(self, found: LayerError) -> None:
        self._errors.append(found)
        self._tell(found)

    def _finish(self, text: CalibrationSet | None) -> Quantized:
        from desktop.jobs.quantization_card import (
            QuantizationRecord,
            library_versions,
            source_digest,
            write_calibration,
            write_card,
        )
        from desktop.jobs.result_check import check_result

        folder, source = self._folder.result, Path(self._plan.source)
        for name in _STATISTICS_FILES:
            (folder / name).unlink(missing_ok=True)
        gc.collect()  # the model's reference cycles
        self._meter.begin(JobStep.CHECKING)
        tokens = text.samples[0][0].tolist() if text else range(1, 9)
        checked = check_result(folder, tokens, self._plan.trust_remote_code)
        statistics: CalibrationStatistics | None = text.statistics if text else None
        calibration_file = write_calibration(folder, text.samples, text.statistics.sha256) if text else ""
        weight_bytes = sum(path.stat().st_size for path in safetensors_files(folder))
        record = QuantizationRecord(
            job=self._job,
            source_digest=source_digest(source, safetensors_files(source)),
            versions=library_versions(),
            seconds=round(self._meter.seconds, 1),
            checked=checked,
            source_bytes=self._source.model_bytes,
            weight_bytes=weight_bytes,
            calibration=statistics,
            calibration_file=calibration_file,
            layer_errors=tuple(self._errors),
        )
        write_card(folder, record)
        self._folder.publish()
        return Quantized(
            path=self._plan.target,
            seconds=self._meter.seconds,
            weight_bytes=weight_bytes,
            peak_host=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            peak_card=torch.cuda.max_memory_allocated() if self._room.card is not None else 0,
            calibration=statistics,
            layer_errors=tuple(self._errors),
        )


def read_text(
    plan: QuantizationPlan, sources: Sequence[CalibrationSource], meter: ProgressMeter
) -> CalibrationSet | None:
    """The calibration sequences of a plan; None where its method reads none. Raises TurbodeskError."""
    if not plan.facts.calibrates:
        return None
    meter.begin(JobStep.READING_TEXT)
    tokenizer = _tokenizer(plan.source, plan.trust_remote_code)
    return make_calibration_set(sources, tokenizer, plan.samples, plan.sequence_length, seed=plan.seed)


def saving_seconds(result: int) -> float:
    """Forecast, for a result of so many bytes."""
    return result / _WRITE_BYTES


def checking_seconds(source: QuantizationSource) -> float:
    """Forecast, for the result of a checkpoint."""
    return _CHECK_SECONDS + source.model_bytes * _CHECK_SECONDS_A_BYTE


def free_on_card(plan: QuantizationPlan) -> int | None:
    """Bytes; None on a CPU. Raises TurbodeskError where there is no card for the plan."""
    if plan.device == "cpu":
        return None
    if not torch.cuda.is_available():
        reason = "PyTorch finds no card it can use; choose the CPU"
        raise error(FailureCode.QUANTIZATION_REFUSED, model="The model", reason=reason)
    return int(torch.cuda.mem_get_info()[0])


def _tokenizer(path: str, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    from desktop.engine.lmdeploy_failures import first_line

    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as problem:
        raise error(FailureCode.TOKENIZER_BROKEN, reason=first_line(problem)) from problem
