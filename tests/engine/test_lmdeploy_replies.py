"""Thinking, tool calls and JSON schemas through the whole engine: a real model, its tokens dictated where needed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import torch

from desktop.domain.context_window import PromptSize
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
    ToolCalled,
    ToolSpec,
)
from desktop.engine import cpu_scheduler
from desktop.engine.base import EngineInfo
from desktop.engine.cpu_sampling import Sampler
from desktop.engine.lmdeploy_engine import LMDeployEngine
from tests.engine import chat_templates as templates
from tests.engine.test_chat_prompt import folder_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALC = ToolSpec(name="calc", description="Computes.", parameters={"type": "object", "properties": {"x": {}}})
ASKED = ChatMessage("user", "What is 1 + 1?")
CALL = '<tool_call>\n{"name": "calc", "arguments": {"x": "1 + 1"}}\n</tool_call>'
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Rome", "Oslo"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "maxItems": 3},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}


class Thinker:
    """An engine with the template of a model that thinks and calls tools. dictate: what it will say next."""

    def __init__(self, engine: LMDeployEngine, info: EngineInfo) -> None:
        self.engine, self.info = engine, info
        self.prompt = ""

    @property
    def model(self) -> Any:
        return self.engine._model

    @property
    def vocabulary(self) -> int:
        return int(self.model.engine.hf_cfg.vocab_size)

    def encode(self, text: str) -> list[int]:
        return self.model.engine.tokenizer.encode(text, add_bos=False)

    async def run(self, *messages: ChatMessage, **asked: Any) -> list[GenerationEvent]:
        request = GenerationRequest(request_id="r", messages=messages, **asked)
        session = self.model.engine.session_mgr.get()
        prepared, _ = await self.model.prepare(request, session)
        self.prompt = prepared.inputs["prompt"]
        self.model.engine.session_mgr.remove(session)
        return [event async for event in self.engine.generate(request)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thinker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Thinker]:
    folder = folder_with(templates.QWEN3, tmp_path_factory.mktemp("thinker"))
    engine = LMDeployEngine()
    info = await engine.load(str(folder), EngineConfig(backend=Backend.CPU), lambda progress: None)
    yield Thinker(engine, info)
    await engine.close()


@pytest.fixture
def dictate(thinker: Thinker, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def use(text: str) -> None:
        tokens = thinker.encode(text)

        class Dictated(Sampler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.plain = False

            def draw(self, logits: Any, drawn: int) -> int:
                return tokens[drawn]

        monkeypatch.setattr(cpu_scheduler, "Sampler", Dictated)

    return use


def told(events: list[GenerationEvent]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for event in events[:-1]:
        if isinstance(event, ToolCalled):
            found.append((event.call.name, event.call.arguments))
            continue
        assert isinstance(event, TextDelta | ReasoningDelta)
        kind = "text" if isinstance(event, TextDelta) else "reasoning"
        if found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + event.text)
        else:
            found.append((kind, event.text))
    return found


async def test_the_template_says_what_the_model_can_do(thinker: Thinker) -> None:
    assert thinker.info.thinks
    assert thinker.info.calls_tools
    assert thinker.info.can_choose_thinking
    assert not thinker.info.reads_images


async def test_reasoning_text_and_calls_come_apart(thinker: Thinker, dictate: Callable[[str], None]) -> None:
    dictate(f"<think>\nOne and one.\n</think>\n\nI compute.\n{CALL}<|im_end|>")
    events = await thinker.run(ASKED, tools=(CALC,))
    assert told(events) == [
        ("reasoning", "One and one."),
        ("text", "I compute.\n"),
        ("calc", '{"x": "1 + 1"}'),
    ]
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    assert last.reason is FinishReason.TOOL_CALLS
    assert 0 < last.stats.reasoning_seconds <= last.stats.duration
    assert '"name": "calc"' in thinker.prompt


async def test_without_a_call_the_reply_stops_as_ever(thinker: Thinker, dictate: Callable[[str], None]) -> None:
    dictate("<think>\nhm\n</think>\n\nTwo.<|im_end|>")
    events = await thinker.run(ASKED, tools=(CALC,))
    assert told(events) == [("reasoning", "hm"), ("text", "Two.")]
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.STOP
    assert sum(event.tokens for event in events[:-1]) == events[-1].stats.completion_tokens


async def test_a_reply_cut_in_its_reasoning_goes_on_there(thinker: Thinker, dictate: Callable[[str], None]) -> None:
    dictate("<think>\nOne and one are two.\n</think>\n\nTwo.<|im_end|>")
    limit = len(thinker.encode("<think>\nOne and one"))
    events = await thinker.run(ASKED, params=SamplingParams(max_new_tokens=limit))
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.LENGTH
    ((kind, reasoning),) = told(events)
    assert kind == "reasoning"
    dictate(" are two.\n</think>\n\nTwo.<|im_end|>")
    events = await thinker.run(ASKED, ChatMessage("assistant", "", reasoning=reasoning))
    assert thinker.prompt.endswith(f"<|im_start|>assistant\n<think>\n{reasoning}")
    assert told(events) == [("reasoning", " are two."), ("text", "Two.")]


async def test_a_reply_cut_in_its_answer_goes_on_there(thinker: Thinker, dictate: Callable[[str], None]) -> None:
    dictate(" two.<|im_end|>")
    events = await thinker.run(ASKED, ChatMessage("assistant", "It is", reasoning="hm"))
    assert thinker.prompt.endswith("<think>\nhm\n</think>\n\nIt is")
    assert told(events) == [("text", " two.")]


async def test_thinking_can_be_turned_off(thinker: Thinker, dictate: Callable[[str], None]) -> None:
    dictate("Two.<|im_end|>")
    for thinking, end in ((False, "<think>\n\n</think>\n\n"), (True, "assistant\n"), (None, "assistant\n")):
        assert told(await thinker.run(ASKED, thinking=thinking)) == [("text", "Two.")]
        assert thinker.prompt.endswith(end)


async def test_what_a_failing_reply_had_begun_is_not_lost(
    thinker: Thinker, dictate: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 'I compute.\n<tool_call>\n{"name": "calc", "arguments": {"x'
    dictate(begun)  # and there is no token behind it
    monkeypatch.setattr(cpu_scheduler.logger, "disabled", True)
    events = await thinker.run(ASKED, tools=(CALC,))
    assert told(events) == [("text", begun)]
    assert isinstance(events[-1], GenerationFailed)
    assert events[-1].failure.code is FailureCode.REQUEST_FAILED


async def test_tools_count(thinker: Thinker) -> None:
    plain = GenerationRequest(request_id="c", messages=(ASKED,))
    with_tools = GenerationRequest(request_id="c", messages=(ASKED,), tools=(CALC,))
    few = (await thinker.engine.count_tokens(plain)).tokens
    assert few == len(thinker.encode("<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"))
    assert (await thinker.engine.count_tokens(with_tools)).tokens > few


async def test_what_was_not_counted_makes_room_too(thinker: Thinker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with pictures, whose tokens are not in the count."""
    turn = (ASKED, ChatMessage("assistant", "word " * 900))
    asked = GenerationRequest(
        request_id="r", messages=(*turn * 5, ASKED), params=SamplingParams(max_new_tokens=3), leaves_out=True
    )
    monkeypatch.setattr(thinker.model, "fit", lambda request: (request, PromptSize(0)))
    events = [event async for event in thinker.engine.generate(asked)]
    assert isinstance(events[-1], GenerationFinished)
    assert 900 < events[-1].stats.prompt_tokens < thinker.info.context_length
    assert not thinker.model.engine.session_mgr.sessions


