"""Frames survive the trip; anything else is an error."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.context_window import PromptSize
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import FailureCode, failure
from desktop.domain.generation import (
    ChatMessage,
    GenerationFailed,
    GenerationRequest,
    ImagePart,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
    ToolCall,
    ToolCalled,
    ToolSpec,
)
from desktop.engine import wire
from desktop.engine.framing import FrameError

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def decode(data: bytes, *, side: str) -> list[object]:
    """All messages in `data`, read in a loop of its own."""

    async def read() -> list[object]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        read_one = wire.read_from_child if side == "from child" else wire.read_to_child
        found: list[object] = []
        while (message := await read_one(reader)) is not None:
            found.append(message)
        return found

    return asyncio.run(read())


@given(st.lists(st.builds(TextDelta, TEXT, TEXT, st.integers(0, 2**31)), max_size=5))
def test_events_survive(events: list[TextDelta]) -> None:
    events = [*events, GenerationFailed("r", failure(FailureCode.REQUEST_FAILED, reason="x", detail="y"))]
    assert decode(b"".join(map(wire.encode, events)), side="from child") == events


@given(TEXT, TEXT, st.integers(0, 2**31))
def test_what_a_rich_reply_tells_survives(text: str, arguments: str, number: int) -> None:
    call = ToolCall(id="c", name=text, arguments=arguments)
    refused = failure(FailureCode.REQUEST_INVALID, reason=text)
    messages = [
        ReasoningDelta("r", text, number),
        ToolCalled("r", call),
        wire.TokensCounted(number, PromptSize(7, 1)),
        wire.TokensCounted(number, failure=refused),
    ]
    assert decode(b"".join(map(wire.encode, messages)), side="from child") == messages


@given(TEXT, st.binary(max_size=50))
def test_what_a_rich_request_asks_survives(text: str, picture: bytes) -> None:
    call = ToolCall(id="c", name="calc", arguments=text)
    schema = {"type": "object", "properties": {text: {"type": ["string", "null"], "maximum": 1.5}}}
    request = GenerationRequest(
        request_id="r",
        messages=(
            ChatMessage("user", text, images=(ImagePart(picture, "image/png"),)),
            ChatMessage("assistant", "", reasoning=text, tool_calls=(call,)),
            ChatMessage("tool", text, tool_call_id="c"),
        ),
        tools=(ToolSpec(name="calc", description=text, parameters=schema),),
        json_schema="{}",
        thinking=False,
    )
    messages = [wire.Generate(request), wire.CountTokens(3, request)]
    assert decode(b"".join(map(wire.encode, messages)), side="to child") == messages


def test_what_cannot_be_sent_is_a_value_error() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for schema in ({"maximum": 2**70}, deep, {"x": object()}):
        tool = ToolSpec(name="t", description="", parameters=schema)
        with pytest.raises(ValueError):
            wire.encode(wire.Generate(GenerationRequest(request_id="r", messages=(), tools=(tool,))))
    half = GenerationRequest(request_id="r", messages=(ChatMessage("user", "\ud800"),))
    with pytest.raises(ValueError, match="surrogate"):
        wire.encode(wire.Generate(half))


@given(TEXT, st.integers(0, 2**62))
def test_requests_survive(text: str, seed: int) -> None:
    params = SamplingParams(seed=seed, stop=("a", "b"))
    request = GenerationRequest(request_id="r", messages=(ChatMessage("user", text),), params=params)
    config = EngineConfig(devices=(0, 1), tp=2, hf_overrides={"rope": {"factor": 2.0}})
    messages = [wire.Load("/a", config), wire.Generate(request), wire.Cancel("r"), wire.ReadStatistics(), wire.Close()]
    assert decode(b"".join(map(wire.encode, messages)), side="to child") == messages


@given(st.binary(min_size=1, max_size=200))
def test_garbage_is_an_error_or_whole_messages(data: bytes) -> None:
    try:
        messages = decode(data, side="from child")
    except FrameError:
        return
    assert messages
    assert len(b"".join(wire.encode(message) for message in messages)) > 0  # type: ignore[arg-type]


@given(st.integers(1, 40))
def test_a_cut_stream_is_an_error(missing: int) -> None:
    frame = wire.encode(TextDelta("request", "some text that is long enough", 3))
    with pytest.raises(FrameError):
        decode(frame[:-missing], side="from child")


def test_a_message_of_the_other_side_is_an_error() -> None:
    with pytest.raises(FrameError):
        decode(wire.encode(wire.Close()), side="from child")
