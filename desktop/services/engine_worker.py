"""Lives in a worker thread: runs one asyncio loop, one engine at a time, and emits what happens as signals."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.generation import GenerationEvent, GenerationFailed, GenerationRequest
from desktop.domain.server_address import ServerModel, server_model
from desktop.engine.base import Engine, LoadProgress
from desktop.engine.coalescer import TextCoalescer
from desktop.services.engine_status import EngineState, EngineStatus

logger = logging.getLogger(__name__)

MakeEngine = Callable[[Callable[[str], None]], Engine]
Connect = Callable[[ServerModel, Callable[[str], None]], Engine]
ReadCheckpoint = Callable[[str], Checkpoint]
T = TypeVar("T")


class EngineWorker(QObject):
    """Runs engines. Methods called post_… may be called from any thread; everything else belongs to the loop's thread.

    make_engine: builds an engine for one load, given where its log lines go. connect: builds one for a model on a
    server, in a thread; it may wait for the user, who unlocks the keyring.

    Signals:
        status_changed: an EngineStatus.
        events_received: a list of GenerationEvent, at most one list a frame; order within a request is kept.
        tokens_counted: a request's id and its PromptSize, or None where it cannot be counted.
        statistics_read: an EngineStatistics.
        load_refused: the Failure of a load that was not begun, since it would end the loaded model for nothing.
        log_received: one line of the engine's log.
        finished: run() has ended; the thread may quit.
    """

    status_changed = Signal(object)
    events_received = Signal(object)
    load_refused = Signal(object)
    tokens_counted = Signal(str, object)
    statistics_read = Signal(object)
    log_received = Signal(str)
    finished = Signal()

    def __init__(
        self, make_engine: MakeEngine, read_checkpoint: ReadCheckpoint, connect: Connect | None = None
    ) -> None:
        super().__init__()
        self._make_engine = make_engine
        self._connect = connect
        self._read_checkpoint = read_checkpoint
        self._status = EngineStatus()
        self._engine: Engine | None = None
        self._life: asyncio.Task[None] | None = None
        self._life_is_ending = False
        self._replacing = False
        self._switches = 0
        self._switching: asyncio.Lock | None = None
        self._requests: dict[str, asyncio.Task[None]] = {}
        self._coalescer = TextCoalescer(self.events_received.emit)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._running = threading.Event()

    @Slot()
    def run(self) -> None:
        """The thread's work: the asyncio loop, until post_shutdown()."""
        asyncio.run(self._main())
        self.finished.emit()

    def post_load(self, path: str, config: EngineConfig) -> None:
        """Load a checkpoint; what was loaded or loading before is ended first."""
        self._post(self._switch(path, config))

    def post_unload(self) -> None:
        """End the load or the loaded engine."""
        self._post(self._switch(None, EngineConfig()))

    def post_generate(self, request: GenerationRequest) -> None:
        """Start a request; its events come with events_received."""
        self._post(self._start_request(request))

    def post_cancel(self, request_id: str) -> None:
        """Stop a request."""
        self._post(self._cancel(request_id))

    def post_count(self, request: GenerationRequest) -> None:
        """Count the tokens of a request's prompt; tokens_counted follows."""
        self._post(self._count(request))

    def post_read_statistics(self) -> None:
        """Read the engine's counters; nothing follows when there are none."""
        self._post(self._read_statistics())

    def post_shutdown(self) -> None:
        """End the engine, then the loop; finished is emitted when all is done."""
        self._post(self._shut_down())

    def _post(self, work: Coroutine[Any, Any, None]) -> None:
        self._running.wait()
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(_log_what_failed)
        except RuntimeError:  # the loop is closed: the program is ending
            work.close()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._switching = asyncio.Lock()
        self._running.set()
        await self._over.wait()

    async def _shut_down(self) -> None:
        await self._switch(None, EngineConfig())
        self._coalescer.close()
        assert self._over is not None
        self._over.set()

    async def _switch(self, path: str | None, config: EngineConfig) -> None:
        """End the present life, then begin the next if there is a path. A later call overtakes those that wait."""
        self._switches += 1
        mine = self._switches
        if path is not None and self._status.state is EngineState.READY:
            refusal = await self._refusal(path, config)
            if mine != self._switches:
                return
            if refusal is not None:
                self.load_refused.emit(refusal)
                return
        self._replacing = path is not None
        self._end_life()
        assert self._switching is not None
        async with self._switching:
            if mine != self._switches:
                return
            self._end_life()
            if self._life is not None:
                await asyncio.wait([self._life])
            if path is not None:
                self._life_is_ending = False
                self._life = asyncio.create_task(self._live(path, config))
            elif self._status.state is not EngineState.UNLOADED:
                self._set_status(EngineStatus(path=self._status.path, config=self._status.config))

    async def _refusal(self, path: str, config: EngineConfig) -> Failure | None:
        """Why a load would fail before it begins: then what is loaded stays loaded."""
        try:
            await self._inspect(path, config)
        except TurbodeskError as problem:
            return problem.failure
        except Exception as problem:
            return failure(FailureCode.INTERNAL, reason=problem, detail=traceback.format_exc())
        return None

    async def _inspect(self, path: str, config: EngineConfig) -> Checkpoint | None:
        """What can be said of a load before it begins; None of a model on a server. Raises TurbodeskError."""
        if server_model(path) is not None:
            return None
        config.check()
        checkpoint = await _in_daemon_thread(lambda: self._read_checkpoint(path))
        if checkpoint.pickles and not config.trust_remote_code:
            raise error(FailureCode.PICKLE_WEIGHTS, file=checkpoint.pickles[0])
        if not checkpoint.has_tokenizer:
            raise error(FailureCode.TOKENIZER_BROKEN, reason="the folder holds no tokenizer files")
        return checkpoint

    def _end_life(self) -> None:
        """Cancel the life once, and not while it is closing its engine."""
        if self._life is not None and not self._life_is_ending:
            self._life_is_ending = True
            self._set_status(msgspec.structs.replace(self._status, state=EngineState.STOPPING, progress=None))
            self._life.cancel()

    async def _live(self, path: str, config: EngineConfig) -> None:
        """One engine from load to end; cancelled by _switch()."""
        engine: Engine | None = None
        problem: Failure | None = None
        self._set_status(EngineStatus(state=EngineState.LOADING, path=path, config=config))
        try:
            checkpoint = await self._inspect(path, config)
            self._set_status(msgspec.structs.replace(self._status, checkpoint=checkpoint))
            engine = await self._engine_for(path)
            info = await engine.load(path, config, self._on_progress)
            self._engine = engine
            self._set_status(msgspec.structs.replace(self._status, state=EngineState.READY, progress=None, info=info))
            problem = await engine.wait_stopped()
        except asyncio.CancelledError:
            pass
        except TurbodeskError as known:
            problem = known.failure
        except Exception as unknown:
            problem = failure(FailureCode.INTERNAL, reason=unknown, detail=traceback.format_exc())
        self._engine = None
        if not self._life_is_ending:
            self._life_is_ending = True
            self._set_status(msgspec.structs.replace(self._status, state=EngineState.STOPPING, progress=None))
        try:
            if engine is not None:
                await engine.close()
        except Exception as unknown:
            problem = problem or failure(FailureCode.INTERNAL, reason=unknown, detail=traceback.format_exc())
        if self._requests:
            await asyncio.wait(list(self._requests.values()))
        self._coalescer.flush()
        if problem is None and self._replacing:
            return  # the next life begins at once: nobody needs to hear of an unloaded engine in between
        self._set_status(
            EngineStatus(
                state=EngineState.UNLOADED if problem is None else EngineState.FAILED,
                path=path,
                config=config,
                checkpoint=self._status.checkpoint,
                failure=problem,
            )
        )

    async def _engine_for(self, path: str) -> Engine:
        served = server_model(path)
        connect = self._connect
        if served is None or connect is None:
            return self._make_engine(self.log_received.emit)
        return await _in_daemon_thread(lambda: connect(served, self.log_received.emit))

    def _on_progress(self, progress: LoadProgress) -> None:
        if self._status.state is EngineState.LOADING:
            self._set_status(msgspec.structs.replace(self._status, progress=progress))

    def _set_status(self, status: EngineStatus) -> None:
        self._status = status
        self.status_changed.emit(status)

    async def _start_request(self, request: GenerationRequest) -> None:
        # In this task and not in one of its own, so that a cancel posted next comes after the start.
        task = asyncio.current_task()
        assert task is not None
        self._requests[request.request_id] = task
        try:
            await self._generate(request)
        finally:
            del self._requests[request.request_id]

    async def _generate(self, request: GenerationRequest) -> None:
        if self._engine is None:
            problem = self._status.failure or failure(FailureCode.ENGINE_NOT_READY)
            self._put(GenerationFailed(request.request_id, problem))
            return
        try:
            async for event in self._engine.generate(request):
                self._put(event)
        except Exception as unknown:
            broken = failure(FailureCode.INTERNAL, reason=unknown, detail=traceback.format_exc())
            self._put(GenerationFailed(request.request_id, broken))

    def _put(self, event: GenerationEvent) -> None:
        self._coalescer.put(event)

    async def _cancel(self, request_id: str) -> None:
        if self._engine is not None:
            await self._engine.cancel(request_id)

    async def _count(self, request: GenerationRequest) -> None:
        size: PromptSize | None = None
        if self._engine is not None:
            with contextlib.suppress(TurbodeskError):
                size = await self._engine.count_tokens(request)
        self.tokens_counted.emit(request.request_id, size)

    async def _read_statistics(self) -> None:
        if self._engine is not None:
            with contextlib.suppress(TurbodeskError):
                self.statistics_read.emit(await self._engine.statistics())


async def _in_daemon_thread(work: Callable[[], T]) -> T:
    """work() in a thread that nobody waits for at the end: a dead network mount must not hold the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, problem: Exception | None) -> None:
        if done.cancelled():
            return
        if problem is not None:
            done.set_exception(problem)
        elif result is not None:
            done.set_result(result)

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except Exception as unknown:
            problem = unknown
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name="engine-preparation", daemon=True).start()
    return await done


def _log_what_failed(work: concurrent.futures.Future[None]) -> None:
    if not work.cancelled() and (problem := work.exception()) is not None:
        logger.error("a posted task failed", exc_info=problem)
