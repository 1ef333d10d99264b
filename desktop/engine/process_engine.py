"""The Engine protocol with the engine in a child process: its crash costs the model, never the window."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.card_choice import card_environment
from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.generation import (
    ChatMessage,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    ReasoningDelta,
    TextDelta,
    ToolCalled,
)
from desktop.domain.server_address import server_model
from desktop.engine import wire
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress
from desktop.engine.chat_prompt import with_images
from desktop.engine.child_log import ChildLog
from desktop.engine.crash_report import describe_crash
from desktop.engine.framing import TruncatedFrameError

# The steps of an unload, each with its time-out in seconds.
CLOSE_SECONDS = 3.0
TERMINATE_SECONDS = 2.0
KILL_SECONDS = 10.0
# Where `desktop` is imported from. Also the child's working folder, so that no library is picked up from the user's.
_ROOT = Path(__file__).parents[2]


class ProcessEngine:
    """One child process, one load. engine: the name child.make_engine() knows.

    environment: variables added to the child's. on_log: called with each line the child prints.
    """

    def __init__(
        self,
        engine: str = "lmdeploy",
        environment: Mapping[str, str] | None = None,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self._command = (sys.executable, "-m", "desktop.engine.child", engine)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._log = ChildLog(on_log)
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._on_progress: Callable[[LoadProgress], None] = lambda progress: None
        self._loaded: asyncio.Future[EngineInfo] | None = None
        self._requests: dict[str, asyncio.Queue[GenerationEvent]] = {}
        self._statistics: deque[asyncio.Future[EngineStatistics]] = deque()
        self._counts: dict[int, asyncio.Future[PromptSize]] = {}
        self._questions = 0
        self._picture_tokens: dict[bytes, int] = {}  # by the picture's digest
        self._gone = asyncio.Event()
        self._failure: Failure | None = None
        self._closing = False

    @property
    def log(self) -> list[str]:
        """The last lines the child printed."""
        return self._log.lines

    @property
    def pid(self) -> int | None:
        """The child's process id, once started."""
        return self._process.pid if self._process else None

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        config.check()
        self._on_progress = on_progress
        self._loaded = asyncio.get_running_loop().create_future()
        on_progress(LoadProgress("Starting the engine process"))
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment | card_environment(config),
            cwd=_ROOT,
            start_new_session=True,
            limit=2**20,
        )
        assert self._process.stderr is not None
        log_task = asyncio.create_task(self._log.read(self._process.stderr))
        self._tasks = [log_task, asyncio.create_task(self._read_frames(log_task))]
        if server_model(checkpoint) is None:
            checkpoint = str(Path(checkpoint).absolute())
        self._send(wire.Load(checkpoint, config))
        try:
            return await self._loaded
        except BaseException:
            await self.close()
            raise

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        if not self._ready():
            problem = self._failure or failure(FailureCode.ENGINE_NOT_READY)
            yield GenerationFailed(request.request_id, problem)
            return
        queue: asyncio.Queue[GenerationEvent] = asyncio.Queue()
        self._requests[request.request_id] = queue
        over = False
        try:
            try:
                self._send(wire.Generate(request))
            except ValueError as problem:
                over = True
                yield GenerationFailed(request.request_id, failure(FailureCode.REQUEST_INVALID, reason=problem))
                return
            while not over:
                event = await queue.get()
                over = isinstance(event, GenerationFinished | GenerationFailed)
                yield event
        finally:
            del self._requests[request.request_id]
            if not over:
                self._send(wire.Cancel(request.request_id))

    async def cancel(self, request_id: str) -> None:
        if request_id in self._requests:
            self._send(wire.Cancel(request_id))

    async def statistics(self) -> EngineStatistics:
        if not self._ready():
            raise error(FailureCode.ENGINE_NOT_READY)
        answer: asyncio.Future[EngineStatistics] = asyncio.get_running_loop().create_future()
        self._statistics.append(answer)
        self._send(wire.ReadStatistics())
        return await answer

    async def count_tokens(self, request: GenerationRequest) -> PromptSize:
        # It is asked at every pause of typing: the bytes of a picture cross once, then the tokens that it takes.
        for image in {image for message in request.messages for image in message.images if image.data}:
            if image.digest not in self._picture_tokens:
                alone = ChatMessage("user", "", images=(image,))
                size = await self._count(GenerationRequest(request_id="picture", messages=(alone,)))
                self._picture_tokens[image.digest] = size.pictures
        return await self._count(with_images(request, self._counted))

    def _counted(self, image: ImagePart) -> ImagePart:
        return ImagePart(b"", image.media_type, self._picture_tokens.get(image.digest, image.tokens))

    async def _count(self, request: GenerationRequest) -> PromptSize:
        if not self._ready():
            raise error(FailureCode.ENGINE_NOT_READY)
        self._questions += 1
        number = self._questions
        try:
            self._send(wire.CountTokens(number, request))
        except ValueError as problem:
            raise error(FailureCode.REQUEST_INVALID, reason=problem) from problem
        answer: asyncio.Future[PromptSize] = asyncio.get_running_loop().create_future()
        self._counts[number] = answer
        try:
            return await answer
        finally:
            self._counts.pop(number, None)

    async def wait_stopped(self) -> Failure | None:
        await self._gone.wait()
        return self._failure

    async def close(self) -> None:
        self._closing = True
        process = self._process
        if process is None:
            self._gone.set()
            return
        self._send(wire.Close())
        for ask, seconds in (
            (None, CLOSE_SECONDS),
            (signal.SIGTERM, TERMINATE_SECONDS),
            (signal.SIGKILL, KILL_SECONDS),
        ):
            if ask is not None:
                self._signal_group(ask)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
                break
        self._signal_group(signal.SIGKILL)  # whatever the engine itself had started
        for task in self._tasks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), CLOSE_SECONDS)
        if process.stdin is not None:
            process.stdin.close()

    def _ready(self) -> bool:
        return not (self._gone.is_set() or self._closing) and self._loaded is not None and self._loaded.done()

    def _send(self, message: wire.ToChild) -> None:
        data = wire.encode(message)
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)

    def _signal_group(self, number: signal.Signals) -> None:
        # The child leads its own session, so its process id names the group as long as any member lives.
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _read_frames(self, log_task: asyncio.Task[None]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        said: Failure | None = None
        try:
            while (message := await wire.read_from_child(self._process.stdout)) is not None:
                if isinstance(message, wire.LoadFailed | wire.Stopped):
                    said = message.failure
                else:
                    self._take(message)
        except TruncatedFrameError:
            pass  # how the child ended says more
        except Exception as problem:  # whatever it is, nobody may wait for ever
            said = self._broke_protocol(problem)
            self._signal_group(signal.SIGKILL)
        try:
            code = await asyncio.wait_for(self._process.wait(), CLOSE_SECONDS)
        except TimeoutError:
            said = said or self._broke_protocol("it closed its stream and went on")
            self._signal_group(signal.SIGKILL)
            code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            # A grandchild may hold stderr open after the child is gone.
            await asyncio.wait_for(asyncio.shield(log_task), CLOSE_SECONDS)
        loading = self._loaded is not None and not self._loaded.done()
        if said is None and not self._closing:
            said = describe_crash(code, self.log, loading=loading)
        self._end(said)

    def _broke_protocol(self, reason: object) -> Failure:
        return failure(FailureCode.ENGINE_BROKE_PROTOCOL, reason=reason, detail="\n".join(self.log))

    def _take(self, message: wire.FromChild) -> None:
        if isinstance(message, TextDelta | ReasoningDelta | ToolCalled | GenerationFinished | GenerationFailed):
            queue = self._requests.get(message.request_id)
            if queue is not None:  # late events of a finished request are dropped
                queue.put_nowait(message)
        elif isinstance(message, LoadProgress):
            self._on_progress(msgspec.structs.replace(message, pid=self.pid))
        elif isinstance(message, wire.Loaded):
            if self._loaded is not None and not self._loaded.done():
                self._loaded.set_result(message.info)
        elif isinstance(message, wire.TokensCounted):
            counting = self._counts.get(message.number)
            if counting is not None and not counting.done():
                if message.size is not None:
                    counting.set_result(message.size)
                else:
                    counting.set_exception(TurbodeskError(message.failure or failure(FailureCode.ENGINE_NOT_READY)))
        elif isinstance(message, wire.StatisticsRead) and self._statistics:
            waiting = self._statistics.popleft()
            if waiting.done():  # nobody waits any more
                return
            if message.statistics is None:
                waiting.set_exception(error(FailureCode.ENGINE_NOT_READY))
            else:
                waiting.set_result(message.statistics)

    def _end(self, reason: Failure | None) -> None:
        """The child is gone: answer everything that waits for it."""
        self._failure = None if self._closing and self._loaded_ok() else reason
        told = reason or failure(FailureCode.LOAD_CANCELLED)
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(TurbodeskError(told))
            self._loaded.exception()  # a cancelled load() no longer asks
        for request_id, queue in self._requests.items():
            queue.put_nowait(GenerationFailed(request_id, reason or failure(FailureCode.ENGINE_NOT_READY)))
        questions: list[asyncio.Future[Any]] = [*self._statistics, *self._counts.values()]
        for waiting in questions:
            if not waiting.done():
                waiting.set_exception(error(FailureCode.ENGINE_NOT_READY))
        self._statistics.clear()
        self._counts.clear()
        self._gone.set()

    def _loaded_ok(self) -> bool:
        return self._loaded is not None and self._loaded.done() and self._loaded.exception() is None
