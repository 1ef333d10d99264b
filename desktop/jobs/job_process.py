"""One job in a process of its own: started, listened to, ended. asyncio, free of Qt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import msgspec

from desktop.domain.card_choice import card_environment
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.engine import framing
from desktop.engine.child_log import ChildLog
from desktop.engine.crash_report import exit_reason
from desktop.jobs.messages import (
    CompareJob,
    Detach,
    Failed,
    FromJob,
    Job,
    JobEvent,
    JobResult,
    LayerError,
    MeasureJob,
    Progress,
    QuantizeJob,
    Start,
    ToJob,
    TryJob,
)
from desktop.jobs.work_folder import remove_leftovers

KILL_SECONDS = 10.0
DETACH_SECONDS = 10.0
_LOG_SECONDS = 3.0
_DETAIL_LINES = 40
_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "desktop.jobs.child")

_from_job: msgspec.msgpack.Decoder[FromJob] = msgspec.msgpack.Decoder(FromJob)


class JobProcess:
    """Runs one job, once. on_event: called in the loop's thread with each event; on_log: with each printed line.

    on_start: called once the process is there, with its number.
    state_file: where the process keeps a JobState (job_state.py reads it), so that a job that goes on alone can be
    found again. environment: variables added to the process's.
    """

    def __init__(
        self,
        job: Job,
        on_event: Callable[[JobEvent], None],
        on_log: Callable[[str], None] | None = None,
        state_file: str = "",
        environment: Mapping[str, str] | None = None,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> None:
        self._job = job
        self._on_start = on_start
        self._on_event = on_event
        self._state_file = state_file
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **_cards(job), **(environment or {})}
        self._log = ChildLog(on_log)
        self._process: subprocess.Popen[bytes] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: asyncio.Future[JobResult | Failure | None] | None = None
        self._step = ""

    @property
    def log(self) -> list[str]:
        """The last lines that the process printed."""
        return self._log.lines

    @property
    def pid(self) -> int | None:
        """Of the process, once started; it leads a group of its own."""
        return self._process.pid if self._process else None

    async def run(self) -> JobResult | None:
        """Start it and wait for its end; None when it was detached meanwhile.

        Raises TurbodeskError: what the job says, job_cancelled, job_died. When the task is cancelled the job is too.
        """
        self._ended = asyncio.get_running_loop().create_future()
        detached = False
        outputs: list[asyncio.ReadTransport] = []
        try:
            self._process = await self._start()
            self._on_start(self._process.pid)
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            frames, out = await _reader(self._process.stdout)
            outputs.append(out)
            lines, error_out = await _reader(self._process.stderr)
            outputs.append(error_out)
            log = asyncio.create_task(self._log.read(lines))
            self._tasks = [log, asyncio.create_task(self._read(frames, log))]
            await asyncio.to_thread(self._send, Start(self._job, self._state_file))
            ended = await self._ended
            detached = ended is None
        finally:
            if not detached:
                await asyncio.shield(self._end())
            for task in self._tasks:
                task.cancel()
            for transport in outputs:
                transport.close()
            self._close_outputs()
        if isinstance(ended, Failure):
            raise TurbodeskError(ended)
        return ended

    async def _start(self) -> subprocess.Popen[bytes]:
        """The process; one that was cancelled while it came to life is waited for, or nobody would end it."""
        starting = asyncio.ensure_future(
            asyncio.to_thread(
                # Not asyncio's own: it kills a process that it no longer watches, and this one may have to outlive us.
                subprocess.Popen,
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd=_ROOT,  # so that no library is picked up from the user's folder
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._process = await starting
            raise

    def _close_outputs(self) -> None:
        """Those too that nothing reads yet, when it was cancelled in the middle of the start."""
        if self._process is not None:
            for pipe in (self._process.stdout, self._process.stderr):
                assert pipe is not None
                pipe.close()

    async def cancel(self) -> None:
        """End the job and remove what it had made; run() then raises job_cancelled."""
        self._finish(failure(FailureCode.JOB_CANCELLED))
        await self._end()

    async def detach(self, log_file: str = "") -> None:
        """Let it go on when this process ends; run() then returns None. log_file: where it prints from now on."""
        assert self._process is not None
        assert self._process.stdin is not None
        await asyncio.to_thread(self._send, Detach(log_file))
        self._process.stdin.close()
        # It prints elsewhere from now on, which ends the log here: before that nothing may be closed.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._tasks[0]), DETACH_SECONDS)
        self._process.returncode = 0  # or Popen would complain that nobody waits for it
        self._finish(None)

    def _finish(self, ended: JobResult | Failure | None) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(ended)

    async def _end(self) -> None:
        """Kill it and what it started, and remove what it left."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, KILL_SECONDS)
        with contextlib.suppress(OSError):
            process.stdin.close()
        if isinstance(self._job, QuantizeJob | TryJob):
            await asyncio.to_thread(remove_leftovers, Path(self._job.plan.target).parent)

    def _send(self, message: ToJob) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # how it ended says more
            self._process.stdin.write(framing.encode(message))
            self._process.stdin.flush()

    async def _read(self, frames: asyncio.StreamReader, log: asyncio.Task[None]) -> None:
        """All messages to the end, and what it ended with."""
        assert self._process is not None
        try:
            while (message := await framing.read_message(frames, _from_job)) is not None:
                if isinstance(message, Progress | LayerError):
                    if isinstance(message, Progress):
                        self._step = message.step.value.replace("_", " ")
                    self._on_event(message)
                else:
                    self._finish(message.failure if isinstance(message, Failed) else message)
                    return
        except framing.TruncatedFrameError:
            pass  # how it ended says more
        except Exception as problem:  # whatever it is, nobody may wait for ever
            self._finish(self._died(f"it sent something that is not a message ({problem})"))
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(log), _LOG_SECONDS)
        try:
            code = await asyncio.to_thread(self._process.wait, KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._finish(self._died("it closed its stream and went on"))
        else:
            self._finish(self._died(exit_reason(code)))

    def _died(self, reason: str) -> Failure:
        detail = "\n".join(self.log[-_DETAIL_LINES:])
        when = f"while it was {self._step or 'starting'}"
        return failure(FailureCode.JOB_DIED, when=when, reason=reason, detail=detail)


async def _reader(pipe: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader(limit=2**20)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport


def _cards(job: Job) -> dict[str, str]:
    """The card that the job may see. With CUDA in reach LMDeploy's quantizers refuse the CPU."""
    if isinstance(job, MeasureJob | CompareJob):  # they run in the engine, which chooses its cards
        return card_environment(job.config if isinstance(job, MeasureJob) else job.other.config)
    if isinstance(job, QuantizeJob | TryJob) and job.plan.device == "cuda":
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": job.plan.card_uuid or str(job.plan.card)}
    return {"CUDA_VISIBLE_DEVICES": ""}
