"""The Engine protocol over LMDeploy's AsyncEngine, for all three local backends.

LMDeploy's internal names are also used in lmdeploy_model.py, lmdeploy_config.py, reply_parser.py, reply_reader.py,
backend_choice.py, support_check.py and cpu_*.py; the contract tests say first when an upgrade breaks one. torch,
transformers and lmdeploy are imported when a model is loaded, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.context_window import PromptSize, without_oldest
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    GenerationStats,
)
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress
from desktop.engine.lmdeploy_failures import first_line, load_failure, request_failure
from desktop.engine.lmdeploy_model import LMDeployModel, load_model
from desktop.engine.reply_reader import ReplyReader

CLOSE_SECONDS = 2.0

Report = Callable[[LoadProgress], None]


class LMDeployEngine:
    """Runs one checkpoint in this process."""

    def __init__(self) -> None:
        self._model: LMDeployModel | None = None
        self._sessions: dict[str, Any] = {}  # request id -> LMDeploy's Session
        self._cancelled: set[str] = set()
        self._completed = 0
        self._generated = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()

    async def load(self, checkpoint: str, config: EngineConfig, on_progress: Report) -> EngineInfo:
        config.check()
        started = time.monotonic()
        loop = asyncio.get_running_loop()

        def report(stage: str, fraction: float | None = None) -> None:
            loop.call_soon_threadsafe(on_progress, LoadProgress(stage, fraction, os.getpid()))

        building = asyncio.ensure_future(asyncio.to_thread(load_model, checkpoint, config, report))
        try:
            model = await asyncio.shield(building)
        except asyncio.CancelledError:
            # A load in this process cannot be interrupted: wait for its end and give everything back.
            with contextlib.suppress(Exception):
                await asyncio.to_thread((await building).engine.close)
            await self.close()
            raise
        except TurbodeskError:
            await self.close()
            raise
        except Exception as problem:
            await self.close()
            raise TurbodeskError(load_failure(problem)) from problem
        if self._stopped.is_set():  # closed while the thread was loading
            await asyncio.to_thread(model.engine.close)
            raise error(FailureCode.LOAD_CANCELLED)
        model.engine.start_loop(loop, use_async_api=True)
        self._model = model
        return msgspec.structs.replace(
            model.info, model_name=Path(checkpoint).name, load_seconds=time.monotonic() - started
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        if self._model is None:
            yield GenerationFailed(rid, failure(FailureCode.ENGINE_NOT_READY))
            return
        if problems := request.params.problems():
            yield GenerationFailed(rid, failure(FailureCode.REQUEST_INVALID, reason="; ".join(problems)))
            return
        self._sessions[rid] = self._model.engine.session_mgr.get()
        self._idle.clear()
        try:
            async for event in self._stream(self._model, request):
                yield event
        except Exception as problem:
            yield GenerationFailed(rid, request_failure(problem))
        finally:
            del self._sessions[rid]
            self._cancelled.discard(rid)
            if not self._sessions:
                self._idle.set()

    async def _stream(self, model: LMDeployModel, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        started = time.monotonic()
        prepared, reader = await self._prepare(model, request)
        session = self._sessions[rid]
        first, tokens, cached, reason = 0.0, 0, 0, FinishReason.ABORT
        if rid not in self._cancelled:
            try:
                async for out in model.engine.generate(prepared):
                    fresh = out.generate_token_len - tokens
                    tokens = out.generate_token_len
                    cached = max(cached, out.cached_tokens)
                    self._generated += fresh
                    if fresh and not first:
                        first = time.monotonic() - started
                    end = None if out.finish_reason is None else FinishReason(out.finish_reason)
                    for event in reader.read(out.response or "", out.token_ids or (), fresh, end):
                        yield event
                    if end is not None:
                        reason = end
                    elif rid in self._cancelled:
                        # A cancel that came while the request had no handle yet.
                        await session.async_abort()
            except Exception:
                for event in reader.read("", (), 0, FinishReason.ABORT):  # what it still holds back
                    yield event
                raise
        else:
            model.engine.session_mgr.remove(session)
        if reason is FinishReason.STOP and reader.calls:
            reason = FinishReason.TOOL_CALLS
        self._completed += 1
        stats = GenerationStats(
            prompt_tokens=prepared.input_token_len,
            completion_tokens=tokens,
            cached_tokens=cached,
            time_to_first_token=first,
            duration=time.monotonic() - started,
            reasoning_seconds=reader.reasoning_seconds,
        )
        yield GenerationFinished(rid, reason, stats)

    async def _prepare(self, model: LMDeployModel, request: GenerationRequest) -> tuple[Any, ReplyReader]:
        """Of as much of the request as fits."""
        rid = request.request_id
        if request.leaves_out:
            # What makes a template fail comes up again below, where LMDeploy says it better.
            with contextlib.suppress(Exception):
                request, _ = await model.fit(request)
        while True:
            try:
                return await model.prepare(request, self._sessions[rid])
            except Exception as problem:
                # Of some models nobody can count what pictures take.
                shorter = without_oldest(request, 1) if request.leaves_out else request
                if shorter is request or request_failure(problem).code is not FailureCode.PROMPT_TOO_LONG:
                    raise
                request = shorter
                self._sessions[rid] = model.engine.session_mgr.get()  # the one before went with its refusal

    async def cancel(self, request_id: str) -> None:
        session = self._sessions.get(request_id)
        if session is not None:
            self._cancelled.add(request_id)
            await session.async_abort()

    async def count_tokens(self, request: GenerationRequest) -> PromptSize:
        if self._model is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        try:
            return (await self._model.fit(request))[1]
        except Exception as problem:
            told = request_failure(problem)
            raise error(FailureCode.REQUEST_INVALID, reason=first_line(problem), detail=told.detail) from problem

    async def logits(self, tokens: list[int]) -> Any:
        """What the model expects after each of these tokens: a tensor of floats, [tokens, vocabulary], on any device.

        Raises TurbodeskError: engine_not_ready, request_failed. Not with prefix caching, and not in the protocol: the
        tensor cannot leave the process.
        """
        if self._model is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        try:
            return (await self._model.engine.async_get_logits([tokens]))[0]
        except Exception as problem:
            raise TurbodeskError(request_failure(problem)) from problem

    async def statistics(self) -> EngineStatistics:
        if self._model is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        reading = await self._model.engine.get_schedule_metrics()
        return EngineStatistics(
            active_requests=reading.active_seqs,
            waiting_requests=reading.waiting_seqs,
            completed_requests=self._completed,
            generated_tokens=self._generated,
            cache_usage=reading.cache_usage,
        )

    async def wait_stopped(self) -> Failure | None:
        await self._stopped.wait()
        return None

    async def close(self) -> None:
        model, self._model = self._model, None
        self._stopped.set()
        if model is not None:
            await model.engine.stop_all_session()
            with contextlib.suppress(TimeoutError):  # a reader may have gone away without ending its request
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
            await asyncio.to_thread(model.engine.close)
