"""Pictures through the whole local engine, against Transformers' generate() over the same folder."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
import transformers
from PIL import Image

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    SamplingParams,
    TextDelta,
)
from desktop.engine import wire
from desktop.engine.base import Engine
from desktop.engine.lmdeploy_config import CPU_READS_PICTURES
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.attachments import LONGEST_SIDE, image_from_bytes
from tests.engine.tiny_vision import CONTEXT, FAMILIES, TOKENS, Reference, write_vision

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Transformers makes an array of a tensor, in the way of an older NumPy, for GLM-4V.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]
# Pieces of the prompts are far shorter than the prompts.
CONFIG = EngineConfig(backend=Backend.CPU, max_prefill_token_num=16)


def noise(seed: int, width: int = 40, height: int = 24) -> bytes:
    """A PNG; no two seeds are alike."""
    pixels = torch.randint(256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return png(Image.fromarray(pixels.numpy()))


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def user(text: str, *pictures: bytes) -> ChatMessage:
    return ChatMessage("user", text, images=tuple(ImagePart(data, "image/png") for data in pictures))


async def ask(engine: Engine, *messages: ChatMessage, request_id: str = "r") -> tuple[int, str]:
    """Tokens of the prompt, and the reply."""
    events = [event async for event in engine.generate(request(*messages, request_id=request_id))]
    last = events[-1]
    assert isinstance(last, GenerationFinished), last
    return last.stats.prompt_tokens, "".join(event.text for event in events if isinstance(event, TextDelta))


async def refusal(engine: Engine, *messages: ChatMessage) -> Failure:
    (event,) = [event async for event in engine.generate(request(*messages))]
    assert isinstance(event, GenerationFailed)
    return event.failure


def request(*messages: ChatMessage, request_id: str = "r", tokens: int = TOKENS) -> GenerationRequest:
    params = SamplingParams(temperature=0.0, max_new_tokens=tokens)
    return GenerationRequest(request_id=request_id, messages=messages, params=params)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(FAMILIES))
async def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[LMDeployEngine, Reference]]:
    """The engine and Transformers over a model of each family."""
    folder = await asyncio.to_thread(write_vision, tmp_path_factory.mktemp("vision"), request.param)
    engine = LMDeployEngine()
    info = await engine.load(str(folder), CONFIG, lambda progress: None)
    assert info.reads_images
    yield engine, Reference(folder)
    await engine.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision(tmp_path_factory.mktemp("vision"), "Qwen2.5-VL")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(folder: Path) -> AsyncIterator[LMDeployEngine]:
    found = LMDeployEngine()
    await found.load(str(folder), CONFIG, lambda progress: None)
    yield found
    await found.close()


async def test_a_picture_is_seen(pair: tuple[LMDeployEngine, Reference]) -> None:
    engine, reference = pair
    asked = user("What is this?", noise(1))
    seen = await ask(engine, asked)
    assert seen == reference.ask(asked)
    assert await ask(engine, user("What is this?", noise(2))) != seen
    plain = user("What is this?")
    assert await ask(engine, plain) == reference.ask(plain)  # nothing of the pictures is left behind


async def test_two_pictures_of_two_sizes_and_a_question_later(pair: tuple[LMDeployEngine, Reference]) -> None:
    engine, reference = pair
    first = user("Compare.", noise(1), noise(2, 24, 56))
    talk = (first, ChatMessage("assistant", "They differ."), user("Tell me how."))
    assert await ask(engine, *talk) == reference.ask(*talk)
    turned = (user("Compare.", noise(2, 24, 56), noise(1)), *talk[1:])
    assert (await ask(engine, *turned))[1] != (await ask(engine, *talk))[1]
    later = (*talk[:2], user("And this?", noise(3)))
    assert await ask(engine, *later) == reference.ask(*later)


async def test_what_pictures_take_is_counted(pair: tuple[LMDeployEngine, Reference]) -> None:
    engine, _ = pair
    big = noise(6, 300, 200)
    for asked in (
        (user("What is this?", noise(1)),),
        (user("What is this?", big),),
        (user("Compare.", noise(1), noise(2, 24, 56)), ChatMessage("assistant", "They differ."), user("And?", big)),
    ):
        sent, _ = await ask(engine, *asked)
        assert (await engine.count_tokens(request(*asked))).tokens == sent
    plain = (await engine.count_tokens(request(user("What is this?")))).tokens
    assert (await engine.count_tokens(request(user("What is this?", b"no picture")))).tokens == plain


async def test_requests_with_and_without_pictures_at_once(pair: tuple[LMDeployEngine, Reference]) -> None:
    engine, reference = pair
    asked = [user("What is this?", noise(1)), user("Hi"), user("Look.", noise(4, 56, 16)), user("What is this?" * 4)]
    found = await asyncio.gather(*(ask(engine, said, request_id=str(n)) for n, said in enumerate(asked)))
    assert found == [reference.ask(said) for said in asked]


async def test_every_architecture_that_is_claimed_is_tried() -> None:
    mapping = transformers.AutoModelForImageTextToText._model_mapping
    assert {mapping[type(make()[0])].__name__ for make in FAMILIES.values()} == CPU_READS_PICTURES


async def test_the_picture_of_the_composer_through_the_child_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attachment, data = image_from_bytes(noise(5, 2 * LONGEST_SIDE, LONGEST_SIDE), "big.png")
    assert attachment.media_type == "image/jpeg"
    message = ChatMessage("user", "What is this?", images=(ImagePart(data, attachment.media_type),))
    child = ProcessEngine()
    info = await child.load(str(folder), CONFIG, lambda progress: None)
    assert info.reads_images
    sent, reply = await ask(child, message)
    assert (sent, reply) == await asyncio.to_thread(Reference(folder).ask, message)
    # It is counted at every pause of typing, and its bytes are not sent each time.
    crossed: list[int] = []
    send = child._send
    monkeypatch.setattr(child, "_send", lambda told: (crossed.append(len(wire.encode(told))), send(told)))
    for _ in range(3):
        assert (await child.count_tokens(request(message))).tokens == sent
    assert sum(size > len(data) for size in crossed) == 1
    await child.close()


BROKEN = {
    "no picture": (b"no picture at all", "cannot identify image file"),
    "half a picture": (noise(1)[:-500], "truncated"),
    "a bomb": (png(Image.new("1", (14_000, 14_000))), "decompression bomb"),
}


@pytest.mark.parametrize("name", list(BROKEN))
async def test_what_cannot_be_shown_fails_alone(engine: LMDeployEngine, folder: Path, name: str) -> None:
    data, words = BROKEN[name]
    sound = user("What is this?", noise(1))
    beside, told = await asyncio.gather(ask(engine, sound, request_id="s"), refusal(engine, user("This?", data)))
    assert told.code is FailureCode.REQUEST_INVALID
    assert words in told.message
    assert beside == Reference(folder).ask(sound)


async def test_a_text_that_spells_a_picture_is_no_picture(engine: LMDeployEngine) -> None:
    told = await refusal(engine, user("Is <|image_pad|> this?", noise(1)))
    assert told.code is FailureCode.REQUEST_INVALID
    assert "image_pad" in told.message
    assert await ask(engine, user("What is <|image_pad|>?"))


async def test_pictures_that_fill_the_context_are_too_long(engine: LMDeployEngine) -> None:
    pictures = [noise(number, 64, 64) for number in range(CONTEXT // 16)]
    told = await refusal(engine, user("What are these?", *pictures))
    assert told.code is FailureCode.PROMPT_TOO_LONG
    assert str(CONTEXT) in told.message
    assert await ask(engine, user("What is this?", noise(1)))


async def test_what_the_model_cannot_take_fails_alone(
    engine: LMDeployEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = engine._model.engine.prompt_processor.vl_encoder.model  # type: ignore[union-attr]
    sound = user("What is this?", noise(1))
    expected = Reference(folder).ask(sound)
    running = asyncio.create_task(ask(engine, user("Hi"), request_id="beside"))
    with monkeypatch.context() as patch:
        patch.setattr(encoder.processor.image_processor, "temporal_patch_size", 1)
        told = await refusal(engine, sound)
    assert told.code is FailureCode.REQUEST_FAILED
    assert await running == Reference(folder).ask(user("Hi"))
    assert await ask(engine, sound) == expected


async def test_a_request_with_a_picture_is_cancelled(engine: LMDeployEngine, folder: Path) -> None:
    asked = request(user("What is this?", noise(1)), tokens=CONTEXT - 80)
    events: list[GenerationEvent] = []
    async for event in engine.generate(asked):
        events.append(event)
        if len(events) == 1:
            await engine.cancel("r")
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.ABORT
    assert 0 < events[-1].stats.completion_tokens < CONTEXT - 80
    early = [event async for event in _cancelled_at_once(engine, asked)]
    assert isinstance(early[-1], GenerationFinished)
    assert early[-1].reason is FinishReason.ABORT
    sound = user("What is this?", noise(1))
    assert await ask(engine, sound) == Reference(folder).ask(sound)


async def _cancelled_at_once(engine: LMDeployEngine, asked: GenerationRequest) -> AsyncIterator[GenerationEvent]:
    events = engine.generate(asked)
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await engine.cancel(asked.request_id)
    yield await first
    async for event in events:
        yield event


@pytest.mark.parametrize("broken", ["processor", "architecture"])
async def test_a_model_whose_pictures_cannot_be_read_says_why_and_chats(
    tmp_path: Path, folder: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    if broken == "processor":
        (tmp_path / "processor_config.json").unlink()
        words = "its files for preparing pictures cannot be used"
    else:
        monkeypatch.setattr("desktop.engine.cpu_pictures.CPU_READS_PICTURES", frozenset())
        words = "Qwen2_5_VLForConditionalGeneration without pictures, pictures need an NVIDIA card"
    engine = LMDeployEngine()
    info = await engine.load(str(tmp_path), CONFIG, lambda progress: None)
    assert not info.reads_images
    told = await refusal(engine, user("What is this?", noise(1)))
    assert told.code is FailureCode.REQUEST_INVALID
    assert words in told.message
    assert await ask(engine, user("Hi"))
    await engine.close()


async def test_a_model_told_to_be_one_of_language_only_reads_no_pictures(folder: Path) -> None:
    engine = LMDeployEngine()
    config = EngineConfig(backend=Backend.CPU, language_model_only=True)
    info = await engine.load(str(folder), config, lambda progress: None)
    assert not info.reads_images
    assert "reads only text" in (await refusal(engine, user("What is this?", noise(1)))).message
    await engine.close()
