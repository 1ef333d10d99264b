"""How many tokens pictures take in a prompt, by LMDeploy's own preparation of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from desktop.domain.generation import ChatMessage, GenerationRequest, ImagePart
from desktop.engine.chat_prompt import to_lmdeploy

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine

logger = logging.getLogger(__name__)

_WORD = "x"  # a message of nothing but a picture is none to some templates


class PictureTokens:
    """Belongs to the loop of one engine. A picture is prepared once, which takes as long as for a reply."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: dict[bytes, int] = {}  # by the picture's digest
        self._counting = asyncio.Lock()

    async def count(self, images: Iterable[ImagePart]) -> None:
        """Find out about those that nobody has counted. One that cannot be prepared counts as nothing."""
        async with self._counting:
            for image in images:
                if not image.data or image.tokens or image.digest in self._known:
                    continue
                try:
                    found = await self._measure(image)
                except Exception:
                    logger.info("what a picture takes cannot be counted", exc_info=True)
                    found = 0
                self._known[image.digest] = found

    def tokens(self, image: ImagePart) -> int:
        """What it adds to a prompt, 0 where that is not known."""
        return image.tokens or (self._known.get(image.digest, 0) if image.data else 0)

    async def _measure(self, image: ImagePart) -> int:
        """As in MultimodalProcessor._get_multimodal_prompt_input, but for what runs the model's vision part."""
        engine: Any = self._engine
        processor, template = engine.prompt_processor, engine.chat_template
        encoder = processor.vl_encoder
        seen = await processor.async_parse_multimodal_item(_message(image))
        if encoder._uses_new_preprocess:
            prompt = encoder.model.get_input_prompt(messages=seen, chat_template=template)
            prepared = await encoder.preprocess(seen, input_prompt=prompt)
        else:
            prepared = await encoder.preprocess(seen)
            prepared = await encoder.wrap_for_pytorch(
                messages=prepared, chat_template=template, tokenizer=engine.tokenizer
            )
        plain = template.messages2prompt(_message())
        return len(prepared["input_ids"]) - len(engine.tokenizer.encode(plain, add_bos=True))


def _message(*images: ImagePart) -> list[dict[str, Any]]:
    request = GenerationRequest(request_id="", messages=(ChatMessage("user", _WORD, images=images),))
    return to_lmdeploy(request, images=True, arguments_as_text=True)
