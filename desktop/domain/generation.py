"""A request for text, the events that answer it, and its statistics."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, Literal

import msgspec

from desktop.domain.errors import Failure

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """The model asks for a tool. arguments: JSON text as the model wrote it, which may be no JSON at all."""

    id: str
    name: str
    arguments: str


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the model is told of it. parameters: a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ImagePart(msgspec.Struct, frozen=True):
    """An encoded picture of a user's message. media_type: "image/png" or "image/jpeg".

    tokens: how many it adds to a prompt, 0 where nobody has counted. To count a prompt they are enough, without data.
    """

    data: bytes
    media_type: str
    tokens: int = 0

    @property
    def digest(self) -> bytes:
        """The same for the same bytes."""
        return hashlib.blake2b(self.data, digest_size=16).digest()


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn as the engine sees it.

    reasoning and tool_calls belong to the assistant, images to the user. role "tool" carries a result: content, for the
    call tool_call_id.
    """

    role: Role
    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[ImagePart, ...] = ()


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is drawn. Field names and meanings follow LMDeploy's GenerationConfig.

    temperature 0 means greedy decoding; then top_p, top_k, min_p, repetition_penalty and seed have no effect.
    max_new_tokens None means until the context is full. top_k 0 means no limit.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What is out of range, in words; empty when all is well."""
        found = []
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            found.append("max new tokens must be at least 1")
        if not 0 <= self.temperature <= 2:
            found.append("temperature must be between 0 and 2")
        if not 0 < self.top_p <= 1:
            found.append("top-p must be above 0 and at most 1")
        if not 0 <= self.top_k <= 1024:
            found.append("top-k must be between 0 and 1024")
        if not 0 <= self.min_p <= 1:
            found.append("min-p must be between 0 and 1")
        if not 0 < self.repetition_penalty <= 2:
            found.append("repetition penalty must be above 0 and at most 2")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            found.append("the seed must be between 0 and 2^63 - 1")
        if any(not word for word in self.stop):
            found.append("a stop word must not be empty")
        return found


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to generate. request_id is unique for the life of an engine.

    When the last message is the assistant's, the reply goes on from its text. tools: what the model may call.
    json_schema: JSON Schema text that the reply, with the text it goes on from, must obey; "" for free text. thinking:
    asks a chat template that knows the choice to think, or not to; None leaves it to the template. leaves_out: the
    engine may leave out the oldest turns so that the prompt fits, see context_window.
    """

    request_id: str
    messages: tuple[ChatMessage, ...]
    params: SamplingParams = SamplingParams()
    tools: tuple[ToolSpec, ...] = ()
    json_schema: str = ""
    thinking: bool | None = None
    leaves_out: bool = False


class FinishReason(StrEnum):
    """Why a reply ended; LMDeploy's words, but for CUT_JSON.

    CUT_JSON: LENGTH, in the middle of a reply that had to obey a JSON Schema and so is no JSON. An engine goes on from
    there only if it can continue JSON; another would begin another value.
    """

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    TOOL_CALLS = "tool_calls"
    CUT_JSON = "cut_json"


class GenerationStats(msgspec.Struct, frozen=True, kw_only=True):
    """Measured where the engine runs. Times in seconds, counts in tokens; reasoning_seconds is part of duration.

    A reply may be written by several requests, one going on where the last was cut; see then().
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    time_to_first_token: float = 0.0
    duration: float = 0.0
    reasoning_seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed: tokens after the first over the time since the first; 0 when not measurable."""
        decoding = self.duration - self.time_to_first_token
        if self.completion_tokens < 2 or decoding <= 0:
            return 0.0
        return (self.completion_tokens - 1) / decoding

    def then(self, later: GenerationStats) -> GenerationStats:
        """Those of a reply that another request has gone on with: later's.

        Tokens and times add up, the first token came when it came; the prompt is that of the last request.
        """
        if not self.completion_tokens:
            return later
        return msgspec.structs.replace(
            later,
            completion_tokens=self.completion_tokens + later.completion_tokens,
            time_to_first_token=self.time_to_first_token,
            duration=self.duration + later.duration,
            reasoning_seconds=self.reasoning_seconds + later.reasoning_seconds,
        )


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """More text of a reply. tokens: how many tokens it stands for."""

    request_id: str
    text: str
    tokens: int


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """More of what the model thinks before it answers, without the tags around it."""

    request_id: str
    text: str
    tokens: int


class ToolCalled(msgspec.Struct, frozen=True, tag="tool_called"):
    """The model has asked for a tool, arguments and all. A reply may ask for several."""

    request_id: str
    call: ToolCall


class GenerationFinished(msgspec.Struct, frozen=True, tag="finished"):
    """The last event of a reply that ended by itself or was stopped."""

    request_id: str
    reason: FinishReason
    stats: GenerationStats


class GenerationFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The last event of a reply that could not go on. What was sent before stays valid."""

    request_id: str
    failure: Failure


GenerationEvent = TextDelta | ReasoningDelta | ToolCalled | GenerationFinished | GenerationFailed
