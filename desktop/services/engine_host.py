"""Owns the worker thread; the slots and signals through which the window uses the engine."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.generation import (
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ReasoningDelta,
    TextDelta,
    ToolCalled,
)
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.engine_worker import Connect, EngineWorker, MakeEngine, ReadCheckpoint

STATISTICS_MILLISECONDS = 1000


class EngineHost(QObject):
    """The engine as the GUI thread sees it.

    explain: what a failure of the engine or of a reply passes through before anybody hears of it.
    name_cards: fills in EngineConfig.card_uuids as a load begins.
    load_trusted: loads again, by its path, a model that was trusted; by itself the host does not trust it again.

    Signals:
        status_changed: an EngineStatus; the same as `status` from then on.
        text_received: a TextDelta. reasoning_received: a ReasoningDelta. tool_called: a ToolCalled.
        generation_finished, generation_failed: the last event of a request.
        tokens_counted: the id of a request given to count_tokens, and its PromptSize; None where it cannot be counted.
        statistics_read: an EngineStatistics, about once a second while a model is loaded.
        load_refused: a Failure; a load was not begun and what is loaded stays.
        log_received: a line of the engine's log.
        stopped: shutdown() is complete.
    """

    status_changed = Signal(object)
    text_received = Signal(object)
    reasoning_received = Signal(object)
    tool_called = Signal(object)
    tokens_counted = Signal(str, object)
    statistics_read = Signal(object)
    generation_finished = Signal(object)
    generation_failed = Signal(object)
    load_refused = Signal(object)
    log_received = Signal(str)
    stopped = Signal()

    def __init__(
        self,
        make_engine: MakeEngine,
        read_checkpoint: ReadCheckpoint,
        parent: QObject | None = None,
        connect: Connect | None = None,
    ) -> None:
        """connect: builds the engine of a model on a server."""
        super().__init__(parent)
        self._status = EngineStatus()
        self._config = EngineConfig()
        self._thread = QThread()
        self._thread.setObjectName("engine-worker")
        self._worker = EngineWorker(make_engine, read_checkpoint, connect)
        self._worker.moveToThread(self._thread)
        self._thread.started.connect(self._worker.run)
        self._worker.finished.connect(self._thread.quit)
        self._thread.finished.connect(self._on_thread_finished)
        self._worker.status_changed.connect(self._on_status_changed)
        self._worker.events_received.connect(self._on_events_received)
        self._worker.load_refused.connect(self.load_refused)
        self._worker.tokens_counted.connect(self.tokens_counted)
        self._worker.statistics_read.connect(self.statistics_read)
        self._worker.log_received.connect(self.log_received)
        self._asking = QTimer(self)
        self._asking.setInterval(STATISTICS_MILLISECONDS)
        self._asking.timeout.connect(self._on_asking_due)
        self._shutting_down = False
        self.explain: Callable[[Failure], Failure] = _as_it_is
        self.name_cards: Callable[[EngineConfig], EngineConfig] = _unnamed
        self.load_trusted: Callable[[str], None] = self.load
        self._thread.start()

    @property
    def status(self) -> EngineStatus:
        """The last status received from the worker."""
        return self._status

    @property
    def is_ready(self) -> bool:
        """Whether a request would reach a model."""
        return self._status.state is EngineState.READY

    def set_default(self, path: str) -> None:
        """What reload() loads when nothing was asked for yet."""
        if not self._status.path:
            self._status = EngineStatus(path=path)

    def set_config(self, config: EngineConfig) -> None:
        """The settings of the next load; what is loaded now stays as it is."""
        self._config = config

    def load(self, path: str, *, trusted: bool = False) -> None:
        """Load a checkpoint folder, or connect to a ServerModel's path, in place of what is loaded or loading.

        trusted: it may run code of its own.
        """
        config = msgspec.structs.replace(self._config, trust_remote_code=trusted)
        self._worker.post_load(path, self.name_cards(config))

    @Slot()
    def reload(self) -> None:
        """Load what was asked for last, with the settings of now; nothing when nothing was.

        Trust is not kept: the model's files may be others by now, or what the user said of them.
        """
        if self._status.config.trust_remote_code:
            self.load_trusted(self._status.path)
        elif self._status.path:
            self.load(self._status.path)

    def refuse(self, problem: Failure) -> None:
        """Say that a load that was asked for is not begun."""
        self.load_refused.emit(problem)

    @Slot()
    def unload(self) -> None:
        """Unload the model, or stop loading it."""
        self._worker.post_unload()

    def generate(self, request: GenerationRequest) -> None:
        """Start a reply; it is answered by signals, also when nothing is loaded."""
        self._worker.post_generate(request)

    def cancel(self, request_id: str) -> None:
        """Stop a reply."""
        self._worker.post_cancel(request_id)

    def count_tokens(self, request: GenerationRequest) -> None:
        """Count the tokens of a request's prompt; answered by tokens_counted."""
        self._worker.post_count(request)

    def shutdown(self) -> None:
        """Begin to end the engine and the thread; `stopped` follows. May be called again."""
        if not self._shutting_down:
            self._shutting_down = True
            self._worker.post_shutdown()

    def wait(self, milliseconds: int) -> bool:
        """Wait for the thread after shutdown(); whether it has ended."""
        return self._thread.wait(milliseconds)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if status.failure is not None:
            status = msgspec.structs.replace(status, failure=self.explain(status.failure))
        self._status = status
        if status.state is EngineState.READY:
            self._asking.start()
        else:
            self._asking.stop()
        self.status_changed.emit(status)

    @Slot(object)
    def _on_events_received(self, events: list[GenerationEvent]) -> None:
        for event in events:
            if isinstance(event, TextDelta):
                self.text_received.emit(event)
            elif isinstance(event, ReasoningDelta):
                self.reasoning_received.emit(event)
            elif isinstance(event, ToolCalled):
                self.tool_called.emit(event)
            elif isinstance(event, GenerationFinished):
                self.generation_finished.emit(event)
            elif isinstance(event, GenerationFailed):
                self.generation_failed.emit(msgspec.structs.replace(event, failure=self.explain(event.failure)))

    @Slot()
    def _on_asking_due(self) -> None:
        self._worker.post_read_statistics()

    @Slot()
    def _on_thread_finished(self) -> None:
        self.stopped.emit()


def _unnamed(config: EngineConfig) -> EngineConfig:
    return config


def _as_it_is(problem: Failure) -> Failure:
    return problem
