"""The Engine protocol over LMDeploy's AsyncEngine, for all three local backends.

Every touch of an internal name of LMDeploy is here, in cpu_backend.py or in backend_choice.py; the contract tests say
first when an upgrade breaks one. torch, transformers and lmdeploy are imported when a model is loaded, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    GenerationStats,
    SamplingParams,
    TextDelta,
)
from desktop.engine.backend_choice import BackendChoice, choose_backend, inspect_machine
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine

CLOSE_SECONDS = 2.0

Report = Callable[[LoadProgress], None]


class LMDeployEngine:
    """Runs one checkpoint in this process."""

    def __init__(self) -> None:
        self._engine: AsyncEngine | None = None
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

        building = asyncio.ensure_future(asyncio.to_thread(_build, checkpoint, config, report))
        try:
            engine, choice = await asyncio.shield(building)
        except asyncio.CancelledError:
            # A load in this process cannot be interrupted: wait for its end and give everything back.
            with contextlib.suppress(Exception):
                engine, _ = await building
                await asyncio.to_thread(engine.close)
            await self.close()
            raise
        except TurbodeskError:
            await self.close()
            raise
        except Exception as problem:
            await self.close()
            raise TurbodeskError(_load_failure(problem)) from problem
        if self._stopped.is_set():  # closed while the thread was loading
            await asyncio.to_thread(engine.close)
            raise error(FailureCode.LOAD_CANCELLED)
        engine.start_loop(loop, use_async_api=True)
        self._engine = engine
        return EngineInfo(
            backend=choice.backend,
            device=choice.device,
            reason=choice.reason,
            model_name=Path(checkpoint).name,
            context_length=engine.session_len,
            pid=os.getpid(),
            load_seconds=time.monotonic() - started,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        if self._engine is None:
            yield GenerationFailed(rid, failure(FailureCode.ENGINE_NOT_READY))
            return
        if problems := request.params.problems():
            yield GenerationFailed(rid, failure(FailureCode.REQUEST_INVALID, reason="; ".join(problems)))
            return
        session = self._engine.session_mgr.get()
        self._sessions[rid] = session
        self._idle.clear()
        try:
            async for event in self._stream(request, session):
                yield event
        except Exception as problem:
            yield GenerationFailed(rid, _request_failure(problem))
        finally:
            del self._sessions[rid]
            self._cancelled.discard(rid)
            if not self._sessions:
                self._idle.set()

    async def _stream(self, request: GenerationRequest, session: Any) -> AsyncIterator[GenerationEvent]:
        assert self._engine is not None
        rid = request.request_id
        started = time.monotonic()
        prepared = await self._engine.preprocess(
            [{"role": message.role, "content": message.content} for message in request.messages],
            session,
            gen_config=_generation_config(request.params),
        )
        first, tokens, cached, reason = 0.0, 0, 0, FinishReason.ABORT
        if rid not in self._cancelled:
            async for out in self._engine.generate(prepared):
                fresh = out.generate_token_len - tokens
                tokens = out.generate_token_len
                cached = max(cached, out.cached_tokens)
                self._generated += fresh
                if fresh and not first:
                    first = time.monotonic() - started
                if out.response or fresh:
                    yield TextDelta(rid, out.response, fresh)
                if out.finish_reason is not None:
                    reason = FinishReason(out.finish_reason)
                elif rid in self._cancelled:
                    # A cancel that came while the request had no handle yet.
                    await session.async_abort()
        else:
            self._engine.session_mgr.remove(session)
        self._completed += 1
        stats = GenerationStats(
            prompt_tokens=prepared.input_token_len,
            completion_tokens=tokens,
            cached_tokens=cached,
            time_to_first_token=first,
            duration=time.monotonic() - started,
        )
        yield GenerationFinished(rid, reason, stats)

    async def cancel(self, request_id: str) -> None:
        session = self._sessions.get(request_id)
        if session is not None:
            self._cancelled.add(request_id)
            await session.async_abort()

    async def statistics(self) -> EngineStatistics:
        if self._engine is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        reading = await self._engine.get_schedule_metrics()
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
        engine, self._engine = self._engine, None
        self._stopped.set()
        if engine is not None:
            await engine.stop_all_session()
            with contextlib.suppress(TimeoutError):  # a reader may have gone away without ending its request
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
            await asyncio.to_thread(engine.close)


def _build(checkpoint: str, config: EngineConfig, report: Callable[..., None]) -> tuple[AsyncEngine, BackendChoice]:
    """Import LMDeploy and load; takes seconds to minutes, so it runs in a thread."""
    # Local folders only: nothing below may ask a hub for anything.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    report("Starting LMDeploy")
    from lmdeploy.archs import get_model_arch
    from lmdeploy.messages import ResponseType
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from lmdeploy.turbomind.supported_models import is_supported

    architecture, _ = get_model_arch(checkpoint, trust_remote_code=config.trust_remote_code)
    machine = inspect_machine(config.devices[0] if config.devices else 0)
    turbomind_runs_it = is_supported(checkpoint, trust_remote_code=config.trust_remote_code)
    choice = choose_backend(config.backend, machine, architecture, turbomind_runs_it)
    _check_architecture(choice.backend, architecture, config)
    report(f"Loading the weights ({choice.reason})")

    class LocalEngine(AsyncEngine):  # type: ignore[misc]  # LMDeploy has no types
        """AsyncEngine with our backend where there is no card, and with out-of-memory told apart."""

        def _build_turbomind(
            self, model_path: str, backend_config: Any = None, trust_remote_code: bool = False, **kwargs: Any
        ) -> Any:
            if choice.backend is not Backend.CPU:
                return super()._build_turbomind(model_path, backend_config, trust_remote_code, **kwargs)
            from desktop.engine.cpu_backend import CpuBackend

            return CpuBackend(
                model_path,
                backend_config,
                on_progress=lambda fraction: report(f"Loading the weights ({choice.reason})", fraction),
                trust_remote_code=trust_remote_code,
            )

        @staticmethod
        def _request_error_from_status(status: ResponseType) -> Exception:
            problem: Exception = AsyncEngine._request_error_from_status(status)
            # LMDeploy calls this an internal error, like everything it has no word for.
            problem.kv_cache_exhausted = status is ResponseType.OUT_OF_MEMORY  # type: ignore[attr-defined]
            return problem

    engine = LocalEngine(
        checkpoint,
        backend="pytorch" if choice.backend is Backend.PYTORCH else "turbomind",
        backend_config=_backend_config(choice.backend, config),
        trust_remote_code=config.trust_remote_code,
    )
    return engine, choice


def _backend_config(backend: Backend, config: EngineConfig) -> Any:
    """LMDeploy's configuration object; the CPU backend takes TurboMind's."""
    from lmdeploy import PytorchEngineConfig, TurbomindEngineConfig

    common: dict[str, Any] = {
        "dtype": config.dtype,
        "model_format": None if config.model_format == "hf" else config.model_format,
        "tp": config.tp,
        "session_len": config.session_len,
        "max_batch_size": config.max_batch_size,
        "cache_max_entry_count": config.cache_max_entry_count,
        "quant_policy": config.quant_policy,
        "enable_prefix_caching": config.enable_prefix_caching,
        "max_prefill_token_num": config.max_prefill_token_num,
        "language_model_only": config.language_model_only,
        "hf_overrides": config.hf_overrides,
        "enable_metrics": config.enable_metrics,
    }
    if backend is Backend.PYTORCH:
        if config.devices is not None:
            # The PyTorch engine takes the visible cards in order; CUDA is not initialised before the first use.
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.devices))
        return PytorchEngineConfig(**common, block_size=config.cache_block_seq_len)
    return TurbomindEngineConfig(
        **common,
        devices=list(config.devices) if config.devices is not None else None,
        cache_block_seq_len=config.cache_block_seq_len,
        rope_scaling_factor=config.rope_scaling_factor,
        communicator=config.communicator,
    )


def _check_architecture(backend: Backend, architecture: str, config: EngineConfig) -> None:
    """Raise architecture_unsupported before anything is loaded. TurboMind was asked when it was chosen."""
    if backend is Backend.PYTORCH:
        from lmdeploy.pytorch.models.module_map import MODULE_MAP

        if architecture not in MODULE_MAP and not config.trust_remote_code:
            reason = "neither TurboMind nor LMDeploy's PyTorch engine knows it"
            raise error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=architecture, reason=reason)
    elif backend is Backend.CPU and not config.trust_remote_code:
        import transformers

        if not hasattr(transformers, architecture):
            reason = f"Transformers {transformers.__version__} does not know it, and code from model folders is not run"
            raise error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=architecture, reason=reason)


def _generation_config(params: SamplingParams) -> Any:
    from lmdeploy import GenerationConfig

    return GenerationConfig(
        max_new_tokens=params.max_new_tokens,
        do_sample=params.temperature > 0,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        random_seed=params.seed,
        stop_words=list(params.stop) or None,
    )


def _load_failure(problem: Exception) -> Failure:
    detail = "".join(traceback.format_exception(problem))
    text = str(problem).lower()
    if "out of memory" in text:
        return failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    if isinstance(problem, MemoryError):
        return failure(FailureCode.HOST_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    raised_in = {Path(frame.filename).name for frame in traceback.extract_tb(problem.__traceback__)}
    if "apply_chat_template" in text or any("tokeniz" in name for name in raised_in):
        return failure(FailureCode.TOKENIZER_BROKEN, reason=_first_line(problem), detail=detail)
    return failure(FailureCode.LOAD_FAILED, reason=_first_line(problem), detail=detail)


def _request_failure(problem: Exception) -> Failure:
    from lmdeploy.serve.core.exceptions import ErrorCode, RequestError

    detail = "".join(traceback.format_exception(problem))
    reason = _first_line(problem)
    code = problem.code if isinstance(problem, RequestError) else None
    if getattr(problem, "kv_cache_exhausted", False):
        return failure(FailureCode.KV_CACHE_EXHAUSTED, detail=detail)
    if code is ErrorCode.CONTEXT_LENGTH_EXCEEDED:
        return failure(FailureCode.PROMPT_TOO_LONG, reason=reason, detail=detail)
    if code in (ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_FEATURE, ErrorCode.REQUEST_CONFLICT):
        return failure(FailureCode.REQUEST_INVALID, reason=reason, detail=detail)
    return failure(FailureCode.REQUEST_FAILED, reason=reason, detail=detail)


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    if not lines or isinstance(problem, KeyError):  # whose text is the key alone
        return f"{type(problem).__name__} {lines[0] if lines else ''}".strip()
    return lines[0].rstrip(".")
