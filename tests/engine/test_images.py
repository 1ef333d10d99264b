"""Pictures, as far as a machine without a card can tell."""

import asyncio
import io
import json
from pathlib import Path

import pytest
import torch
from lmdeploy.serve.processors import MultimodalProcessor
from PIL import Image
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig
from transformers.utils import logging

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode
from desktop.domain.generation import (
    ChatMessage,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    SamplingParams,
)
from desktop.engine.chat_prompt import to_lmdeploy
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.storage.paths import demo_checkpoint


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


def write_vision_model(folder: Path) -> Path:
    """A Qwen2.5-VL of a few thousand weights with the demo checkpoint's tokenizer."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    text = {
        "vocab_size": json.loads((demo_checkpoint() / "config.json").read_text())["vocab_size"],
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).symlink_to(demo_checkpoint() / name)
    return folder


async def test_a_vision_model_on_the_cpu_chats_and_says_why_it_sees_nothing(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(write_vision_model, tmp_path)
    engine = LMDeployEngine()
    info = await engine.load(str(folder), EngineConfig(backend=Backend.CPU), lambda progress: None)
    assert not info.reads_images
    (event,) = [event async for event in engine.generate(request(picture("PNG"), "image/png"))]
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.REQUEST_INVALID
    assert "pictures need an NVIDIA card" in event.failure.message
    plain = GenerationRequest(
        request_id="t", messages=(ChatMessage("user", "Hi"),), params=SamplingParams(max_new_tokens=4)
    )
    events = [event async for event in engine.generate(plain)]
    assert isinstance(events[-1], GenerationFinished)
    await engine.close()
