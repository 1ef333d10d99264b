"""Quantizes the first layer alone, with all of the text, to know what the whole job will take. Imports torch."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import msgspec
import torch

from desktop.domain.errors import TurbodeskError
from desktop.domain.quantization import QuantizationPlan
from desktop.domain.quantization_source import QuantizationSource
from desktop.jobs.messages import JobStep, Tried, TryJob
from desktop.jobs.progress import ProgressMeter
from desktop.jobs.quantize import STEPS, Tell, checking_seconds, free_on_card, read_text, saving_seconds
from desktop.jobs.source import free_room, read_source
from desktop.jobs.work_folder import WorkFolder, remove_leftovers

_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Forecast: bytes a second of a model that is read from the disk.
_READ_BYTES = 500e6


def try_one_layer(job: TryJob, tell: Tell) -> Tried:
    """Measure one layer and forecast all. Raises TurbodeskError as the job itself would; leaves nothing behind."""
    from desktop.jobs.job_failures import quantization_failure
    from desktop.jobs.lite_driver import LiteDriver

    meter = ProgressMeter(STEPS, tell)
    plan = job.plan
    plan.check()
    source = read_source(plan.source)
    remove_leftovers(Path(plan.target).parent)
    folder = WorkFolder(Path(plan.target))
    room = free_room(folder.path, free_on_card(plan))
    driver: LiteDriver | None = None
    try:
        text = read_text(plan, job.calibration, meter)
        small = msgspec.structs.replace(plan, source=str(_one_layer(Path(plan.source), folder.path / "one-layer")))
        meter.begin(JobStep.LOADING)
        driver = LiteDriver(small, text.samples if text else [], meter, lambda error: None)
        driver.run(folder.result)
    except TurbodeskError:
        raise
    except Exception as problem:
        layer = driver.layer if driver else ""
        raise TurbodeskError(quantization_failure(problem, plan, source, room, meter.step, layer)) from problem
    finally:
        folder.discard()
    meter.finish()
    return Tried(
        seconds=_whole(meter.spent, plan, source),
        layer_seconds=sum(meter.spent.get(step, 0.0) for step in _BY_LAYER),
        peak_host=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        peak_card=torch.cuda.max_memory_allocated() if room.card is not None else 0,
        calibration=text.statistics if text else None,
    )


_BY_LAYER = (JobStep.CALIBRATING, JobStep.SMOOTHING, JobStep.PACKING)


def _whole(spent: dict[JobStep, float], plan: QuantizationPlan, source: QuantizationSource) -> float:
    """Forecast seconds of the job: its layers are alike, and the rest goes by bytes."""
    first = min(linear.layer for linear in source.linears)
    weights = [(linear.layer, linear.outputs * linear.inputs) for linear in source.packed(plan.kept)]
    packed_once = sum(size for layer, size in weights if layer == first) or 1
    layers = source.layers * (spent.get(JobStep.CALIBRATING, 0.0) + spent.get(JobStep.SMOOTHING, 0.0))
    packing = spent.get(JobStep.PACKING, 0.0) * sum(size for _, size in weights) / packed_once
    once = sum(spent.get(step, 0.0) for step in (JobStep.STARTING, JobStep.READING_TEXT, JobStep.LOADING))
    once += (source.model_bytes - source.layer_bytes - source.embedding_bytes) / _READ_BYTES
    after = saving_seconds(source.result_bytes(plan.method, plan.kept)) + checking_seconds(source)
    return once + layers + packing + after


def _one_layer(source: Path, folder: Path) -> Path:
    """A model folder like `source`, whose config.json says that there is a single layer; its files are links."""
    folder.mkdir()
    for name in os.listdir(source):
        if name != "config.json":
            (folder / name).symlink_to((source / name).absolute())
    config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    for key in _LAYER_COUNTS:
        if isinstance(layers := config.get(key), int):
            lists = {name for name, value in config.items() if isinstance(value, list) and len(value) == layers}
            config |= {name: config[name][:1] for name in lists}
            config[key] = 1
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
