"""Kills (-9) of a quantization at random moments, and what must be true afterwards. `make chaos` runs many."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from pathlib import Path

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.quantization import QuantizationMethod
from desktop.domain.shelf import SourceKind
from desktop.jobs.job_process import JobProcess
from desktop.jobs.messages import JobEvent, JobStep, Progress, Quantized
from desktop.jobs.work_folder import PREFIX
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_walk import Walk
from tests.jobs.running import demo_job, guide_text


def found_models(root: Path) -> list[str]:
    """What the scan for models lists."""
    return [path for path, _ in Walk().find(ScanRoot(str(root), SourceKind.OWN))]


def kill_jobs(rounds: int, folder: Path, guide: Path, seed: int = 0) -> dict[str, object]:
    """Kill a job at a random moment, whoever watches it with it; raises AssertionError on the first broken promise.

    No half-made model is listed, and the next job, which is not killed, succeeds and removes what was left.
    """
    chance = random.Random(seed)
    steps: dict[str, int] = {}
    whole = leftovers = 0
    for number in range(rounds):
        target = folder / f"model-{number}"
        step, left = asyncio.run(_kill_one(target, guide, chance))
        steps[step] = steps.get(step, 0) + 1
        leftovers += left
        listed = found_models(folder)
        if target.exists():  # killed after the rename
            assert read_checkpoint(target).quantization is not None
            whole += 1
        assert listed == sorted(str(path) for path in folder.iterdir() if not path.name.startswith(".")), listed
    last = folder / "last"
    result = asyncio.run(JobProcess(demo_job(last, guide, QuantizationMethod.ROUND), lambda event: None).run())
    assert isinstance(result, Quantized)
    assert not [name for name in os.listdir(folder) if name.startswith(PREFIX)]
    assert str(last) in found_models(folder)
    return {"rounds": rounds, "leftovers": leftovers, "already_whole": whole, "killed_while": steps}


def kill_quantization(rounds: int) -> dict[str, object]:
    """kill_jobs in a folder of its own; at most 20 rounds, since each takes as long as a job."""
    rounds = min(rounds, 20)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as models:
        return kill_jobs(rounds, Path(models), guide_text(Path(folder)))


async def _kill_one(target: Path, guide: Path, chance: random.Random) -> tuple[str, int]:
    """The step in which it was killed, and how many leftovers there were."""
    method = chance.choice((QuantizationMethod.AWQ, QuantizationMethod.ROUND, QuantizationMethod.INT8))
    left_out = _OF_COMPARING + (_OF_TEXT if method is QuantizationMethod.ROUND else ())
    steps = [step for step in JobStep if step not in left_out]
    wanted, moments, last = chance.choice(steps), chance.uniform(0, 0.6), JobStep.STARTING
    left: list[int] = []

    def kill() -> None:
        if not running.done():
            assert job.pid is not None
            os.killpg(job.pid, signal.SIGKILL)
            left.append(sum(name.startswith(PREFIX) for name in os.listdir(target.parent)))

    def take(event: JobEvent) -> None:
        nonlocal last
        if isinstance(event, Progress):
            if event.step is wanted and last is not wanted:
                asyncio.get_running_loop().call_later(moments, kill)
            last = event.step

    job = JobProcess(demo_job(target, guide, method), take)
    running = asyncio.create_task(job.run())
    await asyncio.wait([running])
    problem = running.exception()
    if problem is not None:
        assert isinstance(problem, TurbodeskError), problem
        assert problem.failure.code is FailureCode.JOB_DIED, problem
    return last.value, sum(left)


_OF_COMPARING = (JobStep.ASKING, JobStep.READING_ALONG)
_OF_TEXT = (JobStep.READING_TEXT, JobStep.CALIBRATING, JobStep.SMOOTHING)
