"""Writes down how each load goes: its forecast, its measurement, its speed and its end."""

from __future__ import annotations

import os
import queue
import threading
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_memory import EngineMemory
from desktop.domain.errors import TurbodeskError
from desktop.domain.generation import GenerationFinished
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import CardMemory, Forecast, forecast
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.server_address import server_model
from desktop.engine.base import EngineStatistics
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.memory_adviser import MemoryAdviser
from desktop.storage.run_csv import export_runs
from desktop.storage.run_log import RunLog

MEASURE_SECONDS = 3.0  # after ready: the monitor finds the engine's processes once a second
_FEWEST_TOKENS = 16  # of a reply whose speed says something


class RunRecorder(QObject):
    """A load that is given up before it is ready leaves nothing; nor does one that is refused before it begins.

    Signals:
        runs_changed: all LoadRun there are, the newest first, as a tuple.
        engine_memory_changed: what engine_memory is from now on.
        recording_failed: the Failure; runs are then known only until the program ends.
        exported: the path of a file. export_failed: the Failure.
    """

    runs_changed = Signal(object)
    engine_memory_changed = Signal(object)
    recording_failed = Signal(object)
    exported = Signal(str)
    export_failed = Signal(object)

    _read = Signal(object)

    def __init__(
        self,
        path: Path,
        host: EngineHost,
        adviser: MemoryAdviser,
        measure_seconds: float = MEASURE_SECONDS,
        parent: QObject | None = None,
    ) -> None:
        """path: of the RunLog."""
        super().__init__(parent)
        self._path = path
        self._adviser = adviser
        self._runs: dict[int, LoadRun] = {}
        self._state = EngineState.UNLOADED
        self._begun: _Begun | None = None
        self._engine_memory: EngineMemory | None = None
        self._run: LoadRun | None = None  # of the load that began last, once there is something to say of it
        self._measuring = QTimer(self)
        self._measuring.setSingleShot(True)
        self._measuring.setInterval(round(measure_seconds * 1000))
        self._measuring.timeout.connect(self._on_measuring_due)
        self._own_pid = False  # the window's process holds the model: on the CPU nobody can tell the two apart
        host.status_changed.connect(self._on_status_changed)
        host.statistics_read.connect(self._on_statistics_read)
        host.generation_finished.connect(self._on_generation_finished)
        adviser.shape_read.connect(self._on_shape_read)
        self.runs_changed.connect(adviser.learn)
        self._read.connect(self._on_read)
        self._queue: queue.SimpleQueue[LoadRun | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def runs(self) -> tuple[LoadRun, ...]:
        """All that are known, the newest first."""
        return tuple(self._runs[number] for number in sorted(self._runs, reverse=True))

    @property
    def engine_memory(self) -> EngineMemory | None:
        """Of the load that began or is loaded; None when there is none or it is not known."""
        return self._engine_memory

    def start(self) -> None:
        """Read what was written down before, and begin to write; runs_changed or recording_failed follows."""
        self._thread = threading.Thread(target=self._work, name="run-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._measuring.stop()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=2)

    def export(self, path: str) -> None:
        """Write all runs as CSV; answered by exported or export_failed."""
        threading.Thread(target=self._export, args=(path, self.runs), name="run-export", daemon=True).start()

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if server_model(status.path) is not None:
            self._forget()
            return
        before, self._state = self._state, status.state
        if status.state is EngineState.LOADING:
            if before is not EngineState.LOADING:
                self._begin(status)
        elif status.state is EngineState.READY:
            self._on_ready(status)
        else:
            self._measuring.stop()
            if status.state is not EngineState.STOPPING:
                self._set_engine_memory(None)
            if status.state is EngineState.FAILED and status.failure is not None:
                if self._run is None and self._begun is not None and status.checkpoint is not None:
                    self._make_run(status, self._begun.backend)
                if self._run is not None:
                    self._change(failure=status.failure.code.value)

    def _forget(self) -> None:
        """What runs is on a server, and holds no memory here."""
        self._measuring.stop()
        self._run = self._begun = None
        self._state = EngineState.UNLOADED
        self._set_engine_memory(None)

    def _begin(self, status: EngineStatus) -> None:
        adviser = self._adviser
        config = adviser.resolved(status.path, status.config)
        self._run = None
        self._begun = _Begun(
            # Two loads within a microsecond, or a clock that was set back, must not take each other's place.
            number=max(time.time_ns() // 1000, max(self._runs, default=0) + 1),
            status=status,
            backend=config.backend,
            cards={backend: adviser.cards_used(_with(status, backend)) for backend in Backend},
            devices={backend: adviser.device(_with(status, backend)) for backend in Backend},
            residuals={backend: adviser.residual(_with(status, backend)) for backend in Backend},
        )
        self._expect()
        adviser.read_shape(status.path)

    def _expect(self) -> None:
        """Say what this load will hold, as far as it is known by now."""
        begun = self._begun
        if begun is None or self._state not in (EngineState.LOADING, EngineState.READY):
            return
        backend = self._run.backend if self._run is not None else begun.backend
        shape = self._adviser.shape(begun.status.path)
        found = self._forecast(begun, backend, shape) if shape is not None else None
        cards = () if backend is Backend.CPU else tuple(card.index for card in begun.cards[backend])
        expected = EngineMemory(forecast=found, cards=cards) if found is not None else None
        self._set_engine_memory(expected)

    def _on_ready(self, status: EngineStatus) -> None:
        if self._begun is None or status.info is None:
            return
        self._own_pid = status.info.pid == os.getpid()
        self._make_run(status, status.info.backend)
        self._change(load_seconds=status.info.load_seconds)
        self._measuring.start()

    def _make_run(self, status: EngineStatus, backend: Backend) -> None:
        begun = self._begun
        assert begun is not None
        name = status.checkpoint.name if status.checkpoint is not None else Path(status.path).name
        self._run = LoadRun(
            id=begun.number,
            path=status.path,
            name=name,
            backend=backend,
            device=begun.devices[backend],
            config=status.config,
        )
        if (shape := self._adviser.shape(status.path)) is not None:
            self._add_forecast(shape)
        self._expect()

    def _add_forecast(self, shape: MemoryShape) -> None:
        """For the backend that ran it in the end."""
        assert self._begun is not None
        assert self._run is not None
        if (found := self._forecast(self._begun, self._run.backend, shape)) is not None:
            self._change(forecast=found)

    def _forecast(self, begun: _Begun, backend: Backend, shape: MemoryShape) -> Forecast | None:
        """For the memory as it was when the load began."""
        if not (cards := begun.cards[backend]):
            return None
        return forecast(shape, _with(begun.status, backend), cards, begun.residuals[backend])

    def _set_engine_memory(self, found: EngineMemory | None) -> None:
        if found != self._engine_memory:
            self._engine_memory = found
            self.engine_memory_changed.emit(found)

    @Slot(object)
    def _on_statistics_read(self, statistics: EngineStatistics) -> None:
        if self._engine_memory is not None and self._state is EngineState.READY:
            self._set_engine_memory(msgspec.structs.replace(self._engine_memory, cache_usage=statistics.cache_usage))

    @Slot(str, object)
    def _on_shape_read(self, path: str, shape: MemoryShape) -> None:
        if self._run is not None and self._run.path == path and self._run.forecast is None:
            self._add_forecast(shape)
        if self._begun is not None and self._begun.status.path == path:
            self._expect()

    @Slot()
    def _on_measuring_due(self) -> None:
        if self._run is not None and not (self._own_pid and self._run.backend is Backend.CPU):
            self._change(measured=self._adviser.measured(self._run.backend))

    @Slot(object)
    def _on_generation_finished(self, event: GenerationFinished) -> None:
        stats, run = event.stats, self._run
        if run is None or stats.completion_tokens < _FEWEST_TOKENS:
            return
        if stats.tokens_per_second > (run.tokens_per_second or 0):
            self._change(
                tokens_per_second=stats.tokens_per_second,
                time_to_first_token=stats.time_to_first_token or None,
            )

    def _change(self, **changes: object) -> None:
        assert self._run is not None
        self._run = msgspec.structs.replace(self._run, **changes)
        self._runs[self._run.id] = self._run
        self._queue.put(self._run)
        self.runs_changed.emit(self.runs)

    @Slot(object)
    def _on_read(self, runs: list[LoadRun]) -> None:
        self._runs = {run.id: run for run in runs} | self._runs
        self.runs_changed.emit(self.runs)

    def _export(self, path: str, runs: tuple[LoadRun, ...]) -> None:
        try:
            try:
                export_runs(Path(path), runs)
            except TurbodeskError as problem:
                self.export_failed.emit(problem.failure)
            else:
                self.exported.emit(path)
        except RuntimeError:  # the window has gone
            return

    def _work(self) -> None:
        log: RunLog | None = None
        try:
            try:
                log = RunLog(self._path)
                self._read.emit(log.runs())
                while (run := self._queue.get()) is not None:
                    log.put(run)
            except TurbodeskError as problem:
                self.recording_failed.emit(problem.failure)
        except RuntimeError:  # the window has gone
            pass
        if log is not None:
            log.close()


class _Begun(NamedTuple):
    """A load as it begins, while the memory is as it was. backend: the one that is expected."""

    number: int
    status: EngineStatus
    backend: Backend
    cards: dict[Backend, tuple[CardMemory, ...]]
    devices: dict[Backend, str]
    residuals: dict[Backend, int]


def _with(status: EngineStatus, backend: Backend) -> EngineConfig:
    return msgspec.structs.replace(status.config, backend=backend)
