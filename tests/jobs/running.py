"""Jobs on the demo checkpoint for tests: small plans, text from its own guide, a run with all its events."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from desktop.domain.calibration import TextFile
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.jobs.job_process import JobProcess
from desktop.jobs.messages import JobEvent, JobResult, QuantizeJob
from desktop.storage.paths import demo_checkpoint, resources_dir


class Run(NamedTuple):
    """How a job went."""

    result: JobResult | None
    events: list[JobEvent]
    log: list[str]


def guide_text(folder: Path) -> Path:
    """The answers of the demo guide as plain text: what the demo model knows."""
    path = folder / "guide.txt"
    guide = tomllib.loads((resources_dir() / "demo-guide" / "guide.en.toml").read_text(encoding="utf-8"))
    path.write_text("\n\n".join(topic["answer"] for topic in guide["topic"]), encoding="utf-8")
    return path


def demo_job(target: Path, text: Path, method: QuantizationMethod = QuantizationMethod.AWQ, **plan: Any) -> QuantizeJob:
    """Of 4 sequences of 64 tokens on the CPU, unless plan says otherwise."""
    values = {"source": str(demo_checkpoint()), "samples": 4, "sequence_length": 64, "device": "cpu", **plan}
    return QuantizeJob(
        plan=QuantizationPlan(target=str(target), method=method, **values), calibration=(TextFile(str(text)),)
    )


async def run(job: Any, on_start: Callable[[JobProcess, JobEvent], None] | None = None) -> Run:
    """Run it to its end. on_start: called with each event."""
    events: list[JobEvent] = []

    def take(event: JobEvent) -> None:
        events.append(event)
        if on_start is not None:
            on_start(process, event)

    process = JobProcess(job, take)
    return Run(await process.run(), events, process.log)
