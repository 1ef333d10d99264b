"""The Engine protocol over an OpenAI-compatible server, near or far: LMDeploy's, vLLM's, llama.cpp's and others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from desktop.domain.context_window import PromptSize, without_oldest
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    GenerationStats,
)
from desktop.domain.json_schema import BEGINS_ANEW, read_schema
from desktop.domain.server_address import ServerModel, is_this_machine, server_model
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress
from desktop.engine.chat_prompt import to_lmdeploy, tools_to_lmdeploy
from desktop.engine.remote_reply import RAW, RemoteReply
from desktop.engine.server_failures import broken_off, is_too_long, request_failure
from desktop.engine.server_models import SECONDS, list_models

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from desktop.engine.reply_parser import ParserFactory

KEY_VARIABLE = "TURBODESK_SERVER_KEY"
CLOSE_SECONDS = 2.0

# What LMDeploy, vLLM and older servers know and OpenAI's own refuse.
_EXTRAS = ("top_k", "min_p", "repetition_penalty", "chat_template_kwargs", "max_tokens")


class OpenAIEngine:
    """A model on a server. The path that load() takes is a ServerModel's; without a name it means the first one.

    key: "" for a server that wants none.

    Nothing is loaded here, so EngineConfig has no meaning. Tokens of a prompt cannot be counted before it is sent.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._model: ServerModel | None = None
        self._client: AsyncOpenAI | None = None
        self._cancelled: dict[str, asyncio.Future[None]] = {}  # of the requests that run
        self._completed = 0
        self._generated = 0
        self._has_extras = True
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        """Ask the server for its models. Raises TurbodeskError as list_models() does, and when it has no such model."""
        started = time.monotonic()
        model = server_model(checkpoint)
        if model is None:
            raise error(FailureCode.CHECKPOINT_NOT_FOUND, path=checkpoint)
        on_progress(LoadProgress(f"Asking {model.place}", None, os.getpid()))
        try:
            offered = await asyncio.to_thread(list_models, model.address, self._key)
            served = next((one for one in offered if one.model == model or not model.name), None)
            if served is None:
                has = ", ".join(one.model.name for one in offered[:5]) or "none"
                reason = f"it has no model {model.name} (it has {has})"
                raise error(FailureCode.NOT_A_SERVER, place=model.place, reason=reason)
            self._client = await asyncio.to_thread(_client, model.address, self._key)
        except BaseException:
            await self.close()
            raise
        if self._stopped.is_set():  # closed meanwhile
            raise error(FailureCode.LOAD_CANCELLED)
        self._model = served.model
        return EngineInfo(
            backend=Backend.SERVER,
            device=model.place,
            reason=f"{served.program or 'Server'} at {model.place}",
            model_name=served.model.name,
            context_length=0,  # few servers tell it
            pid=os.getpid(),
            load_seconds=time.monotonic() - started,
            # What the model cannot do, the server says when it is asked to.
            no_images="",
            calls_tools=True,
            thinks=True,
            can_choose_thinking=True,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        rid = request.request_id
        if self._client is None or self._model is None:
            yield GenerationFailed(rid, failure(FailureCode.ENGINE_NOT_READY))
            return
        if problems := request.params.problems():
            yield GenerationFailed(rid, failure(FailureCode.REQUEST_INVALID, reason="; ".join(problems)))
            return
        self._cancelled[rid] = asyncio.get_running_loop().create_future()
        self._idle.clear()
        try:
            async for event in self._stream(self._client, self._model, request):
                yield event
        except Exception as problem:
            yield GenerationFailed(rid, request_failure(problem, self._model.place))
        finally:
            self._cancelled.pop(rid).cancel()
            if not self._cancelled:
                self._idle.set()

    async def _stream(
        self, client: AsyncOpenAI, model: ServerModel, request: GenerationRequest
    ) -> AsyncIterator[GenerationEvent]:
        rid, started = request.request_id, time.monotonic()
        reply = RemoteReply(request, _parsers)
        first, usage, said, ended = 0.0, None, "", False
        cancelled = self._cancelled[rid]
        stream = await _unless(cancelled, self._begin(client, model, request))
        try:
            while stream is not None and not cancelled.done():
                chunk = await _unless(cancelled, anext(stream, _END))
                ended = chunk is _END
                if ended or chunk is None:
                    break
                usage = chunk.usage or usage
                for choice in chunk.choices[:1]:
                    events = await reply.read(choice.delta)
                    if reply.pieces and not first:
                        first = time.monotonic() - started
                    for event in events:
                        yield event
                    said = choice.finish_reason or said
            if ended and said in ("", "abort"):
                reason = "it stopped the reply" if said else "the reply ended in the middle"
                raise TurbodeskError(broken_off(model.place, reason))
        except Exception:
            for event in await reply.finish(FinishReason.ABORT):  # what it still holds back
                yield event
            raise
        finally:
            if stream is not None:
                with contextlib.suppress(Exception):  # it may be broken, which somebody else says
                    await stream.close()
        reason = _reason(said) if ended else FinishReason.ABORT
        for event in await reply.finish(reason):
            yield event
        if reason is FinishReason.STOP and reply.calls:
            reason = FinishReason.TOOL_CALLS
        self._completed += 1
        stats = GenerationStats(
            prompt_tokens=usage.prompt_tokens if usage is not None else 0,
            completion_tokens=usage.completion_tokens if usage is not None else reply.pieces,
            cached_tokens=_cached(usage),
            time_to_first_token=first,
            duration=time.monotonic() - started,
            reasoning_seconds=reply.reasoning_seconds,
        )
        self._generated += stats.completion_tokens
        yield GenerationFinished(rid, reason, stats)

    async def _begin(self, client: AsyncOpenAI, model: ServerModel, request: GenerationRequest) -> Any:
        """The stream of a request that the server has accepted."""
        from openai import APIStatusError

        turns = 1
        while True:
            body, extras = _body(model, request)
            try:
                return await client.chat.completions.create(
                    **body, extra_body=extras if self._has_extras else None, stream=True
                )
            except APIStatusError as problem:
                if is_too_long(problem) and request.leaves_out:
                    # Nobody has counted: the server says so, and some more turns are left out.
                    shorter = without_oldest(request, turns)
                    if shorter is not request:
                        request, turns = shorter, 2 * turns
                        continue
                refused = any(name in str(problem) for name in _EXTRAS)
                if not (self._has_extras and refused and problem.status_code in (400, 422)):
                    raise
                self._has_extras = False

    async def cancel(self, request_id: str) -> None:
        cancelled = self._cancelled.get(request_id)
        if cancelled is not None and not cancelled.done():
            cancelled.set_result(None)

    async def count_tokens(self, request: GenerationRequest) -> PromptSize:
        if self._client is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        raise error(FailureCode.REQUEST_INVALID, reason="a server does not count tokens before a prompt is sent")

    async def statistics(self) -> EngineStatistics:
        if self._client is None:
            raise error(FailureCode.ENGINE_NOT_READY)
        return EngineStatistics(
            active_requests=len(self._cancelled),
            waiting_requests=0,
            completed_requests=self._completed,
            generated_tokens=self._generated,
        )

    async def wait_stopped(self) -> Failure | None:
        """Returns after close() only: a server that is gone is told of by the next request, and may come back."""
        await self._stopped.wait()
        return None

    async def close(self) -> None:
        self._stopped.set()
        for request_id in list(self._cancelled):
            await self.cancel(request_id)
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError):  # a reader may have gone away without ending its request
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
            await client.close()


