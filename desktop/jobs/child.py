"""The main of a job's process: one job in, typed messages out, in the frames of engine/framing.py.

Started as `python -m desktop.jobs.child`. The process ends when its stdin closes, unless it was told to go on alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from io import FileIO
from pathlib import Path
from typing import NoReturn

import msgspec

from desktop.domain.calibration import built_in_set
from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.engine import framing
from desktop.engine.child import take_streams, write_whole
from desktop.jobs.job_state import JobStateFile
from desktop.jobs.messages import (
    CountCalibrationJob,
    Detach,
    Failed,
    FromJob,
    Job,
    JobEvent,
    JobResult,
    JobStep,
    MeasureJob,
    Progress,
    QuantizeJob,
    Start,
    ToJob,
    TryJob,
)

_NICE = 5  # the window comes first

_to_job: msgspec.msgpack.Decoder[ToJob] = msgspec.msgpack.Decoder(ToJob)


def run_job(job: Job, tell: Teller) -> JobResult:
    """Whatever a job needs is imported only now."""
    if isinstance(job, QuantizeJob):
        from desktop.jobs.quantize import quantize

        return quantize(job, tell.event)
    if isinstance(job, TryJob):
        from desktop.jobs.trial import try_one_layer

        return try_one_layer(job, tell.event)
    if isinstance(job, CountCalibrationJob):
        from desktop.jobs.quantize import count_calibration

        return count_calibration(job, tell.event)
    from desktop.jobs.evaluate import compare, measure

    return measure(job, tell.event) if isinstance(job, MeasureJob) else compare(job, tell.event)


class Teller:
    """Sends messages to the window, and keeps the newest in the state file."""

    def __init__(self, out: FileIO, state: JobStateFile) -> None:
        self._out = out
        self._state = state

    def event(self, message: JobEvent) -> None:
        """Something happened."""
        self._send(message)
        if isinstance(message, Progress):
            self._state.progress(message)

    def end(self, message: JobResult | Failed) -> None:
        """The last message. The state is written first: who was told may read it."""
        self._state.ended(message)
        self._send(message)

    def _send(self, message: FromJob) -> None:
        with contextlib.suppress(BrokenPipeError):  # the window has gone, and the job goes on without
            write_whole(self._out, framing.encode(message))


def _listen(frames_in: FileIO) -> None:
    """End the process when the window goes, unless it said that the job shall go on."""
    detached = False
    try:
        while (message := framing.read_message_blocking(frames_in, _to_job)) is not None:
            if isinstance(message, Detach):
                detached = True
                _print_to(message.log_file)
    except (framing.FrameError, OSError) as problem:
        print(f"turbodesk: the window sent a bad frame: {problem}", file=sys.stderr)
    if not detached:
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _print_to(log_file: str) -> None:
    sys.stderr.flush()
    try:
        file = os.open(log_file or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def main() -> None:
    """Read the job, run it, tell how it ended."""
    # Before torch is imported: threads that spin while they wait made a job on a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    frames_in, out = take_streams()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    start = framing.read_message_blocking(frames_in, _to_job)
    if not isinstance(start, Start):
        _leave(1)
    _allow_network(start.job)
    threading.Thread(target=_listen, args=(frames_in,), name="window-watch", daemon=True).start()
    teller = Teller(out, JobStateFile(Path(start.state_file) if start.state_file else None))
    teller.event(Progress(step=JobStep.STARTING))  # loading torch takes seconds
    try:
        teller.end(run_job(start.job, teller))
    except TurbodeskError as problem:
        teller.end(Failed(problem.failure))
    except BaseException as problem:
        traceback.print_exc()
        reason = str(problem) or type(problem).__name__
        detail = traceback.format_exc()
        teller.end(Failed(failure(FailureCode.JOB_FAILED, when="for a reason unknown", reason=reason, detail=detail)))
    _leave(0)


def _allow_network(job: Job) -> None:
    """Let the hub's libraries, which are not imported yet, reach the network only for a set that LMDeploy fetches."""
    chosen = built_in_set(getattr(job, "calibration", ()))
    if chosen is None:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    elif chosen.mirror:
        os.environ["HF_ENDPOINT"] = chosen.mirror


def _leave(code: int) -> NoReturn:
    """End at once: native threads must not keep the process."""
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
