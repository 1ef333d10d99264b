"""Samples the memory of the cards and of the machine beside the window, and says what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.memory_reading import HostReading, MemoryReading, RunningJob, with_engine
from desktop.hardware.host import process_tree, read_host, resident_bytes

if TYPE_CHECKING:
    from desktop.hardware.nvml import NvmlReader

SAMPLE_SECONDS = 0.25
STOP_SECONDS = 1.0
# The processes of engine and job change seldom, and finding them reads a file for each of their threads. The machine's
# own memory is looked at as seldom while there are cards, since it is then not what the gauge shows.
SLOW_SECONDS = 2.0


class GpuMonitor(QObject):
    """Owns one thread from start() to stop().

    reading_changed carries a MemoryReading; it is emitted in the sampling thread, so it reaches the window's objects
    through their event queue. A plain daemon thread rather than a QThread: when the driver hangs, stop() can leave it
    behind, and the program still ends.
    """

    reading_changed = Signal(object)

    def __init__(
        self,
        make_reader: Callable[[], NvmlReader],
        interval: float = SAMPLE_SECONDS,
        stop_timeout: float = STOP_SECONDS,
        parent: QObject | None = None,
    ) -> None:
        """make_reader: called in the thread. interval, stop_timeout: seconds."""
        super().__init__(parent)
        self._make_reader = make_reader
        self._interval = interval
        self._stop_timeout = stop_timeout
        self._engine_pid: int | None = None
        self._engine_pids: frozenset[int] = frozenset()
        self._job: RunningJob | None = None
        self._marked_job: RunningJob | None = None  # as it was when the processes were found
        self._job_pids: frozenset[int] = frozenset()
        self._host: HostReading | None = None
        self._slow_read_at = -SLOW_SECONDS
        self._stopping = threading.Event()
        self._emitting = threading.Lock()
        self._thread: threading.Thread | None = None

    def set_engine_pid(self, pid: int | None) -> None:
        """Whose share to report: the engine's process with all its descendants, or nobody's."""
        self._engine_pid = pid
        self._slow_read_at = -SLOW_SECONDS

    @Slot(object)
    def set_job(self, job: RunningJob | None) -> None:
        """Whose share to tell apart from that of other programs: a job with all its descendants, or nobody's."""
        self._job = job
        self._slow_read_at = -SLOW_SECONDS

    def start(self) -> None:
        """Begin sampling; does nothing while it runs, or when a hanging driver has still not let go."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="gpu-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End sampling. After this returns no reading is emitted, even if the driver still hangs in a call."""
        with self._emitting:
            self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._stop_timeout)
            if not self._thread.is_alive():
                self._thread = None

    def _run(self) -> None:
        reader = self._make_reader()
        due = time.monotonic()
        while not self._stopping.is_set():
            reading = self._sample(reader)
            with self._emitting:
                if not self._stopping.is_set():
                    self.reading_changed.emit(reading)
            # After a slow call the missed samples are skipped, not made up for.
            due = max(due + self._interval, time.monotonic())
            self._stopping.wait(due - time.monotonic())
        reader.close()

    def _sample(self, reader: NvmlReader) -> MemoryReading:
        now = time.monotonic()
        slow = now - self._slow_read_at >= SLOW_SECONDS
        if slow:
            self._slow_read_at = now  # before the number is asked for: it may be set meanwhile
            pid, job = self._engine_pid, self._job
            self._marked_job, self._job_pids = job, frozenset() if job is None else process_tree(job.pid)
            # An engine in the window's own process has the jobs among its descendants.
            self._engine_pids = frozenset() if pid is None else process_tree(pid) - self._job_pids
        kind = None if self._marked_job is None else self._marked_job.kind
        cards, note = reader.read()
        if slow or not cards or self._host is None:
            self._host = read_host(self._engine_pids)
            if kind is not None:
                self._host = msgspec.structs.replace(self._host, job=kind, job_bytes=resident_bytes(self._job_pids))
        return MemoryReading(
            monotonic_time=time.monotonic(),
            cards=with_engine(cards, self._engine_pids, self._job_pids, kind),
            host=self._host,
            driver_note=note,
        )
