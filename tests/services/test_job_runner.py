"""The queue of jobs with real job processes on the demo model: in turn, stopped, killed, alone, and after a restart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.calibration import TextFile
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode
from desktop.domain.evaluation import Grade
from desktop.domain.memory_reading import JobKind, RunningJob
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.jobs.job_record import EvaluationPair, JobStatus, read_records
from desktop.jobs.messages import EvaluationText, Job, MeasureJob, QuantizeJob
from desktop.services.engine_host import EngineHost
from desktop.services.job_runner import JobRunner
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.paths import demo_checkpoint

DEMO = demo_checkpoint()
GUIDE = DEMO.parent / "demo-guide" / "guide.en.toml"


class Bench:
    """A runner with a host whose engine is scripted."""

    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.folder = folder
        self.qtbot = qtbot
        self.host = EngineHost(lambda on_log: ScriptedEngine(Script()), read_checkpoint)
        self.runner = JobRunner(folder / "jobs", self.host, self.check)

    @staticmethod
    def check(job: Job) -> None:
        """Every model is trusted that brings no code."""
        assert not isinstance(job, QuantizeJob) or not job.plan.trust_remote_code

    def until(self, true: Callable[[], bool], seconds: float = 90) -> None:
        # In short steps: a long wait for events starves the threads of Python.
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline
            self.qtbot.wait(20)

    def plan(self, name: str) -> QuantizationPlan:
        return QuantizationPlan(
            source=str(DEMO), target=str(self.folder / name), method=QuantizationMethod.ROUND, device="cpu"
        )

    def quantize(self, name: str, **options: Any) -> int:
        return self.runner.add(QuantizeJob(plan=self.plan(name)), f"Quantize {name}", **options)

    def state(self, number: int) -> JobStatus:
        record = self.runner.job(number)
        assert record is not None
        return record.status

    def saved(self) -> dict[int, JobStatus]:
        return {record.id: record.status for record in read_records(self.folder / "jobs" / "jobs.json")}

    def restart(self) -> None:
        """What a new start of the program does."""
        self.runner = JobRunner(self.folder / "jobs", self.host, self.check)
        self.runner.start()

    def close(self) -> None:
        self.runner.close()
        with self.qtbot.waitSignal(self.host.stopped, timeout=10_000):
            self.host.shutdown()
        self.host.wait(1000)


@pytest.fixture
def bench(tmp_path: Path, qtbot: QtBot) -> Iterator[Bench]:
    made = Bench(tmp_path, qtbot)
    made.runner.start()
    yield made
    made.close()


def test_two_jobs_run_one_after_the_other(bench: Bench) -> None:
    """The second one is never begun before the first has ended; both results load."""
    states: list[tuple[JobStatus, JobStatus]] = []
    first = bench.quantize("one")
    second = bench.quantize("two")
    bench.runner.job_changed.connect(lambda record: states.append((bench.state(first), bench.state(second))))
    assert (bench.state(first), bench.state(second)) == (JobStatus.RUNNING, JobStatus.QUEUED)
    bench.until(lambda: bench.state(second) is JobStatus.DONE)
    assert all(one is JobStatus.DONE for one, two in states if two is not JobStatus.QUEUED)
    for name in ("one", "two"):
        assert read_checkpoint(bench.folder / name).quantization is not None
    done = bench.runner.job(first)
    assert done.quantized.path == str(bench.folder / "one")
    assert done.started_at <= done.ended_at
    bench.until(lambda: bench.saved() == {first: JobStatus.DONE, second: JobStatus.DONE})
    assert [record.id for record in bench.runner.jobs] == [second, first]
    bench.runner.remove(first)
    bench.until(lambda: bench.saved() == {second: JobStatus.DONE})
    assert (bench.folder / "one").is_dir()


def test_the_process_of_a_job_is_told_while_it_runs(bench: Bench) -> None:
    seen: list[RunningJob | None] = []
    bench.runner.process_changed.connect(seen.append)
    number = bench.quantize("one")
    bench.until(lambda: bench.state(number) is JobStatus.DONE)
    first, last = seen
    assert isinstance(first, RunningJob)
    assert (first.kind, last) == (JobKind.QUANTIZATION, None)
    # One that was left alone is found again with its process.
    bench.runner.process_changed.disconnect()
    second = bench.quantize("two")
    bench.until(lambda: bench.runner.job(second).progress is not None)
    bench.runner.close(go_on=True)
    pid = bench.runner.job(second).pid
    seen.clear()
    bench.runner = JobRunner(bench.folder / "jobs", bench.host, bench.check)
    bench.runner.process_changed.connect(seen.append)
    bench.runner.start()
    bench.until(lambda: bench.state(second) is JobStatus.DONE)
    assert seen == [RunningJob(pid, JobKind.QUANTIZATION), None]


def test_a_stopped_job_leaves_nothing_and_a_waiting_one_never_begins(bench: Bench) -> None:
    first, second = bench.quantize("one"), bench.quantize("two")
    bench.runner.stop(second)
    assert bench.state(second) is JobStatus.STOPPED
    bench.until(lambda: bench.runner.job(first).progress is not None)
    bench.runner.stop(first)
    bench.until(lambda: bench.state(first) is JobStatus.STOPPED)
    assert [entry.name for entry in bench.folder.iterdir()] == ["jobs"]


def test_a_killed_job_says_so_and_the_next_one_runs(bench: Bench) -> None:
    first, second = bench.quantize("one"), bench.quantize("two")
    bench.until(lambda: bench.runner.job(first).progress is not None)
    os.kill(bench.runner._process.pid, signal.SIGKILL)
    bench.until(lambda: bench.state(second) is JobStatus.DONE)
    failed = bench.runner.job(first)
    assert failed.status is JobStatus.FAILED
    assert failed.failure.code is FailureCode.JOB_DIED
    assert "SIGKILL" in failed.failure.message
    assert not (bench.folder / "one").exists()


def test_a_job_goes_on_without_the_window_and_is_found_again(bench: Bench) -> None:
    number = bench.quantize("one")
    waiting = bench.quantize("two")
    bench.until(lambda: bench.runner.job(number).progress is not None)
    bench.runner.close(go_on=True)
    assert bench.saved() == {number: JobStatus.ALONE, waiting: JobStatus.QUEUED}
    bench.restart()
    assert bench.state(number) in (JobStatus.ALONE, JobStatus.DONE)
    bench.until(lambda: bench.state(waiting) is JobStatus.DONE)
    assert bench.state(number) is JobStatus.DONE
    assert read_checkpoint(bench.folder / "one").quantization is not None


def test_what_was_to_follow_a_job_is_not_forgotten_with_the_window(bench: Bench) -> None:
    number = bench.quantize("one", compare_with=EngineConfig(backend=Backend.CPU))
    bench.until(lambda: bench.runner.job(number).progress is not None)
    bench.runner.close(go_on=True)
    bench.restart()
    found = bench.runner.job(number)
    assert found.compare_with == EngineConfig(backend=Backend.CPU)
    bench.runner.stop(number)


def test_a_job_that_is_alone_can_be_stopped(bench: Bench) -> None:
    number = bench.quantize("one")
    bench.until(lambda: bench.runner.job(number).progress is not None)
    bench.runner.close(go_on=True)
    bench.restart()
    if bench.state(number) is JobStatus.ALONE:
        bench.runner.stop(number)
        assert bench.state(number) is JobStatus.STOPPED
        assert [entry.name for entry in bench.folder.iterdir()] == ["jobs"]


def test_a_job_that_died_while_nobody_looked_has_failed(bench: Bench) -> None:
    number = bench.quantize("one")
    bench.until(lambda: bench.runner.job(number).progress is not None)
    bench.runner.close(go_on=True)
    pid = bench.runner.job(number).pid
    os.killpg(pid, signal.SIGKILL)
    bench.until(lambda: not Path(f"/proc/{pid}").exists() or b"Z" in Path(f"/proc/{pid}/stat").read_bytes().split()[2])
    bench.restart()
    bench.until(lambda: bench.state(number) is JobStatus.FAILED)
    assert bench.runner.job(number).failure.code is FailureCode.JOB_DIED
    assert [entry.name for entry in bench.folder.iterdir()] == ["jobs"]


def test_the_chats_model_gives_way_and_comes_back(bench: Bench) -> None:
    bench.host.load(str(DEMO))
    bench.until(lambda: bench.host.is_ready)
    number = bench.quantize("one", unload_chat=True)
    bench.until(lambda: bench.runner.job(number).progress is not None)
    assert not bench.host.is_ready
    bench.until(lambda: bench.state(number) is JobStatus.DONE)
    bench.until(lambda: bench.host.is_ready)


def test_an_evaluation_runs_both_models_and_leaves_no_folder(bench: Bench) -> None:
    text = EvaluationText(sources=(TextFile(str(GUIDE)),), name="the guide", tokens=256, window=128)
    job = MeasureJob(
        checkpoint=str(DEMO),
        name="demo",
        config=EngineConfig(backend=Backend.CPU),
        text=text,
        work="",
        prompts=("What is the KV cache?",),
        reply_tokens=16,
    )
    fractions: list[float] = []
    bench.runner.job_changed.connect(lambda record: record.progress and fractions.append(record.progress.fraction))
    number = bench.runner.add(EvaluationPair(original=job, other=job), "Compare demo with itself")
    bench.until(lambda: bench.state(number) is JobStatus.DONE)
    found = bench.runner.job(number).evaluation
    assert found.grade is Grade.INDISTINGUISHABLE
    assert fractions == sorted(fractions)
    # A thread writes the list of jobs, by way of a file beside it.
    bench.until(lambda: [entry.name for entry in (bench.folder / "jobs").iterdir()] == ["jobs.json"])
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_a_list_that_cannot_be_read_is_kept_beside(bench: Bench) -> None:
    file = bench.folder / "jobs" / "jobs.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[{")
    bench.restart()
    assert bench.runner.jobs == ()
    assert file.with_suffix(".unreadable.json").read_text() == "[{"
