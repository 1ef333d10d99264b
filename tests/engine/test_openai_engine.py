"""The Engine protocol over a server: LMDeploy's own, with a real model on the CPU, and others' odd answers."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

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
)
from desktop.domain.server_address import ServerModel
from desktop.engine import cpu_scheduler
from desktop.engine.base import Engine, EngineInfo
from desktop.engine.cpu_sampling import Sampler
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.engine.openai_engine import OpenAIEngine
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.paths import demo_checkpoint
from tests.engine import chat_templates as templates
from tests.engine.test_chat_prompt import folder_with
from tests.engine.test_lmdeploy_replies import ASKED, CALC, CALL, told
from tests.lmdeploy_server import LMDeployServer
from tests.small_server import Asked, Reply, SmallServer, in_json, models, stream

pytestmark = [
    pytest.mark.asyncio,
    # LMDeploy's server, of its own fields.
    pytest.mark.filterwarnings("ignore:max_tokens is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

KEY = "a secret"
QUESTION = "What is the KV cache?"
GREEDY = SamplingParams(temperature=0.0, max_new_tokens=200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LMDeployServer]:
    """With the template of a model that thinks and calls tools."""
    folder = folder_with(templates.QWEN3, tmp_path_factory.mktemp("served"))
    with LMDeployServer(str(folder), "org/demo", KEY) as server:
        yield server


@pytest.fixture
def dictate(server: LMDeployServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def use(text: str) -> None:
        tokens = server.engine.tokenizer.encode(text, add_bos=False)

        class Dictated(Sampler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.plain = False

            def draw(self, logits: Any, drawn: int) -> int:
                return tokens[drawn]

        monkeypatch.setattr(cpu_scheduler, "Sampler", Dictated)

    return use


@contextlib.asynccontextmanager
async def connected(address: str, name: str, key: str = "") -> AsyncIterator[OpenAIEngine]:
    engine = OpenAIEngine(key)
    try:
        await connect(engine, address, name)
        yield engine
    finally:
        await engine.close()


async def connect(engine: Engine, address: str, name: str) -> EngineInfo:
    return await engine.load(ServerModel(address, name).path, EngineConfig(), lambda progress: None)


def asking(*messages: ChatMessage, request_id: str = "r", **asked: Any) -> GenerationRequest:
    return GenerationRequest(request_id=request_id, messages=messages, **{"params": GREEDY, **asked})


async def run(engine: Engine, *messages: ChatMessage, **asked: Any) -> list[GenerationEvent]:
    return [event async for event in engine.generate(asking(*messages, **asked))]


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def code_of(events: list[GenerationEvent]) -> FailureCode:
    assert isinstance(events[-1], GenerationFailed)
    assert KEY not in repr(events[-1].failure)
    return events[-1].failure.code


# LMDeploy's server


async def test_a_reply_is_that_of_the_model_itself(server: LMDeployServer) -> None:
    here = LMDeployEngine()
    await here.load(str(demo_checkpoint()), EngineConfig(backend=Backend.CPU), lambda progress: None)
    expected = await run(here, ChatMessage("user", QUESTION))
    await here.close()
    progress = []
    engine = ProcessEngine("openai", {"TURBODESK_SERVER_KEY": KEY})
    info = await engine.load(ServerModel(server.address, "org/demo").path, EngineConfig(), progress.append)
    events = await run(engine, ChatMessage("user", QUESTION))
    await engine.close()
    assert text_of(events) == text_of(expected) != ""
    last, same = events[-1], expected[-1]
    assert isinstance(last, GenerationFinished)
    assert isinstance(same, GenerationFinished)
    assert last.reason is FinishReason.STOP
    assert (last.stats.prompt_tokens, last.stats.completion_tokens) == (
        same.stats.prompt_tokens,
        same.stats.completion_tokens,
    )
    assert 0 < last.stats.time_to_first_token <= last.stats.duration
    assert (info.backend, info.model_name) == (Backend.SERVER, "org/demo")
    assert info.reason == f"LMDeploy at {info.device}"
    assert info.device in server.address
    assert progress[-1].stage == f"Asking {info.device}"


async def test_several_at_once_and_one_is_stopped(server: LMDeployServer) -> None:
    async with connected(server.address, "org/demo", KEY) as engine:
        begun = asyncio.Event()

        async def stop() -> list[GenerationEvent]:
            events = []
            async for event in engine.generate(asking(ChatMessage("user", QUESTION), request_id="stopped")):
                events.append(event)
                if len(events) == 3:
                    begun.set()
                    await engine.cancel("stopped")
            return events

        stopped, *others = await asyncio.gather(
            stop(), *(run(engine, ChatMessage("user", QUESTION), request_id=f"r{i}") for i in range(3))
        )
        assert begun.is_set()
        last = stopped[-1]
        assert isinstance(last, GenerationFinished)
        assert last.reason is FinishReason.ABORT
        assert len({text_of(events) for events in others}) == 1
        assert text_of(others[0]).startswith(text_of(stopped))
        assert len(text_of(stopped)) < len(text_of(others[0]))
        await engine.cancel("unknown")
        counters = await engine.statistics()
        assert (counters.active_requests, counters.completed_requests) == (0, 4)


async def test_limits_and_a_prompt_that_is_too_long(server: LMDeployServer) -> None:
    async with connected(server.address, "org/demo", KEY) as engine:
        events = await run(engine, ChatMessage("user", QUESTION), params=SamplingParams(max_new_tokens=5))
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].reason is FinishReason.LENGTH
        assert events[-1].stats.completion_tokens == 5
        long = ChatMessage("user", "word " * 5000)
        assert code_of(await run(engine, long)) is FailureCode.PROMPT_TOO_LONG
        turns = [ChatMessage(role, "word " * 200) for _ in range(8) for role in ("user", "assistant")]
        last = ChatMessage("user", QUESTION)
        assert code_of(await run(engine, *turns, last)) is FailureCode.PROMPT_TOO_LONG
        assert text_of(await run(engine, *turns, last, leaves_out=True))


async def test_calls_that_the_server_parses(server: LMDeployServer, dictate: Callable[[str], None]) -> None:
    """And reasoning that it does not: LMDeploy's parser of it wants a token for its mark, which the demo has not."""
    server.set_parsers(None, "qwen3")
    dictate(f"<think>\nOne and one.\n</think>\n\nI compute.\n{CALL}<|im_end|>")
    async with connected(server.address, "org/demo", KEY) as engine:
        events = await run(engine, ASKED, tools=(CALC,))
        assert told(events) == [
            ("reasoning", "One and one."),
            ("text", "I compute.\n"),
            ("calc", '{"x": "1 + 1"}'),
        ]
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].reason is FinishReason.TOOL_CALLS
        assert events[-1].stats.reasoning_seconds > 0
        # The result goes back, and the reply to it comes.
        call = next(event.call for event in events if isinstance(event, ToolCalled))
        dictate("Two.<|im_end|>")
        answered = (ChatMessage("assistant", "", tool_calls=(call,)), ChatMessage("tool", "2", tool_call_id=call.id))
        assert told(await run(engine, ASKED, *answered, tools=(CALC,))) == [("text", "Two.")]


