"""Text is gathered per request and frame; nothing is lost and no order changed."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.generation import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationStats,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCalled,
)
from desktop.engine.coalescer import TextCoalescer

CALL = ToolCall(id="c", name="n", arguments="{}")
STATS = GenerationStats(prompt_tokens=1, completion_tokens=1)
EVENTS = st.lists(
    st.one_of(
        st.builds(TextDelta, st.sampled_from("abc"), st.text(max_size=3), st.integers(0, 4)),
        st.builds(ReasoningDelta, st.sampled_from("abc"), st.text(max_size=3), st.integers(0, 4)),
        st.builds(ToolCalled, st.sampled_from("abc"), st.just(CALL)),
        st.builds(GenerationFinished, st.sampled_from("abc"), st.just(FinishReason.STOP), st.just(STATS)),
        st.none(),  # a pause of a frame
    ),
    max_size=30,
)


@given(EVENTS)
def test_each_request_sees_its_own_events_in_order(events: list[GenerationEvent | None]) -> None:
    batches: list[list[GenerationEvent]] = []

    async def feed() -> None:
        coalescer = TextCoalescer(batches.append, interval=0.0005)
        for event in events:
            if event is None:
                await asyncio.sleep(0.001)
            else:
                coalescer.put(event)
        coalescer.close()

    asyncio.run(feed())
    assert all(batches)
    for request_id in "abc":
        came = [event for batch in batches for event in batch if event.request_id == request_id]
        went = [event for event in events if event is not None and event.request_id == request_id]
        assert _story(came) == _story(went)


def _story(events: list[GenerationEvent]) -> list[tuple[object, str, int]]:
    """Text and token count of neighbours of one kind; everything else as it is."""
    story: list[tuple[object, str, int]] = []
    for event in events:
        if not isinstance(event, TextDelta | ReasoningDelta):
            story.append((event, "", 0))
        elif story and story[-1][0] is type(event):
            story[-1] = (type(event), story[-1][1] + event.text, story[-1][2] + event.tokens)
        else:
            story.append((type(event), event.text, event.tokens))
    return story


def test_reasoning_and_text_do_not_run_together() -> None:
    batches: list[list[GenerationEvent]] = []

    async def feed() -> None:
        coalescer = TextCoalescer(batches.append, interval=0.01)
        coalescer.put(TextDelta("b", "first", 1))  # goes at once; the others wait
        for word in ("One ", "and "):
            coalescer.put(ReasoningDelta("a", word, 1))
        coalescer.put(TextDelta("b", "aside", 1))
        coalescer.put(ReasoningDelta("a", "one.", 1))
        coalescer.put(TextDelta("a", "Two", 1))
        coalescer.put(ToolCalled("a", CALL))
        coalescer.put(TextDelta("a", ".", 1))
        coalescer.close()

    asyncio.run(feed())
    assert batches[1] == [
        ReasoningDelta("a", "One and one.", 3),
        TextDelta("b", "aside", 1),
        TextDelta("a", "Two", 1),
        ToolCalled("a", CALL),
        TextDelta("a", ".", 1),
    ]


async def test_a_burst_becomes_two_batches() -> None:
    batches: list[list[GenerationEvent]] = []
    coalescer = TextCoalescer(batches.append, interval=0.01)
    for i in range(100):
        coalescer.put(TextDelta("a", f"{i} ", 1))
    assert len(batches) == 1  # the first goes at once
    await asyncio.sleep(0.05)
    assert len(batches) == 2
    assert batches[1] == [TextDelta("a", "".join(f"{i} " for i in range(1, 100)), 99)]
