"""The queue of jobs: one at a time, each in a process of its own; what was asked for survives the window."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.memory_reading import RunningJob
from desktop.jobs.alone import clear, is_job
from desktop.jobs.job_process import JobProcess
from desktop.jobs.job_record import ENDED, EvaluationPair, JobRecord, JobStatus, Work, read_records, write_records
from desktop.jobs.job_state import read_state
from desktop.jobs.messages import (
    Compared,
    CompareJob,
    Failed,
    Job,
    JobEvent,
    JobResult,
    LayerError,
    Measured,
    Quantized,
    QuantizeJob,
)
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus

POLL_MILLISECONDS = 1000  # a job that runs alone
STOP_SECONDS = 15.0


class JobRunner(QObject):
    """Signals:
    jobs_changed: a job was added or removed; read `jobs`.
    job_changed: a JobRecord, as it is from now on.
    job_ended: a JobRecord that has just ended, well or not.
    process_changed: the RunningJob from now on; None: no job has a process.
    log_received: a job's id and a line that its process printed.
    saving_failed: the Failure; what was asked for is then known only until the program ends.
    """

    jobs_changed = Signal()
    job_changed = Signal(object)
    job_ended = Signal(object)
    process_changed = Signal(object)
    log_received = Signal(object, str)
    saving_failed = Signal(object)

    # An id is larger than a C++ int.
    _began = Signal(object, int)
    _told = Signal(object, object, int, int)
    _finished = Signal(object, object)

    def __init__(
        self, folder: Path, host: EngineHost, check: Callable[[Job], None], parent: QObject | None = None
    ) -> None:
        """folder: where the list of jobs, their state files and their logs are kept. check: see JobTrust."""
        super().__init__(parent)
        self.check = check
        self._folder = folder
        self._host = host
        self._records: dict[int, JobRecord] = {}
        self._current: int | None = None
        self._giving_way = False  # the chat's model is being unloaded for the next job
        self._gave_way = False
        self._stop_wanted = False
        self._to_save: queue.SimpleQueue[list[JobRecord] | None] = queue.SimpleQueue()
        self._saver: threading.Thread | None = None
        self._process: JobProcess | None = None
        self._work_thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._poll = QTimer(self)
        self._poll.setInterval(POLL_MILLISECONDS)
        self._poll.timeout.connect(self._on_poll_due)
        self._began.connect(self._on_began)
        self._told.connect(self._on_told)
        self._finished.connect(self._on_finished)
        host.status_changed.connect(self._on_status_changed)

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """All that are known, the newest first."""
        return tuple(self._records[number] for number in sorted(self._records, reverse=True))

    @property
    def is_running(self) -> bool:
        """Whether a job would be ended by the end of the program."""
        return self._current is not None

    def job(self, number: int) -> JobRecord | None:
        """One by its id."""
        return self._records.get(number)

    def log_file(self, number: int) -> Path:
        """Where a job that goes on alone prints."""
        return self._folder / f"{number}.log"

    def start(self) -> None:
        """Take up what was known when the program last ended; jobs that were waiting begin."""
        try:
            found = read_records(self._folder / "jobs.json")
        except TurbodeskError as problem:
            self.saving_failed.emit(problem.failure)
            found = []
        self._records = {record.id: record for record in found} | self._records
        for record in found:
            if record.status in (JobStatus.RUNNING, JobStatus.ALONE):
                self._look_after(record)
        self.jobs_changed.emit()
        self._begin_next()

    def add(
        self, work: Work, title: str, *, unload_chat: bool = False, compare_with: EngineConfig | None = None
    ) -> int:
        """Put a job at the end of the queue; returns its id."""
        number = max(time.time_ns() // 1000, max(self._records, default=0) + 1)
        self._records[number] = JobRecord(
            id=number, title=title, work=work, unload_chat=unload_chat, compare_with=compare_with
        )
        self._save()
        self.jobs_changed.emit()
        self._begin_next()
        return number

    def stop(self, number: int) -> None:
        """End a job; nothing half-made is left. One that waits never begins."""
        record = self._records.get(number)
        if record is None or record.status in ENDED:
            return
        if record.status is JobStatus.QUEUED:
            self._end(record, JobStatus.STOPPED)
        elif record.status is JobStatus.ALONE:
            clear(record, record.pid)
            self._end(record, JobStatus.STOPPED)
        elif self._giving_way:
            self._current = None
            self._giving_way = False
            self._end(record, JobStatus.STOPPED)
            self._begin_next()
        else:
            self._cancel()

    def remove(self, number: int) -> None:
        """Forget a job that has ended; what it made stays."""
        record = self._records.get(number)
        if record is not None and record.status in ENDED:
            del self._records[number]
            for file in (self._state_file(number), self.log_file(number)):
                file.unlink(missing_ok=True)
            self._save()
            self.jobs_changed.emit()

    def close(self, *, go_on: bool = False) -> None:
        """End of the program. go_on: a quantization that runs is left alone to finish; else it is stopped."""
        self._poll.stop()
        record = self._records.get(self._current or 0)
        if record is None:
            self._stop_saving()
            return
        process, thread, loop = self._process, self._work_thread, self._loop
        if go_on and isinstance(record.work, QuantizeJob) and process is not None and loop is not None:
            log = str(self.log_file(record.id))
            asyncio.run_coroutine_threadsafe(process.detach(log), loop).result(STOP_SECONDS)
            self._records[record.id] = msgspec.structs.replace(record, status=JobStatus.ALONE, pid=process.pid or 0)
        else:
            self._cancel()
            self._records[record.id] = msgspec.structs.replace(
                record, status=JobStatus.STOPPED, ended_at=time.time(), progress=None
            )
        self._current = None
        self._save()
        self._stop_saving()
        if thread is not None:
            thread.join(STOP_SECONDS)

    def _cancel(self) -> None:
        """End the job's task, also where its thread has not begun it yet."""
        self._stop_wanted = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _begin_next(self) -> None:
        if self._current is not None or any(one.status is JobStatus.ALONE for one in self._records.values()):
            return
        waiting = [number for number, record in sorted(self._records.items()) if record.status is JobStatus.QUEUED]
        if not waiting:
            self._take_back()
            return
        record = self._records[waiting[0]]
        self._current = record.id
        self._change(record, status=JobStatus.RUNNING, started_at=time.time())
        loaded = self._host.status.state in (EngineState.READY, EngineState.LOADING, EngineState.STOPPING)
        if record.unload_chat and loaded:
            self._giving_way = True
            self._gave_way = self._gave_way or self._host.is_ready
            self._host.unload()
        else:
            self._run(self._records[record.id])

    def _take_back(self) -> None:
        """The chat's model comes back after the last job."""
        if self._gave_way:
            self._gave_way = False
            if self._host.status.state is EngineState.UNLOADED:
                self._host.reload()

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if self._giving_way and status.state in (EngineState.UNLOADED, EngineState.FAILED):
            self._giving_way = False
            if self._current is not None:
                self._run(self._records[self._current])

    def _run(self, record: JobRecord) -> None:
        self._stop_wanted = False
        self._work_thread = threading.Thread(target=self._thread, args=(record,), name="job", daemon=True)
        self._work_thread.start()

    # In the job's thread

    def _thread(self, record: JobRecord) -> None:
        result: object
        try:
            result = asyncio.run(self._work(record))
        except TurbodeskError as problem:
            result = problem.failure
        except asyncio.CancelledError:
            result = failure(FailureCode.JOB_CANCELLED)
        except Exception as problem:
            result = failure(FailureCode.INTERNAL, reason=problem, detail=traceback.format_exc())
        try:
            self._finished.emit(record.id, result)
        except RuntimeError:  # the window has gone
            return

    async def _work(self, record: JobRecord) -> JobResult | None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if self._stop_wanted:
            raise asyncio.CancelledError
        try:
            if isinstance(record.work, QuantizeJob):
                return await self._one(record, record.work, 0, 1)
            return await self._pair(record, record.work)
        finally:
            self._loop = self._task = self._process = None

    async def _pair(self, record: JobRecord, pair: EvaluationPair) -> JobResult | None:
        await asyncio.to_thread(self.check, pair.other)  # before the first of them has taken minutes
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = tempfile.mkdtemp(prefix="evaluation-", dir=self._folder)
        try:
            first = await self._one(record, msgspec.structs.replace(pair.original, work=work), 0, 2)
            assert isinstance(first, Measured)
            other = msgspec.structs.replace(pair.other, work=work)
            return await self._one(record, CompareJob(original=first.side, other=other), 1, 2)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    async def _one(self, record: JobRecord, job: Job, part: int, parts: int) -> JobResult | None:
        await asyncio.to_thread(self.check, job)
        state_file = str(self._state_file(record.id)) if isinstance(job, QuantizeJob) else ""

        def told(event: JobEvent) -> None:
            self._told.emit(record.id, event, part, parts)

        printed, begun = partial(self.log_received.emit, record.id), partial(self._began.emit, record.id)
        self._process = JobProcess(job, told, printed, state_file, on_start=begun)
        return await self._process.run()

    # Back in the window's thread

    @Slot(object, int)
    def _on_began(self, number: int, pid: int) -> None:
        if self._current == number:
            self.process_changed.emit(RunningJob(pid, self._records[number].kind))

    @Slot(object, object, int, int)
    def _on_told(self, number: int, event: JobEvent, part: int, parts: int) -> None:
        record = self._records.get(number)
        if record is None or record.status is not JobStatus.RUNNING:
            return
        if isinstance(event, LayerError):
            self._change(record, layer_errors=(*record.layer_errors, event), save=False)
        else:
            # What the second half of a job will take is not known in the first.
            left = event.seconds_left if part == parts - 1 else None
            fraction = (part + event.fraction) / parts
            event = msgspec.structs.replace(event, fraction=fraction, seconds_left=left)
            self._change(record, progress=event, save=False)

    @Slot(object, object)
    def _on_finished(self, number: int, result: object) -> None:
        record = self._records.get(number)
        if self._current == number:
            self._current = None
            self.process_changed.emit(None)
        if record is None or record.status is not JobStatus.RUNNING:
            return  # it goes on alone, or the program is ending
        if isinstance(result, Quantized):
            self._end(record, JobStatus.DONE, quantized=result, layer_errors=result.layer_errors or record.layer_errors)
        elif isinstance(result, Compared):
            self._end(record, JobStatus.DONE, evaluation=result.evaluation)
        elif isinstance(result, Failure) and result.code is FailureCode.JOB_CANCELLED:
            self._end(record, JobStatus.STOPPED)
        else:
            problem = result if isinstance(result, Failure) else failure(FailureCode.INTERNAL, reason="no result")
            self._end(record, JobStatus.FAILED, failure=problem)
        self._begin_next()

    def _look_after(self, record: JobRecord) -> None:
        """How a job stands that was running when the program last ended."""
        state = read_state(self._state_file(record.id))
        if state is not None and state.ended is not None:
            self._take_end(record, state.ended)
        elif state is not None and is_job(state.pid):
            self._change(record, status=JobStatus.ALONE, pid=state.pid, progress=state.progress)
            self.process_changed.emit(RunningJob(state.pid, record.kind))
            self._poll.start()
        else:
            clear(record, state.pid if state is not None else record.pid)
            reason = "the program ended before it was done"
            died = failure(FailureCode.JOB_DIED, when="with the window", reason=reason)
            self._end(record, JobStatus.FAILED, failure=died)

    @Slot()
    def _on_poll_due(self) -> None:
        alone = [record for record in self._records.values() if record.status is JobStatus.ALONE]
        for record in alone:
            state = read_state(self._state_file(record.id))
            if state is not None and state.ended is not None:
                self._take_end(record, state.ended)
            elif not is_job(record.pid):
                self._look_after(record)
            elif state is not None and state.progress != record.progress:
                self._change(record, progress=state.progress, save=False)
        if not any(record.status is JobStatus.ALONE for record in self._records.values()):
            self._poll.stop()
            self.process_changed.emit(None)
            self._begin_next()

    def _take_end(self, record: JobRecord, ended: JobResult | Failed) -> None:
        if isinstance(ended, Quantized):
            self._end(record, JobStatus.DONE, quantized=ended, layer_errors=ended.layer_errors)
        elif isinstance(ended, Failed):
            self._end(record, JobStatus.FAILED, failure=ended.failure)

    def _change(self, record: JobRecord, *, save: bool = True, **changes: Any) -> None:
        fresh = msgspec.structs.replace(record, **changes)
        self._records[record.id] = fresh
        if save:
            self._save()
        self.job_changed.emit(fresh)

    def _end(self, record: JobRecord, status: JobStatus, **changes: Any) -> None:
        self._change(record, status=status, ended_at=time.time(), progress=None, pid=0, **changes)
        self.job_ended.emit(self._records[record.id])

    def _save(self) -> None:
        """In a thread: the disk may take its time, and the window must not wait for it."""
        if self._saver is None:
            self._saver = threading.Thread(target=self._save_all, name="job-list", daemon=True)
            self._saver.start()
        self._to_save.put(list(self._records.values()))

    def _save_all(self) -> None:
        while (records := self._to_save.get()) is not None:
            try:
                write_records(self._folder / "jobs.json", records)
            except TurbodeskError as problem:
                with contextlib.suppress(RuntimeError):  # the window has gone
                    self.saving_failed.emit(problem.failure)

    def _stop_saving(self) -> None:
        """Wait until all is written."""
        if self._saver is not None:
            self._to_save.put(None)
            self._saver.join(STOP_SECONDS)
            self._saver = None

    def _state_file(self, number: int) -> Path:
        return self._folder / f"{number}.state.json"
