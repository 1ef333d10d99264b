"""The Engine protocol: what every implementation promises, held by one contract test suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec

from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.generation import GenerationEvent, GenerationRequest, SamplingParams


class LoadProgress(msgspec.Struct, frozen=True, tag="load_progress"):
    """One step of a load. stage: a phrase for the user. fraction: 0 to 1 where it is known. pid: who loads."""

    stage: str
    fraction: float | None = None
    pid: int | None = None


ONLY_TEXT = "This model reads only text"


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What was loaded. reason: why this backend, as shown to the user ("TurboMind on RTX 4090").

    context_length: tokens of prompt and reply together, 0 where nobody knows. pid: the process that holds the model.
    no_images: why it takes no pictures, or "" where it does. calls_tools, thinks: what the model's chat template
    provides for; can_choose_thinking: whether the template heeds GenerationRequest.thinking. recommended: the sampling
    the checkpoint's generation_config asks for. continues_json: whether a reply under a JSON Schema can go on from its
    beginning.
    """

    backend: Backend
    device: str
    reason: str
    model_name: str
    context_length: int
    pid: int
    load_seconds: float = 0.0
    no_images: str = ONLY_TEXT
    calls_tools: bool = False
    thinks: bool = False
    can_choose_thinking: bool = False
    recommended: SamplingParams | None = None
    continues_json: bool = False

    @property
    def reads_images(self) -> bool:
        """Whether it takes pictures."""
        return not self.no_images


class EngineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of a running engine. cache_usage: share of the KV cache in use, 0 to 1, or None where unknown."""

    active_requests: int
    waiting_requests: int
    completed_requests: int
    generated_tokens: int
    cache_usage: float | None = None


class Engine(Protocol):
    """Runs one checkpoint. All methods belong to one asyncio loop.

    Order of calls: load once, then generate, cancel and statistics in any mix, then close.
    """

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        """Load the folder `checkpoint`. Raises TurbodeskError; the engine is then closed and cannot be used."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncIterator[GenerationEvent]:
        """Stream one reply: any number of TextDelta, ReasoningDelta and ToolCalled, then exactly one GenerationFinished
        or GenerationFailed.

        Where the request allows it, the oldest turns that do not fit are left out (context_window); a prompt that is
        too long even so is refused with prompt_too_long.

        Never raises for what a request or a dying engine can cause: that is GenerationFailed. Requests run at once.
        Closing the iterator early cancels the request.
        """
        ...

    async def cancel(self, request_id: str) -> None:
        """Stop a request: its iterator ends with GenerationFinished(ABORT) at the next token.

        Unknown and finished ids are ignored.
        """
        ...

    async def count_tokens(self, request: GenerationRequest) -> PromptSize:
        """How many tokens the request's prompt has as generate() sends it, chat template, pictures and all.

        Raises TurbodeskError: engine_not_ready, request_invalid.
        """
        ...

    async def statistics(self) -> EngineStatistics:
        """Read counters. Raises TurbodeskError (engine_not_ready) when nothing is loaded."""
        ...

    async def wait_stopped(self) -> Failure | None:
        """Return when the engine is gone: None after close(), the Failure when it went by itself."""
        ...

    async def close(self) -> None:
        """End all requests and give the memory back. May be called at any time, more than once."""
        ...
