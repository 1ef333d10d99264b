"""A job's process: cancelled, killed, left alone, and what a window that comes later finds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.jobs import job_process
from desktop.jobs.job_process import JobProcess
from desktop.jobs.job_state import read_state
from desktop.jobs.messages import Failed, JobEvent, JobState, JobStep, Progress, Quantized
from desktop.storage.checkpoint_reader import read_checkpoint
from tests.jobs.kill_jobs import found_models, kill_jobs
from tests.jobs.running import demo_job, run


def reached(step: JobStep) -> tuple[asyncio.Event, Callable[[JobEvent], None]]:
    event = asyncio.Event()

    def take(message: JobEvent) -> None:
        if isinstance(message, Progress) and message.step is step:
            event.set()

    return event, take


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def test_cancelled_while_it_calibrates(tmp_path: Path, guide: Path) -> None:
    calibrating, take = reached(JobStep.CALIBRATING)
    job = JobProcess(demo_job(tmp_path / "out", guide, samples=64, sequence_length=128), take)
    running = asyncio.create_task(job.run())
    await calibrating.wait()
    assert len(list(tmp_path.iterdir())) == 1
    await job.cancel()
    with pytest.raises(TurbodeskError) as caught:
        await running
    assert caught.value.failure.code is FailureCode.JOB_CANCELLED
    assert list(tmp_path.iterdir()) == []
    assert job.pid is not None
    assert not psutil.pid_exists(job.pid)


@pytest.mark.parametrize(("uuid", "seen"), [("", "1"), ("MIG-part", "MIG-part")])
async def test_the_process_sees_the_chosen_card_and_no_other(
    tmp_path: Path, guide: Path, monkeypatch: pytest.MonkeyPatch, uuid: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # by the user, for this program
    started: list[bytes] = []

    def look(pid: int) -> None:
        started.extend(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))

    job = demo_job(tmp_path / "out", guide, device="cuda", card=1, card_uuid=uuid)
    with pytest.raises(TurbodeskError):  # there is no such card here
        await JobProcess(job, lambda event: None, on_start=look).run()
    assert [one for one in started if one.startswith(b"CUDA_VISIBLE")] == [f"CUDA_VISIBLE_DEVICES={seen}".encode()]


async def test_a_cancelled_task_cancels_the_job(tmp_path: Path, guide: Path) -> None:
    loading, take = reached(JobStep.LOADING)
    job = JobProcess(demo_job(tmp_path / "out", guide), take)
    running = asyncio.create_task(job.run())
    await loading.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert list(tmp_path.iterdir()) == []


async def test_killed_by_somebody_else(tmp_path: Path, guide: Path) -> None:
    def kill(process: JobProcess, event: JobEvent) -> None:
        if isinstance(event, Progress) and event.step is JobStep.CALIBRATING:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(TurbodeskError) as caught:
        await run(demo_job(tmp_path / "out", guide), kill)
    assert caught.value.failure.code is FailureCode.JOB_DIED
    assert "while it was calibrating" in caught.value.failure.message
    assert "SIGKILL" in caught.value.failure.message
    assert "Loading calibrate dataset" in caught.value.failure.detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.chaos
def test_killed_at_any_moment(tmp_path: Path, guide: Path) -> None:
    assert kill_jobs(3, tmp_path, guide, seed=1)["rounds"] == 3


async def test_left_alone_it_goes_on(tmp_path: Path, guide: Path) -> None:
    """And its state can be read by a window that knows only the file."""
    state_file, log_file = tmp_path / "state" / "job.json", tmp_path / "job.log"
    loading, take = reached(JobStep.LOADING)
    job = JobProcess(demo_job(tmp_path / "out", guide), take, state_file=str(state_file))
    running = asyncio.create_task(job.run())
    await loading.wait()
    await job.detach(str(log_file))
    assert await running is None
    assert job.pid is not None
    process = psutil.Process(job.pid)

    def ended() -> JobState | None:
        state = read_state(state_file)
        return state if state is not None and state.ended is not None else None

    await until(lambda: ended() is not None)
    state = ended()
    assert state is not None
    assert state.pid == job.pid
    assert isinstance(state.ended, Quantized)
    assert state.ended.path == str(tmp_path / "out")
    assert read_checkpoint(tmp_path / "out").quantization is not None
    assert "weight packed" in log_file.read_text()
    await asyncio.to_thread(process.wait, 10)


async def test_the_state_of_a_failed_job(tmp_path: Path, guide: Path) -> None:
    (tmp_path / "out").mkdir()
    job = JobProcess(demo_job(tmp_path / "out", guide), lambda event: None, state_file=str(tmp_path / "state"))
    with pytest.raises(TurbodeskError):
        await job.run()
    state = read_state(tmp_path / "state")
    assert state is not None
    assert isinstance(state.ended, Failed)
    assert state.ended.failure.code is FailureCode.JOB_TARGET_TAKEN
    assert read_state(tmp_path / "nothing") is None


@pytest.mark.parametrize("detached", [False, True])
async def test_when_the_window_dies(detached: bool, tmp_path: Path, guide: Path) -> None:
    """The job goes with it, unless it was told to go on."""
    program = """