@pytest.mark.parametrize("temperature", [0.0, 2.0])
async def test_a_schema_is_obeyed(thinker: Thinker, temperature: float) -> None:
    import jsonschema

    for seed in range(5):
        params = SamplingParams(temperature=temperature, seed=seed, max_new_tokens=200, repetition_penalty=1.2)
        events = await thinker.run(ASKED, params=params, json_schema=json.dumps(SCHEMA), tools=(CALC,))
        ((kind, text),) = told(events)
        assert kind == "text"
        jsonschema.validate(json.loads(text), SCHEMA)
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].reason is FinishReason.STOP


async def test_a_schema_lets_the_model_think_first(thinker: Thinker) -> None:
    import jsonschema

    request = GenerationRequest(request_id="r", messages=(ASKED,), thinking=True, json_schema=json.dumps(SCHEMA))
    session = thinker.model.engine.session_mgr.get()
    prepared, _ = await thinker.model.prepare(request, session)
    thinker.model.engine.session_mgr.remove(session)
    made = prepared.gen_config.response_format
    assert made["type"] == "structural_tag"
    (end,) = thinker.encode("<|im_end|>")
    guide = thinker.model.engine.engine._guides.make(made, [end])
    answer = '{"city": "Oslo", "days": [1, 2]}'
    jsonschema.validate(json.loads(answer), SCHEMA)
    for token in [*thinker.encode(f"<think>\nhm {{\n</think>\n\n{answer}"), end]:
        assert not guide.over
        assert guide.apply(torch.zeros(thinker.vocabulary))[token] == 0
        guide.accept(token)
    assert guide.over


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"type": "strin"}', "cannot be used"),
        ('{"$ref": "#/nowhere"}', "response format"),
        ('{"$ref": "#/nowhere"}', ": Cannot find field nowhere in #/nowhere."),
        ("[" * 100_000, "is not JSON"),
    ],
)
async def test_a_schema_that_is_none_is_refused(thinker: Thinker, schema: str, words: str) -> None:
    request = GenerationRequest(request_id="r", messages=(ASKED,), json_schema=schema)
    (event,) = [event async for event in thinker.engine.generate(request)]
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.REQUEST_INVALID
    assert words in event.failure.message
    assert ".cc:" not in event.failure.message


async def test_marks_that_are_special_tokens_stay_in_the_text(thinker: Thinker, monkeypatch: Any) -> None:
    asked = GenerationRequest(request_id="r", messages=(ASKED,))
    assert not thinker.model.special_marks
    assert thinker.model._generation_config(asked)[0].skip_special_tokens
    monkeypatch.setattr(thinker.model, "special_marks", True)
    assert not thinker.model._generation_config(asked)[0].skip_special_tokens


async def test_an_empty_request_is_refused(thinker: Thinker) -> None:
    (event,) = [event async for event in thinker.engine.generate(GenerationRequest(request_id="r", messages=()))]
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.REQUEST_INVALID


async def test_a_request_with_a_schema_leaves_its_neighbours_alone(thinker: Thinker) -> None:
    def request(name: str, schema: str) -> GenerationRequest:
        params = SamplingParams(temperature=0.0, max_new_tokens=40)
        return GenerationRequest(request_id=name, messages=(ASKED,), params=params, json_schema=schema)

    async def run(asked: GenerationRequest) -> str:
        events = [event async for event in thinker.engine.generate(asked)]
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    alone = await run(request("alone", ""))
    both = await asyncio.gather(run(request("free", "")), run(request("bound", '{"enum": ["a", "b"]}')))
    assert both[0] == alone
    assert json.loads(both[1]) in ("a", "b")


async def test_no_session_is_left_behind(thinker: Thinker) -> None:
    assert not thinker.model.engine.session_mgr.sessions
