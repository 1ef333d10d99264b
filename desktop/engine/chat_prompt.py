"""Turns a conversation into what LMDeploy's chat templates take, and lets a cut reply go on where it stopped."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from desktop.domain.generation import GenerationRequest, ImagePart, ToolCall, ToolSpec


@dataclass(frozen=True)
class ReplyFormat:
    """What stands around the parts of a reply. answer_open comes before the answer, after reasoning or without."""

    reasoning_open: str = "<think>\n"
    reasoning_close: str = "\n</think>\n\n"
    answer_open: str = ""

    def is_open(self, prompt: str) -> bool:
        """Whether a prompt ends inside the reasoning that its template has begun."""
        return prompt.rstrip().endswith(self.reasoning_open.rstrip())

    def beginning(self, reasoning: str, content: str, prompt: str) -> str:
        """What a reply that goes on has said so far, to stand behind the generation prompt `prompt`."""
        opened = self.is_open(prompt)
        said = ""
        if reasoning or opened:
            said = ("" if opened else self.reasoning_open) + reasoning
            if content:
                said += self.reasoning_close
        return said + (self.answer_open + content if content else "")


THINK_FORMAT = ReplyFormat()
HARMONY_FORMAT = ReplyFormat(
    "<|channel|>analysis<|message|>", "<|end|><|start|>assistant", "<|channel|>final<|message|>"
)


class ContinuingTemplate:
    """One of LMDeploy's chat templates, with its own way to go on with a reply.

    LMDeploy renders the beginning as a finished turn and cuts the end off. Templates trim such turns, drop the
    reasoning from them or close it; so here the turn is opened as for a new reply and the beginning put behind, as is.
    """

    def __init__(self, template: Any, reply_format: ReplyFormat) -> None:
        self._template = template
        self._format = reply_format

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def messages2prompt(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """The prompt as text; messages: a list of {"role", "content", …} or one text."""
        roles = [message["role"] for message in messages[-2:]] if isinstance(messages, list) else []
        if len(roles) < 2 or roles[1] != "assistant" or roles[0] == "assistant":
            return self._template.messages2prompt(messages, *args, **kwargs)
        prompt = self._template.messages2prompt(messages[:-1], *args, **kwargs)
        if prompt is None:
            return None
        return prompt + self._format.beginning(
            messages[-1].get("reasoning_content", ""), messages[-1]["content"], prompt
        )


def to_lmdeploy(request: GenerationRequest, *, images: bool, arguments_as_text: bool) -> list[dict[str, Any]]:
    """The messages in OpenAI's form, with "reasoning_content" for templates that want it.

    images: whether pictures are put in. arguments_as_text: whether the template can take the arguments of a call that
    are no JSON object; if not, they are wrapped in one.
    """
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    found = []
    for message in request.messages:
        given: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.role == "user" and message.images and images:
            parts = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
            given["content"] = [*parts, {"type": "text", "text": message.content}]
        if message.role == "assistant" and message.reasoning:
            given["reasoning_content"] = message.reasoning
        if message.tool_calls:
            given["tool_calls"] = [_call(call, arguments_as_text) for call in message.tool_calls]
        if message.role == "tool":
            given |= {"tool_call_id": message.tool_call_id, "name": names.get(message.tool_call_id, "")}
        found.append(given)
    return found


def tools_to_lmdeploy(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]] | None:
    """The tools in OpenAI's form; None when there are none."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ] or None


def with_images(request: GenerationRequest, change: Callable[[ImagePart], ImagePart]) -> GenerationRequest:
    """The same request with each picture changed."""
    if not any(message.images for message in request.messages):
        return request
    messages = tuple(
        msgspec.structs.replace(message, images=tuple(map(change, message.images))) for message in request.messages
    )
    return msgspec.structs.replace(request, messages=messages)


def _call(call: ToolCall, arguments_as_text: bool) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        arguments = call.arguments if arguments_as_text else {"arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _data_url(image: ImagePart) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode('ascii')}"