import asyncio, sys
from pathlib import Path
from typing import IO
from desktop.jobs import job_process
from desktop.jobs.job_process import JobProcess
from desktop.jobs.messages import JobStep, Progress
from tests.jobs.running import demo_job
async def main():
    job = JobProcess(demo_job(Path(sys.argv[1]), Path(sys.argv[2]), samples=16), take)
    running = asyncio.create_task(job.run())
    await loading.wait()
    if sys.argv[3] == "True":
        await job.detach()
    print(job.pid, flush=True)
    if sys.argv[3] != "True":
        await running
def take(event):
    if isinstance(event, Progress) and event.step is JobStep.LOADING:
        loading.set()
loading = asyncio.Event()
asyncio.run(main())
"""
    window = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "out"), str(guide), str(detached)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert window.stdout is not None
    pid = int(await window.stdout.readline())
    with contextlib.suppress(ProcessLookupError):
        window.kill()
    await window.communicate()
    await until(lambda: not psutil.pid_exists(pid))
    assert found_models(tmp_path) == ([str(tmp_path / "out")] if detached else [])


def test_what_the_window_imports_is_light() -> None:
    program = """
import sys
import desktop.jobs.job_process, desktop.jobs.job_state, desktop.jobs.pieces, desktop.jobs.source
print(sorted({"torch", "transformers", "lmdeploy", "numpy", "safetensors", "PySide6"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_cancelled_before_it_has_begun_leaves_no_process(tmp_path: Path, guide: Path) -> None:
    """The process comes to life in a thread; whoever gives up meanwhile must not forget it."""
    for turns in range(12):
        job = JobProcess(demo_job(tmp_path / "out", guide), lambda event: None)
        running = asyncio.create_task(job.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert job.pid is None or not psutil.pid_exists(job.pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opened", [0, 1])
async def test_cancelled_between_its_two_outputs_closes_both(
    tmp_path: Path, guide: Path, monkeypatch: pytest.MonkeyPatch, opened: int
) -> None:
    pipes = []
    read = job_process._reader

    async def cancelled_later(pipe: IO[bytes]) -> object:
        pipes.append(pipe)
        if len(pipes) > opened:
            running.cancel()
            await asyncio.sleep(1)
        return await read(pipe)

    monkeypatch.setattr(job_process, "_reader", cancelled_later)
    job = JobProcess(demo_job(tmp_path / "out", guide), lambda event: None)
    running = asyncio.create_task(job.run())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert job._process is not None
    for pipe in (job._process.stdout, job._process.stderr):
        assert pipe is not None
        assert pipe.closed