async def test_reasoning_that_the_server_does_not_parse(server: LMDeployServer, dictate: Callable[[str], None]) -> None:
    server.set_parsers(None, None)
    dictate("<think>\nOne and one.\n</think>\n\nTwo.<|im_end|>")
    async with connected(server.address, "org/demo", KEY) as engine:
        events = await run(engine, ASKED)
        assert told(events) == [("reasoning", "One and one."), ("text", "Two.")]
        assert code_of(await run(engine, ASKED, tools=(CALC,))) is FailureCode.REQUEST_INVALID  # and says how to


async def test_json_by_a_schema(server: LMDeployServer) -> None:
    server.set_parsers(None, None)
    async with connected(server.address, "org/demo", KEY) as engine:
        schema = json.dumps({"enum": ["Rome", "Oslo"]})
        assert json.loads(text_of(await run(engine, ASKED, json_schema=schema))) in ("Rome", "Oslo")
        events = await run(engine, ASKED, ChatMessage("assistant", '"Ro'), json_schema=schema)
        assert code_of(events) is FailureCode.JSON_NOT_CONTINUED


async def test_the_key_and_the_name(server: LMDeployServer) -> None:
    for key, name, code, words in (
        ("wrong", "org/demo", FailureCode.SERVER_REFUSED_KEY, ""),
        (KEY, "other", FailureCode.NOT_A_SERVER, "it has org/demo"),
    ):
        engine = OpenAIEngine(key)
        with pytest.raises(TurbodeskError) as said:
            await connect(engine, server.address, name)
        assert said.value.failure.code is code
        assert words in said.value.failure.message
        assert await engine.wait_stopped() is None