_END = object()
_MAKING = threading.Lock()


@cache
def _made() -> ParserFactory:
    from desktop.engine.reply_parser import ParserFactory

    return ParserFactory(RAW)


def _parsers() -> ParserFactory:
    with _MAKING:
        return _made()


def _client(address: str, key: str) -> AsyncOpenAI:
    import httpx2
    from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

    timeout = httpx2.Timeout(None, connect=SECONDS)  # a long prompt may take minutes to its first token
    # A proxy cannot reach this machine's own ports.
    http = DefaultAsyncHttpx2Client(timeout=timeout, trust_env=not is_this_machine(address), follow_redirects=False)
    return AsyncOpenAI(base_url=address, api_key=key or "none", http_client=http, timeout=timeout, max_retries=0)


def _body(model: ServerModel, request: GenerationRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """What OpenAI's interface has names for, and the rest."""
    params = request.params
    body: dict[str, Any] = {
        "model": model.name,
        "messages": _messages(request),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "stream_options": {"include_usage": True},
    }
    if params.max_new_tokens is not None:
        body["max_completion_tokens"] = params.max_new_tokens
    if params.seed is not None:
        body["seed"] = params.seed
    if params.stop:
        body["stop"] = list(params.stop)
    if request.json_schema:
        body["response_format"] = _response_format(request)
    elif tools := tools_to_lmdeploy(request.tools):
        body["tools"] = tools
    extras: dict[str, Any] = {
        "top_k": params.top_k,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
    }
    if params.max_new_tokens is not None:
        extras["max_tokens"] = params.max_new_tokens
    if request.thinking is not None:
        extras["chat_template_kwargs"] = {"enable_thinking": request.thinking, "thinking": request.thinking}
    if request.messages[-1].role == "assistant":  # LMDeploy goes on by itself, vLLM is to be told
        extras |= {"continue_final_message": True, "add_generation_prompt": False}
    return body, extras


def _messages(request: GenerationRequest) -> list[dict[str, Any]]:
    rows = to_lmdeploy(request, images=True, arguments_as_text=True)
    for row, message in zip(rows, request.messages, strict=True):
        for given, call in zip(row.get("tool_calls", ()), message.tool_calls, strict=True):
            given["function"]["arguments"] = call.arguments  # OpenAI's is a text
    return rows


def _response_format(request: GenerationRequest) -> dict[str, Any]:
    try:
        schema = read_schema(request.json_schema)
    except ValueError as problem:
        raise error(FailureCode.REQUEST_INVALID, reason=problem) from problem
    if request.messages[-1].role == "assistant" and request.messages[-1].content:
        raise error(FailureCode.JSON_NOT_CONTINUED, reason=BEGINS_ANEW)
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def _reason(word: str) -> FinishReason:
    return {"length": FinishReason.LENGTH, "tool_calls": FinishReason.TOOL_CALLS}.get(word, FinishReason.STOP)


def _cached(usage: Any) -> int:
    details = getattr(usage, "prompt_tokens_details", None)
    return getattr(details, "cached_tokens", None) or 0


async def _unless(cancelled: asyncio.Future[None], work: Awaitable[Any]) -> Any:
    """The result of work; None when the request was cancelled first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
