"""A reply under a JSON schema that was cut goes on as the same value, wherever it was cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import msgspec
import pytest
import pytest_asyncio
import torch
from transformers import AutoTokenizer

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
)
from desktop.engine import cpu_scheduler
from desktop.engine.cpu_sampling import Sampler
from desktop.engine.guidance import begins
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.storage.paths import demo_checkpoint
from tests.engine import chat_templates as templates
from tests.engine.test_chat_prompt import folder_with

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "größe": {"type": "number"},
        "tags": {"type": "array", "items": {"enum": ["日本", "naïve", "a"]}, "maxItems": 2},
        "inner": {
            "type": "object",
            "properties": {"yes": {"type": "boolean"}, "n": {"type": "integer", "minimum": -200, "maximum": 200}},
            "required": ["yes", "n"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "größe", "tags", "inner"],
    "additionalProperties": False,
}
# Escapes, characters of two to four bytes, a number with every part there is, and both ways to space a value out.
VALUE = (
    r'{"name": "é 日😀 \"q\" \\ \u00e9\n", "größe": -12.50e+3, "tags": ["日本", "naïve"],'
    "\n" + r'  "inner": {"yes": false, "n": -120}}'
)
ASKED = ChatMessage("user", "Give me one.")
RANDOM = SamplingParams(temperature=2.0, top_p=1.0, top_k=0, max_new_tokens=200)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[LMDeployEngine]:
    engine = LMDeployEngine()
    info = await engine.load(str(demo_checkpoint()), EngineConfig(backend=Backend.CPU), lambda progress: None)
    assert info.continues_json
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thinker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LMDeployEngine]:
    engine = LMDeployEngine()
    folder = folder_with(templates.QWEN3, tmp_path_factory.mktemp("thinker"))
    await engine.load(str(folder), EngineConfig(backend=Backend.CPU), lambda progress: None)
    yield engine
    await engine.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply wanders at random for some tokens, and then takes whatever is nearest to an end."""
    tokenizer = AutoTokenizer.from_pretrained(demo_checkpoint())
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    wanted = {",": 100.0, "]": 200.0, "}": 300.0, '"': 400.0, tokenizer.eos_token: 500.0}
    ends = torch.tensor([wanted.get(text, 0.0) for text in texts])

    class Hurried(Sampler):
        def draw(self, logits: torch.Tensor, drawn: int) -> int:
            if drawn >= 6:
                logits = logits + torch.nn.functional.pad(ends, (0, len(logits) - len(ends)))
            return super().draw(logits, drawn)

    monkeypatch.setattr(cpu_scheduler, "Sampler", Hurried)


async def go_on(
    engine: LMDeployEngine, beginning: str, *, schema: object = SCHEMA, seed: int = 0, **more: Any
) -> list[GenerationEvent]:
    request = GenerationRequest(
        request_id=f"{beginning}.{seed}",
        messages=(ASKED, ChatMessage("assistant", beginning, reasoning=more.pop("reasoning", ""))),
        params=msgspec.structs.replace(more.pop("params", RANDOM), seed=seed),
        json_schema=json.dumps(schema),
        **more,
    )
    return [event async for event in engine.generate(request)]


def text_of(events: list[GenerationEvent]) -> str:
    assert isinstance(events[-1], GenerationFinished), events[-1]
    assert events[-1].reason is FinishReason.STOP
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_every_cut_ends_in_one_value_of_the_schema(demo: LMDeployEngine) -> None:
    jsonschema.validate(json.loads(VALUE), SCHEMA)
    cuts = [VALUE[:length] for length in range(1, len(VALUE) + 1)]
    replies = await asyncio.gather(*(go_on(demo, cut, seed=seed) for seed, cut in enumerate(cuts)))
    for cut, events in zip(cuts, replies, strict=True):
        whole = cut + text_of(events)
        jsonschema.validate(json.loads(whole), SCHEMA)
    assert text_of(replies[-1]) == ""


async def test_a_reply_that_was_cut_again_and_again_is_one_value(demo: LMDeployEngine) -> None:
    for seed in range(3):
        text = "{"
        for piece in range(60):
            params = msgspec.structs.replace(RANDOM, max_new_tokens=9)
            events = await go_on(demo, text, seed=1000 * seed + piece, params=params)
            text += "".join(event.text for event in events if isinstance(event, TextDelta))
            assert isinstance(events[-1], GenerationFinished)
            if events[-1].reason is FinishReason.STOP:
                break
        jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize(
    ("schema", "beginning"),
    [
        ({"type": "integer"}, "-1"),
        ({"type": "string"}, '"a\\'),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 3}, "[\n\t"),
        ({"enum": ["yes", "yesterday"]}, '"yes'),
        ({"anyOf": [{"type": "boolean"}, {"const": "true"}]}, "t"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "maxProperties": 1}}}, "{"),
    ],
)
async def test_other_kinds_of_schema_go_on_too(demo: LMDeployEngine, schema: dict[str, Any], beginning: str) -> None:
    params = SamplingParams(temperature=0.0, max_new_tokens=200)
    whole = beginning + text_of(await go_on(demo, beginning, schema=schema, params=params))
    jsonschema.validate(json.loads(whole), schema)


@pytest.mark.parametrize("beginning", ["Once upon a time", '{"name": 3', "[", VALUE + " {", '{"nam\x00'])
async def test_a_text_that_begins_no_value_is_refused(demo: LMDeployEngine, beginning: str) -> None:
    (event,) = await go_on(demo, beginning)
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.JSON_NOT_CONTINUED
    assert "does not begin a value" in event.failure.message


async def test_a_reply_that_had_thought_goes_on_in_its_answer(thinker: LMDeployEngine) -> None:
    for cut in (5, 30, 55):
        events = await go_on(thinker, VALUE[:cut], reasoning="Let me see.", thinking=True)
        assert not any(isinstance(event, ReasoningDelta) for event in events)
        jsonschema.validate(json.loads(VALUE[:cut] + text_of(events)), SCHEMA)


async def test_an_engine_that_cannot_says_so_before_anything_is_written(
    demo: LMDeployEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert demo._model is not None
    monkeypatch.setattr(demo._model, "info", msgspec.structs.replace(demo._model.info, continues_json=False))
    (event,) = await go_on(demo, VALUE[:20])
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.JSON_NOT_CONTINUED
    assert "only begin a new value" in event.failure.message
    assert not demo._model.engine.session_mgr.sessions


async def test_what_begins_a_value_is_known_without_a_vocabulary() -> None:
    assert all(begins(SCHEMA, VALUE[:length]) for length in range(len(VALUE) + 1))
    assert not begins(SCHEMA, VALUE + "}")
