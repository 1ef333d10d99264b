"""A deterministic engine for tests and benchmarks: it plays a script instead of running a model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode, error, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    GenerationStats,
    TextDelta,
)
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine plays. Times in seconds, counts in tokens.

    reply: the text, one word a token; empty: "token0 token1 …", tokens of them. tokens_per_second 0: as fast as
    possible. exit_after: the whole process ends without a word after so many tokens of one reply. block_after: the
    whole process stands still for an hour, as a hanging driver call would.
    """

    reply: str = ""
    tokens: int = 64
    tokens_per_second: float = 0.0
    context_length: int = 100_000
    load_seconds: float = 0.0
    load_error: str = ""
    fail_after: int | None = None
    exit_after: int | None = None
    block_after: int | None = None
    exit_while_loading: bool = False

    def pieces(self) -> list[str]:
        """The reply, cut into tokens."""
        if self.reply:
            words = self.reply.split(" ")
            return [word + " " for word in words[:-1]] + [words[-1]]
        return [f"token{i} " for i in range(self.tokens)]


class ScriptedEngine:
    """Implements the Engine protocol; see Script."""

    def __init__(self, script: Script | None = None) -> None:
        self._script = script or Script()
        self._cancelled: set[str] = set()
        self._running: set[str] = set()
        self._completed = 0
        self._generated = 0
        self._loaded = False
        self._stopped = asyncio.Event()

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        config.check()
        started = time.monotonic()
        for step in range(4):
            on_progress(LoadProgress("Loading the script", step / 4))
            await asyncio.sleep(self._script.load_seconds / 4)
            if step == 2 and self._script.exit_while_loading:
                os._exit(3)
        if self._script.load_error:
            await self.close()
            raise error(FailureCode.LOAD_FAILED, reason=self._script.load_error)
        self._loaded = True
        return EngineInfo(
            backend=Backend.CPU,
            device="script",
            reason="Scripted engine",
            model_name=os.path.basename(checkpoint.rstrip("/")),
            context_length=config.session_len or self._script.context_length,
            pid=os.getpid(),
            load_seconds=time.monotonic() - started,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        if refusal := self._refusal(request):
            yield GenerationFailed(rid, refusal)
            return
        self._running.add(rid)
        started = time.monotonic()
        first = 0.0
        sent = 0
        limit = request.params.max_new_tokens
        reason = FinishReason.STOP
        try:
            for piece in self._script.pieces():
                if self._script.tokens_per_second:
                    due = started + (sent + 1) / self._script.tokens_per_second
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                elif sent % 16 == 0:
                    await asyncio.sleep(0)
                if rid in self._cancelled or self._stopped.is_set():
                    reason = FinishReason.ABORT
                    break
                if sent == self._script.exit_after:
                    os._exit(3)
                if sent == self._script.block_after:
                    time.sleep(3600)  # noqa: ASYNC251  # blocking the loop is the point
                if sent == self._script.fail_after:
                    yield GenerationFailed(rid, failure(FailureCode.REQUEST_FAILED, reason="the script says so"))
                    return
                if sent == limit:
                    reason = FinishReason.LENGTH
                    break
                first = first or time.monotonic() - started
                sent += 1
                self._generated += 1
                yield TextDelta(rid, piece, 1)
            prompt = sum(len(message.content.split()) for message in request.messages)
            duration = time.monotonic() - started
            stats = GenerationStats(
                prompt_tokens=prompt, completion_tokens=sent, time_to_first_token=first, duration=duration
            )
            self._completed += 1
            yield GenerationFinished(rid, reason, stats)
        finally:
            self._running.discard(rid)
            self._cancelled.discard(rid)

    def _refusal(self, request: GenerationRequest) -> Failure | None:
        if not self._loaded or self._stopped.is_set():
            return failure(FailureCode.ENGINE_NOT_READY)
        if problems := request.params.problems():
            return failure(FailureCode.REQUEST_INVALID, reason="; ".join(problems))
        words = sum(len(message.content.split()) for message in request.messages)
        if words >= self._script.context_length:
            limit = self._script.context_length
            return failure(FailureCode.PROMPT_TOO_LONG, reason=f"{words} tokens of {limit}")
        return None

    async def cancel(self, request_id: str) -> None:
        if request_id in self._running:
            self._cancelled.add(request_id)

    async def statistics(self) -> EngineStatistics:
        if not self._loaded or self._stopped.is_set():
            raise error(FailureCode.ENGINE_NOT_READY)
        return EngineStatistics(
            active_requests=len(self._running),
            waiting_requests=0,
            completed_requests=self._completed,
            generated_tokens=self._generated,
        )

    async def wait_stopped(self) -> Failure | None:
        await self._stopped.wait()
        return None

    async def close(self) -> None:
        self._stopped.set()