async def test_a_server_that_ends_while_it_streams() -> None:
    with LMDeployServer(str(demo_checkpoint()), "demo") as server:
        async with connected(server.address, "demo") as engine:
            events = []
            async for event in engine.generate(asking(ChatMessage("user", QUESTION))):
                events.append(event)
                if len(events) == 3:
                    await asyncio.to_thread(server.stop)
            assert code_of(events) is FailureCode.SERVER_UNREACHABLE
            assert text_of(events)
            assert code_of(await run(engine, ChatMessage("user", QUESTION))) is FailureCode.SERVER_UNREACHABLE


# others


def answering(reply: Callable[[Asked], Reply] | Reply) -> SmallServer:
    """A server with one model, m."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/models"):
            return models("m", program="somebody")
        return reply if isinstance(reply, Reply) else reply(asked)

    return SmallServer(answer)


async def events_of(reply: Callable[[Asked], Reply] | Reply, **asked: Any) -> tuple[list[GenerationEvent], list[Any]]:
    """What comes of a reply, and the bodies that were sent for it."""
    with answering(reply) as server:
        async with connected(server.address, "m") as engine:
            events = await run(engine, *asked.pop("messages", (ASKED,)), **asked)
        return events, [one.body for one in server.asked[1:]]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_names_of_reasoning(name: str) -> None:
    events, _ = await events_of(stream({name: "hm"}, {"content": "Two."}))
    assert told(events) == [("reasoning", "hm"), ("text", "Two.")]
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].stats.completion_tokens == 2, "counted, where the server does not tell"


@pytest.mark.parametrize("cut", range(1, 12))
async def test_marks_that_come_in_pieces(cut: int) -> None:
    text = f" <think>a</think>\n\n{CALL}"
    pieces = [text[i : i + cut] for i in range(0, len(text), cut)]
    events, _ = await events_of(stream(*({"content": piece} for piece in pieces)), tools=(CALC,))
    assert told(events) == [("reasoning", "a"), ("calc", '{"x": "1 + 1"}')]
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("text", ["<thin", "<", " \n", "<thinking>no</thinking>", "a <think>b</think>", "<tool_call>"])
async def test_what_only_looks_like_a_mark(text: str) -> None:
    events, _ = await events_of(stream(*({"content": piece} for piece in text)))
    assert text_of(events) == text


async def test_a_call_in_pieces_and_half_a_call() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "id": "x" if "name" in function else None, "function": function}]}

    pieces = (call(0, name="a", arguments=""), call(0, arguments='{"x"'), call(0, arguments=": 1}"), call(1, name="b"))
    events, _ = await events_of(stream(*pieces, end="tool_calls"), tools=(CALC,))
    assert [event.call for event in events[:-1] if isinstance(event, ToolCalled)] == [
        ToolCall(id="x", name="a", arguments='{"x": 1}'),
        ToolCall(id="x", name="b", arguments=""),
    ]
    events, _ = await events_of(stream(*pieces[:2], end="length"), tools=(CALC,))
    assert told(events) == [("text", 'a{"x"')], "nothing that was written is lost"
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason is FinishReason.LENGTH


async def test_one_that_refuses_what_openai_does_not_know() -> None:
    def reply(asked: Asked) -> Reply:
        if "top_k" in asked.body:
            return in_json({"error": {"message": "Unrecognized request argument supplied: top_k"}}, 400)
        return stream({"content": "yes"})

    events, bodies = await events_of(reply, thinking=True)
    assert text_of(events) == "yes"
    assert [sorted(set(body) & {"top_k", "min_p", "chat_template_kwargs"}) for body in bodies] == [
        ["chat_template_kwargs", "min_p", "top_k"],
        [],
    ]


async def test_what_is_sent() -> None:
    call = ToolCall(id="c", name="calc", arguments='{"x": 1}')
    messages = (
        ChatMessage("system", "Be short."),
        ChatMessage("user", "See", images=(ImagePart(b"png", "image/png"),)),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "2", tool_call_id="c"),
        ChatMessage("assistant", "It is"),
    )
    params = SamplingParams(temperature=0.5, top_p=0.9, top_k=3, min_p=0.1, seed=7, stop=("x",), max_new_tokens=9)
    _, (body,) = await events_of(stream({"content": " 2"}), messages=messages, params=params, tools=(CALC,))
    system, user, asked, result, begun = body["messages"]
    assert (system["role"], result["tool_call_id"], begun["content"]) == ("system", "c", "It is")
    assert user["content"][0]["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert asked["tool_calls"][0]["function"] == {"name": "calc", "arguments": '{"x": 1}'}
    assert body["tools"][0]["function"]["name"] == "calc"
    expected = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "min_p": 0.1,
        "seed": 7,
        "stop": ["x"],
        "max_tokens": 9,
        "max_completion_tokens": 9,
    }
    assert {name: body[name] for name in expected} == expected
    assert body["continue_final_message"]
    assert not body["add_generation_prompt"]


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (in_json({"error": {"message": "no such thing"}}, 404), FailureCode.REQUEST_INVALID, "no such thing"),
        (in_json({"object": "error", "message": "n must be 1"}, 400), FailureCode.REQUEST_INVALID, "n must be 1"),
        (in_json({"error": {"message": "wait"}}, 429), FailureCode.REQUEST_FAILED, "wait"),
        (in_json({"error": {"message": "oh\n"}}, 500), FailureCode.REQUEST_FAILED, "oh"),
        (in_json({}, 403), FailureCode.SERVER_REFUSED_KEY, "key"),
        (
            in_json({"error": {"message": "x", "code": "context_length_exceeded"}}, 400),
            FailureCode.PROMPT_TOO_LONG,
            "too long",
        ),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), FailureCode.REQUEST_INVALID, ""),
        (Reply(200, b"data: nonsense\n\n", {"Content-Type": "text/event-stream"}), FailureCode.REQUEST_FAILED, ""),
        (
            Reply(200, b'data: {"error": {"message": "the engine died"}}\n\n', {"Content-Type": "text/event-stream"}),
            FailureCode.REQUEST_FAILED,
            "the engine died",
        ),
        (stream({"content": "Tw"}, end=None, whole=False), FailureCode.SERVER_UNREACHABLE, "does not answer"),
    ],
)
async def test_every_refusal_is_a_sentence(reply: Reply, code: FailureCode, words: str) -> None:
    events, _ = await events_of(reply)
    assert code_of(events) is code
    assert isinstance(events[-1], GenerationFailed)
    assert words in events[-1].failure.message
    assert "\n" not in events[-1].failure.message


@pytest.mark.parametrize(("end", "words"), [(None, "in the middle"), ("abort", "stopped the reply")])
async def test_one_that_ends_without_a_reason(end: str | None, words: str) -> None:
    events, _ = await events_of(stream({"content": "Two"}, end=end))
    assert text_of(events) == "Two"
    assert code_of(events) is FailureCode.SERVER_UNREACHABLE
    assert isinstance(events[-1], GenerationFailed)
    assert words in events[-1].failure.message


async def test_bad_settings_and_an_engine_without_a_model() -> None:
    events, bodies = await events_of(stream({"content": "x"}), params=SamplingParams(top_p=0.0))
    assert (code_of(events), bodies) == (FailureCode.REQUEST_INVALID, [])
    engine = OpenAIEngine()
    assert code_of(await run(engine, ASKED)) is FailureCode.ENGINE_NOT_READY
    with pytest.raises(TurbodeskError):
        await engine.statistics()
    with pytest.raises(TurbodeskError):
        await engine.count_tokens(asking(ASKED))
    with pytest.raises(TurbodeskError):
        await engine.load("/a/folder", EngineConfig(), lambda progress: None)
    await engine.close()


async def test_closing_ends_what_streams() -> None:
    with answering(stream({"content": "a"})) as server:
        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        release = threading.Event()

        def slow(asked: Asked) -> Reply:
            if asked.path.endswith("/models"):
                return models("m")
            loop.call_soon_threadsafe(held.set)
            release.wait(20)
            return stream({"content": "late"})

        server.answer = slow
        engine = OpenAIEngine()
        await connect(engine, server.address, "m")
        reply = asyncio.create_task(run(engine, ASKED))
        await held.wait()
        await engine.close()
        events = await reply
        release.set()
        assert isinstance(events[-1], GenerationFinished)
        assert events[-1].reason is FinishReason.ABORT
        assert not any(isinstance(event, ReasoningDelta | TextDelta) for event in events)
