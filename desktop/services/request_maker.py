"""The one place where requests for replies are made, whatever asks for one: a message, an edit, a result, going on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from desktop.domain.conversation import Attachment, ChatSettings, Message, WhenFull, prompt_of
from desktop.domain.generation import ChatMessage, GenerationRequest
from desktop.services.engine_host import EngineHost
from desktop.services.tool_desk import ToolDesk


class RequestMaker:
    """Gives every request an id of its own."""

    def __init__(self, host: EngineHost, tools: ToolDesk) -> None:
        self._host = host
        self._tools = tools
        self._count = 0

    def make(
        self, settings: ChatSettings, path: Sequence[Message], data_of: Callable[[Attachment], bytes]
    ) -> GenerationRequest:
        """What the engine is asked for a reply to these messages. data_of: the bytes of an attachment."""
        info = self._host.status.info
        prompt = prompt_of(path, data_of)
        if settings.system_prompt:
            prompt = (ChatMessage("system", settings.system_prompt), *prompt)
        self._count += 1
        return GenerationRequest(
            request_id=f"chat.{self._count}",
            messages=prompt,
            params=settings.sampling(info.recommended if info else None),
            tools=self._tools.specs(settings.tools),
            json_schema=settings.json_schema,
            thinking=settings.thinking,
            leaves_out=settings.when_full is WhenFull.LEAVE_OUT,
        )
