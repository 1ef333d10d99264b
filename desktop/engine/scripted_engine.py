"""A deterministic engine for tests and benchmarks: it plays a script instead of running a model."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import msgspec

from desktop.domain.context_window import PromptSize, fitted
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode, error, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    GenerationStats,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCalled,
)
from desktop.domain.json_schema import BEGINS_ANEW
from desktop.engine.base import ONLY_TEXT, EngineInfo, EngineStatistics, LoadProgress

PICTURE_TOKENS = 64


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine plays. Times in seconds, counts in tokens.

    reply: the text, one word a token; empty: "token0 token1 …", tokens of them. tokens_per_second 0: as fast as
    possible. exit_after: the whole process ends after so many tokens of one reply, with last_words. block_after: the
    whole process stands still for an hour, as a hanging driver call would.

    reasoning: comes first, unless the request says thinking=False or goes on with text; a request that goes on with a
    beginning of it gets the rest. tool_calls: made when the request has tools and does not end with a tool's result,
    after `reply` if there is one. After a tool's result the reply is "The tool said: " and the result, whatever the
    script. reads_images: False refuses pictures; continues_json: False refuses to go on under a schema.
    """

    reply: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reads_images: bool = False
    continues_json: bool = True
    tokens: int = 64
    tokens_per_second: float = 0.0
    context_length: int = 100_000
    load_seconds: float = 0.0
    load_error: str = ""
    fail_after: int | None = None
    exit_after: int | None = None
    block_after: int | None = None
    exit_while_loading: bool = False
    last_words: str = ""

    def pieces(self) -> list[str]:
        """The reply, cut into tokens."""
        return _words(self.reply) if self.reply else [f"token{i} " for i in range(self.tokens)]


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + [words[-1]]


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

    def _exit(self) -> NoReturn:
        if self._script.last_words:
            print(self._script.last_words, file=sys.stderr, flush=True)
        os._exit(3)

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        config.check()
        started = time.monotonic()
        for step in range(4):
            on_progress(LoadProgress("Loading the script", step / 4))
            await asyncio.sleep(self._script.load_seconds / 4)
            if step == 2 and self._script.exit_while_loading:
                self._exit()
        if self._script.load_error:
            await self.close()
            raise error(FailureCode.LOAD_FAILED, reason=self._script.load_error)
        self._loaded = True
        return EngineInfo(
            backend=Backend.CPU if config.backend is Backend.AUTO else config.backend,
            device="script",
            reason="Scripted engine",
            model_name=os.path.basename(checkpoint.rstrip("/")),
            context_length=config.session_len or self._script.context_length,
            pid=os.getpid(),
            load_seconds=time.monotonic() - started,
            no_images="" if self._script.reads_images else ONLY_TEXT,
            calls_tools=bool(self._script.tool_calls),
            thinks=bool(self._script.reasoning),
            can_choose_thinking=bool(self._script.reasoning),
            continues_json=self._script.continues_json,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        request, _ = fitted(request, self._script.context_length, self._count)
        if refusal := self._refusal(request):
            yield GenerationFailed(rid, refusal)
            return
        self._running.add(rid)
        started = time.monotonic()
        first = thought = 0.0
        sent = 0
        limit = request.params.max_new_tokens
        calls = self._calls(request)
        reason = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
        try:
            for kind, piece in self._play(request, bool(calls)):
                if self._script.tokens_per_second:
                    due = started + (sent + 1) / self._script.tokens_per_second
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                elif sent % 16 == 0:
                    await asyncio.sleep(0)
                if rid in self._cancelled or self._stopped.is_set():
                    reason = FinishReason.ABORT
                    break
                if sent == self._script.exit_after:
                    self._exit()
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
                yield kind(rid, piece, 1)
                if kind is ReasoningDelta:
                    thought = time.monotonic() - started - first
            if reason is FinishReason.TOOL_CALLS:
                for call in calls:
                    yield ToolCalled(rid, call)
            stats = GenerationStats(
                prompt_tokens=self._count(request),
                completion_tokens=sent,
                time_to_first_token=first,
                duration=time.monotonic() - started,
                reasoning_seconds=thought,
            )
            self._completed += 1
            yield GenerationFinished(rid, reason, stats)
        finally:
            self._running.discard(rid)
            self._cancelled.discard(rid)

    def _calls(self, request: GenerationRequest) -> tuple[ToolCall, ...]:
        answered = bool(request.messages) and request.messages[-1].role == "tool"
        return self._script.tool_calls if request.tools and not answered else ()

    def _play(self, request: GenerationRequest, calling: bool) -> list[tuple[type[TextDelta | ReasoningDelta], str]]:
        """The deltas of the reply, a token each."""
        last = request.messages[-1] if request.messages else None
        thoughts = self._script.reasoning
        if request.thinking is False or (last and last.role == "assistant" and last.content):
            thoughts = ""
        elif last and last.role == "assistant":
            thoughts = thoughts.removeprefix(last.reasoning)
        said = self._script.pieces() if self._script.reply or not calling else []
        if last and last.role == "tool":
            said = _words(f"The tool said: {last.content}")
        thinking: list[tuple[type[TextDelta | ReasoningDelta], str]] = [
            (ReasoningDelta, word) for word in (_words(thoughts) if thoughts else [])
        ]
        return thinking + [(TextDelta, word) for word in said]

    def _refusal(self, request: GenerationRequest) -> Failure | None:
        if not self._loaded or self._stopped.is_set():
            return failure(FailureCode.ENGINE_NOT_READY)
        if problems := request.params.problems():
            return failure(FailureCode.REQUEST_INVALID, reason="; ".join(problems))
        if not self._script.reads_images and any(message.images for message in request.messages):
            return failure(FailureCode.REQUEST_INVALID, reason=ONLY_TEXT)
        last = request.messages[-1] if request.messages else None
        begun = last is not None and last.role == "assistant" and last.content
        if request.json_schema and begun and not self._script.continues_json:
            return failure(FailureCode.JSON_NOT_CONTINUED, reason=BEGINS_ANEW)
        words = self._count(request)
        if words >= self._script.context_length:
            limit = self._script.context_length
            return failure(FailureCode.PROMPT_TOO_LONG, reason=f"{words} tokens of {limit}")
        return None

    async def cancel(self, request_id: str) -> None:
        if request_id in self._running:
            self._cancelled.add(request_id)

    async def count_tokens(self, request: GenerationRequest) -> PromptSize:
        if not self._loaded or self._stopped.is_set():
            raise error(FailureCode.ENGINE_NOT_READY)
        sent, size = fitted(request, self._script.context_length, self._count)
        return msgspec.structs.replace(size, pictures=_count_pictures(sent) if self._script.reads_images else 0)

    def _count(self, request: GenerationRequest) -> int:
        pictures = _count_pictures(request) if self._script.reads_images else 0
        return sum(len(message.content.split()) for message in request.messages) + pictures

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


def _count_pictures(request: GenerationRequest) -> int:
    return PICTURE_TOKENS * sum(len(message.images) for message in request.messages)
