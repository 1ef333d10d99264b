"""What the Engine protocol promises, asked of every implementation."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio

from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
    ToolCall,
    ToolCalled,
    ToolSpec,
)
from desktop.engine.base import Engine, EngineInfo, LoadProgress
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.engine.process_engine import ProcessEngine
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.storage.paths import demo_checkpoint

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SCRIPT = Script(tokens=400, tokens_per_second=800, context_length=2048)
MAKERS: dict[str, Callable[[], Engine]] = {
    "scripted": lambda: ScriptedEngine(SCRIPT),
    "process-scripted": lambda: ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(_plain(SCRIPT))}),
    "lmdeploy": LMDeployEngine,
    "process-lmdeploy": ProcessEngine,
}
# On the CPU, so that the same is tested on every machine; tests/gpu asks the same of TurboMind.
CONFIG = EngineConfig(backend=Backend.CPU)


def _plain(script: Script) -> dict[str, object]:
    return {name: getattr(script, name) for name in script.__struct_fields__}


class Loaded:
    """An engine under test with what its load told."""

    def __init__(self, engine: Engine, info: EngineInfo, progress: list[LoadProgress]) -> None:
        self.engine, self.info, self.progress = engine, info, progress

    def request(self, request_id: str, text: str, **params: object) -> GenerationRequest:
        sampling = SamplingParams(**{"temperature": 0.0, "max_new_tokens": 200, **params})
        return GenerationRequest(request_id=request_id, messages=(ChatMessage("user", text),), params=sampling)

    async def run(self, request: GenerationRequest) -> list[GenerationEvent]:
        return [event async for event in self.engine.generate(request)]


@pytest.fixture(scope="module", params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(kind: str) -> AsyncIterator[Loaded]:
    progress: list[LoadProgress] = []
    engine = MAKERS[kind]()
    info = await engine.load(str(demo_checkpoint()), CONFIG, progress.append)
    yield Loaded(engine, info, progress)
    await engine.close()


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_load_tells_its_progress_and_what_was_loaded(loaded: Loaded) -> None:
    assert loaded.progress
    assert all(step.stage for step in loaded.progress)
    assert all(step.fraction is None or 0 <= step.fraction <= 1 for step in loaded.progress)
    assert loaded.info.model_name == "demo-checkpoint"
    assert loaded.info.context_length == 2048
    assert loaded.info.reason
    assert loaded.info.backend is Backend.CPU


async def test_a_reply_is_deltas_and_one_last_event(loaded: Loaded) -> None:
    events = await loaded.run(loaded.request("stream", "What is the KV cache?"))
    *deltas, last = events
    assert deltas
    assert all(isinstance(event, TextDelta) and event.request_id == "stream" for event in deltas)
    assert isinstance(last, GenerationFinished)
    assert last.reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert sum(event.tokens for event in deltas) == last.stats.completion_tokens
    assert last.stats.prompt_tokens > 0
    assert 0 < last.stats.time_to_first_token <= last.stats.duration
    assert last.stats.tokens_per_second > 0
    assert text_of(events).strip()


async def test_the_token_limit_ends_a_reply(loaded: Loaded) -> None:
    events = await loaded.run(loaded.request("limit", "What is the KV cache?", max_new_tokens=5))
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.LENGTH
    assert events[-1].stats.completion_tokens == 5


async def test_several_requests_run_at_once(loaded: Loaded) -> None:
    order: list[str] = []

    async def run(request: GenerationRequest) -> list[GenerationEvent]:
        events = []
        async for event in loaded.engine.generate(request):
            order.append(event.request_id)
            events.append(event)
        return events

    ids = [f"many{i}" for i in range(4)]
    replies = await asyncio.gather(*(run(loaded.request(i, "What is the KV cache?")) for i in ids))
    for request_id, events in zip(ids, replies, strict=True):
        assert {event.request_id for event in events} == {request_id}
        assert isinstance(events[-1], GenerationFinished)
    # Nobody waited for another's end: every reply had begun before the first one ended.
    first_end = min(len(order) - 1 - order[::-1].index(i) for i in ids)
    assert all(order.index(i) < first_end for i in ids)


async def test_batch_mates_do_not_change_a_greedy_reply(loaded: Loaded) -> None:
    alone = text_of(await loaded.run(loaded.request("alone", "What is AWQ?")))
    together = await asyncio.gather(
        *(loaded.run(loaded.request(f"mate{i}", q)) for i, q in enumerate(["What is AWQ?", "Hello", "What is AWQ?"]))
    )
    assert text_of(together[0]) == text_of(together[2]) == alone


async def test_a_seed_repeats_a_sampled_reply(loaded: Loaded) -> None:
    asked = {"temperature": 1.0, "seed": 7, "max_new_tokens": 40}
    first = text_of(await loaded.run(loaded.request("seed1", "Hello", **asked)))
    second = text_of(await loaded.run(loaded.request("seed2", "Hello", **asked)))
    assert first == second


async def test_cancel_ends_a_reply_at_the_next_token(loaded: Loaded) -> None:
    events = []
    request = loaded.request("cancel", "What is the KV cache?", max_new_tokens=2000, seed=1, temperature=2.0)
    async for event in loaded.engine.generate(request):
        events.append(event)
        if len(events) == 1:
            await loaded.engine.cancel("cancel")
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.ABORT
    assert 0 < events[-1].stats.completion_tokens < 400


async def test_cancel_of_an_unknown_request_is_ignored(loaded: Loaded) -> None:
    await loaded.engine.cancel("nobody")


async def test_going_on_with_a_reply_keeps_its_beginning(loaded: Loaded) -> None:
    whole = text_of(await loaded.run(loaded.request("whole", "What is AWQ?")))
    beginning = whole[: whole.index(" ", len(whole) // 2)]
    messages = (ChatMessage("user", "What is AWQ?"), ChatMessage("assistant", beginning))
    request = GenerationRequest(request_id="rest", messages=messages, params=SamplingParams(temperature=0.0))
    events = await loaded.run(request)
    assert isinstance(events[-1], GenerationFinished)
    if loaded.info.device != "script":
        assert beginning + text_of(events) == whole


async def test_leaving_the_iterator_cancels_the_request(loaded: Loaded) -> None:
    stream = loaded.engine.generate(loaded.request("left", "What is the KV cache?", max_new_tokens=2000))
    async for _ in stream:
        break
    await stream.aclose()
    for _ in range(500):
        if (await loaded.engine.statistics()).active_requests == 0:
            break
        await asyncio.sleep(0.01)
    assert (await loaded.engine.statistics()).active_requests == 0


async def test_tokens_of_a_prompt_are_counted(loaded: Loaded) -> None:
    request = loaded.request("counted", "What is the KV cache?", max_new_tokens=3)
    events = await loaded.run(request)
    assert isinstance(events[-1], GenerationFinished)
    counts = await asyncio.gather(*(loaded.engine.count_tokens(request) for _ in range(5)))
    assert counts == [PromptSize(events[-1].stats.prompt_tokens)] * 5
    longer = loaded.request("longer", "What is the KV cache? " * 50)
    several = await asyncio.gather(loaded.engine.count_tokens(longer), loaded.engine.count_tokens(request))
    assert several[0].tokens > 10 * several[1].tokens > 0
    most = await loaded.engine.count_tokens(loaded.request("most", "cache " * 5000))
    assert most.tokens > loaded.info.context_length


def conversation(turns: int, newest: str = "What is AWQ?") -> GenerationRequest:
    """A long one: a turn is about 110 tokens. The reply may take a quarter of the context, and takes 5 tokens."""
    messages = [ChatMessage("system", "Be brief.")]
    for turn in range(turns):
        messages += [ChatMessage("user", f"Question {turn}"), ChatMessage("assistant", "cache " * 100)]
    params = SamplingParams(temperature=0.0, max_new_tokens=5)
    messages.append(ChatMessage("user", newest))
    return GenerationRequest(request_id="full", messages=tuple(messages), params=params, leaves_out=True)


async def test_the_oldest_turns_are_left_out_of_a_full_context(loaded: Loaded) -> None:
    request = conversation(40)
    size = await loaded.engine.count_tokens(request)
    room = loaded.info.context_length - 5
    assert room * 3 // 4 - 150 < size.tokens <= room
    assert 0 < size.turns_left_out < 40
    events = await loaded.run(request)
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].stats.prompt_tokens == size.tokens
    whole = msgspec.structs.replace(request, leaves_out=False)
    assert (await loaded.engine.count_tokens(whole)).turns_left_out == 0
    (event,) = await loaded.run(whole)
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.PROMPT_TOO_LONG


async def test_a_conversation_that_fits_stays_whole(loaded: Loaded) -> None:
    request = conversation(3)
    size = await loaded.engine.count_tokens(request)
    assert size == await loaded.engine.count_tokens(msgspec.structs.replace(request, leaves_out=False))
    assert size.turns_left_out == 0


async def test_a_newest_message_that_is_too_long_by_itself_is_refused(loaded: Loaded) -> None:
    request = conversation(3, newest="cache " * 5000)
    assert (await loaded.engine.count_tokens(request)).turns_left_out == 3
    (event,) = await loaded.run(request)
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.PROMPT_TOO_LONG


async def test_what_the_checkpoint_recommends_is_told(loaded: Loaded) -> None:
    if loaded.info.device != "script":
        assert loaded.info.recommended == SamplingParams(temperature=0.0)


async def test_nothing_is_cached_where_there_is_no_cache(loaded: Loaded) -> None:
    for _ in range(2):
        events = await loaded.run(loaded.request("cached", "What is AWQ?", max_new_tokens=3))
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].stats.cached_tokens == 0


async def test_a_model_of_text_refuses_pictures(loaded: Loaded) -> None:
    assert not loaded.info.reads_images
    message = ChatMessage("user", "What is this?", images=(ImagePart(b"\x89PNG", "image/png"),))
    request = GenerationRequest(request_id="picture", messages=(message,))
    (event,) = await loaded.run(request)
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.REQUEST_INVALID
    assert "reads only text" in event.failure.message
    assert (await loaded.engine.count_tokens(request)).tokens > 0


async def test_tools_and_their_results_are_taken(loaded: Loaded) -> None:
    tool = ToolSpec(name="calc", description="", parameters={"type": "object", "properties": {}})
    call = ToolCall(id="c1", name="calc", arguments="{")
    messages = (
        ChatMessage("user", "What is 1 + 1?"),
        ChatMessage("assistant", "", reasoning="hm", tool_calls=(call,)),
        ChatMessage("tool", "2", tool_call_id="c1"),
    )
    params = SamplingParams(temperature=0.0, max_new_tokens=20)
    events = await loaded.run(
        GenerationRequest(request_id="result", messages=messages, tools=(tool,), params=params, thinking=False)
    )
    assert isinstance(events[-1], GenerationFinished)
    if loaded.info.device == "script":
        assert text_of(events) == "The tool said: 2"


SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}


@pytest.mark.parametrize("temperature", [0.0, 2.0])
async def test_a_reply_obeys_a_json_schema(loaded: Loaded, temperature: float) -> None:
    request = loaded.request("schema", "Give me a number.", temperature=temperature, seed=3)
    events = await loaded.run(msgspec.structs.replace(request, json_schema=json.dumps(SCHEMA)))
    assert isinstance(events[-1], GenerationFinished)
    if loaded.info.device != "script":
        assert events[-1].reason is FinishReason.STOP
        assert json.loads(text_of(events))["n"] in (1, 2)


async def test_text_that_cannot_be_sent_is_refused(loaded: Loaded) -> None:
    request = loaded.request("half", "a \ud800 b")
    events = await loaded.run(request)
    if loaded.info.device == "script" and len(events) > 1:
        return  # a script in this process never looks at the text
    (event,) = events
    assert isinstance(event, GenerationFailed)
    with pytest.raises(TurbodeskError) as caught:
        await loaded.engine.count_tokens(request)
    assert caught.value.failure.code is FailureCode.REQUEST_INVALID


THOUGHTFUL = Script(
    reasoning="One and one",
    reply="I compute.",
    tool_calls=(
        ToolCall(id="c1", name="calc", arguments='{"x": 1}'),
        ToolCall(id="c2", name="calc", arguments="{"),
    ),
)


@pytest.mark.parametrize("where", ["here", "in a child"])
async def test_reasoning_text_and_calls_come_in_order(where: str) -> None:
    variable = {"TURBODESK_SCRIPT": msgspec.json.encode(THOUGHTFUL).decode()}
    engine: Engine = ScriptedEngine(THOUGHTFUL) if where == "here" else ProcessEngine("scripted", variable)
    info = await engine.load("script", EngineConfig(), lambda progress: None)
    assert (info.thinks, info.calls_tools) == (True, True)
    asked = GenerationRequest(
        request_id="all",
        messages=(ChatMessage("user", "1 + 1?"),),
        tools=(ToolSpec(name="calc", description="", parameters={}),),
    )
    *events, last = [event async for event in engine.generate(asked)]
    kinds = [type(event) for event in events]
    assert kinds == sorted(kinds, key=[ReasoningDelta, TextDelta, ToolCalled].index)
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == THOUGHTFUL.reasoning
    assert text_of(events) == THOUGHTFUL.reply
    assert tuple(event.call for event in events if isinstance(event, ToolCalled)) == THOUGHTFUL.tool_calls
    assert isinstance(last, GenerationFinished)
    assert last.reason is FinishReason.TOOL_CALLS

    cut = ChatMessage("assistant", "", reasoning="One and")
    goes_on = msgspec.structs.replace(asked, messages=(*asked.messages, cut))
    events = [event async for event in engine.generate(goes_on)]
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == " one"

    for plain in (msgspec.structs.replace(asked, tools=()), msgspec.structs.replace(asked, tools=(), thinking=False)):
        *events, last = [event async for event in engine.generate(plain)]
        assert any(isinstance(event, ReasoningDelta) for event in events) == (plain.thinking is not False)
        assert text_of(events) == THOUGHTFUL.reply
        assert isinstance(last, GenerationFinished)
        assert last.reason is FinishReason.STOP
    await engine.close()


@pytest.mark.parametrize("bad", [{"temperature": 9.0}, {"top_p": 0.0}, {"max_new_tokens": 0}])
async def test_bad_parameters_fail_the_request_alone(loaded: Loaded, bad: dict[str, float]) -> None:
    (event,) = await loaded.run(loaded.request("bad", "Hello", **bad))
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.REQUEST_INVALID
    assert isinstance((await loaded.run(loaded.request("good", "Hello")))[-1], GenerationFinished)


async def test_a_prompt_longer_than_the_context_says_so(loaded: Loaded) -> None:
    (event,) = await loaded.run(loaded.request("long", "cache " * 5000))
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.PROMPT_TOO_LONG
    assert "2048" in event.failure.message


async def test_statistics_count(loaded: Loaded) -> None:
    before = await loaded.engine.statistics()
    await loaded.run(loaded.request("count", "Hello", max_new_tokens=3))
    after = await loaded.engine.statistics()
    assert after.completed_requests == before.completed_requests + 1
    assert 0 < after.generated_tokens - before.generated_tokens <= 3
    assert after.active_requests == after.waiting_requests == 0


async def test_before_a_load_requests_fail_and_statistics_raise(kind: str) -> None:
    engine = MAKERS[kind]()
    request = GenerationRequest(request_id="early", messages=(ChatMessage("user", "hi"),))
    (event,) = [event async for event in engine.generate(request)]
    assert isinstance(event, GenerationFailed)
    assert event.failure.code is FailureCode.ENGINE_NOT_READY
    with pytest.raises(TurbodeskError):
        await engine.statistics()
    with pytest.raises(TurbodeskError) as caught:
        await engine.count_tokens(request)
    assert caught.value.failure.code is FailureCode.ENGINE_NOT_READY
    await engine.close()
    assert await engine.wait_stopped() is None


async def test_settings_that_cannot_work_are_refused_before_anything_starts(kind: str) -> None:
    engine = MAKERS[kind]()
    with pytest.raises(TurbodeskError) as caught:
        await engine.load(str(demo_checkpoint()), EngineConfig(cache_max_entry_count=1.5), lambda progress: None)
    assert caught.value.failure.code is FailureCode.ENGINE_CONFIG_INVALID
    assert "cache ratio" in caught.value.failure.message
    await engine.close()


async def test_a_load_that_fails_raises_its_failure(kind: str, tmp_path) -> None:
    if "scripted" in kind:
        script = Script(load_error="the script says so")
        in_child = ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(_plain(script))})
        engine: Engine = ScriptedEngine(script) if kind == "scripted" else in_child
    else:
        (tmp_path / "config.json").write_text('{"architectures": ["UnheardOfForCausalLM"], "model_type": "unheard"}')
        engine = MAKERS[kind]()
    with pytest.raises(TurbodeskError) as caught:
        await engine.load(str(tmp_path), CONFIG, lambda progress: None)
    expected = FailureCode.LOAD_FAILED if "scripted" in kind else FailureCode.ARCHITECTURE_UNSUPPORTED
    assert caught.value.failure.code is expected
    assert "the script says so" in caught.value.failure.message or "UnheardOf" in caught.value.failure.message
    await engine.close()
    await engine.wait_stopped()


async def test_close_ends_running_requests(kind: str) -> None:
    engine = MAKERS[kind]()
    await engine.load(str(demo_checkpoint()), CONFIG, lambda progress: None)
    begun = asyncio.Event()
    events = []

    async def read() -> None:
        messages = (ChatMessage("user", "What is the KV cache?"),)
        params = SamplingParams(temperature=2.0, seed=1, max_new_tokens=1500)
        async for event in engine.generate(GenerationRequest(request_id="open", messages=messages, params=params)):
            events.append(event)
            begun.set()

    reading = asyncio.create_task(read())
    await begun.wait()
    await engine.close()
    await reading
    last = events[-1]
    assert isinstance(last, GenerationFinished | GenerationFailed)
    assert await engine.wait_stopped() is None
    await engine.close()
