"""Pictures on their way to LMDeploy; test_pictures.py has what models make of them."""

import io

import pytest
from lmdeploy.serve.processors import MultimodalProcessor
from PIL import Image

from desktop.domain.generation import ChatMessage, GenerationRequest, ImagePart
from desktop.engine.chat_prompt import to_lmdeploy


def picture(form: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 4), (200, 30, 30)).save(data, form)
    return data.getvalue()


def request(data: bytes, media_type: str) -> GenerationRequest:
    message = ChatMessage("user", "What is this?", images=(ImagePart(data, media_type),))
    return GenerationRequest(request_id="r", messages=(message,))


@pytest.mark.parametrize(("form", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
async def test_lmdeploy_reads_the_pictures_we_send(form: str, media_type: str) -> None:
    messages = to_lmdeploy(request(picture(form), media_type), images=True, arguments_as_text=True)
    (parsed,) = await MultimodalProcessor.async_parse_multimodal_item(messages)
    image, text = parsed["content"]
    assert image["type"] == "image"
    assert image["data"].size == (8, 4)
    assert abs(image["data"].getpixel((3, 2))[0] - 200) < 8
    assert text == {"type": "text", "text": "What is this?"}


async def test_a_broken_picture_is_an_error_for_lmdeploy() -> None:
    messages = to_lmdeploy(request(picture("PNG")[:30], "image/png"), images=True, arguments_as_text=True)
    with pytest.raises((ValueError, OSError)):
        await MultimodalProcessor.async_parse_multimodal_item(messages)
