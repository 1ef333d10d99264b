"""Replies of several families, through LMDeploy's own parsers, whole and cut at any place."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from desktop.domain.generation import FinishReason, ReasoningDelta, TextDelta, ToolCalled, ToolSpec
from desktop.engine.parser_choice import ParserChoice
from desktop.engine.reply_parser import ParserFactory
from desktop.engine.reply_reader import Event, ReplyReader

CALC = ToolSpec(name="calc", description="", parameters={"type": "object", "properties": {}})
QWEN3 = ParserFactory(ParserChoice(reasoning="default", tools="qwen3"))
LLAMA3 = ParserFactory(ParserChoice(tools="llama3", bare_calls=True))
INTERN = ParserFactory(ParserChoice(reasoning="default", tools="intern-s1"))
CODER = ParserFactory(ParserChoice(tools="qwen3coder"))
GLM = ParserFactory(ParserChoice(reasoning="default", tools="glm47"))
KIMI = ParserFactory(ParserChoice(tools="kimi-k2"))
R1 = ParserFactory(ParserChoice(reasoning="default"))
PLAIN = ParserFactory(ParserChoice())

Told = list[tuple[str, ...]]


def read(
    parsers: ParserFactory,
    text: str,
    cuts: tuple[int, ...] = (),
    *,
    tools: bool = True,
    opened: bool = False,
    reason: FinishReason = FinishReason.STOP,
    before: str = "",
) -> tuple[Told, ReplyReader]:
    """What a reply tells, neighbours of one kind joined: ("reasoning", …), ("text", …), ("call", name, arguments)."""
    reader = ReplyReader("r", parsers.make((CALC,) if tools else (), opened), parsers.bare_calls, parsers.marks)
    reader.go_on_from(before)
    places = sorted({0, *(cut % (len(text) + 1) for cut in cuts), len(text)})
    events: list[Event] = []
    for start, end in pairwise(places):
        events += reader.read(text[start:end], (), 1)
    events += reader.read("", (), 0, reason)
    tokens = sum(event.tokens for event in events if not isinstance(event, ToolCalled))
    assert reader.calls or tokens == len(places) - 1
    assert all(event.request_id == "r" for event in events)
    return joined(events), reader


def joined(events: list[Event]) -> Told:
    told: Told = []
    for event in events:
        if isinstance(event, ToolCalled):
            assert event.call.id
            told.append(("call", event.call.name, event.call.arguments))
            continue
        kind = "reasoning" if isinstance(event, ReasoningDelta) else "text"
        assert isinstance(event, ReasoningDelta | TextDelta)
        if told and told[-1][0] == kind:
            told[-1] = (kind, told[-1][1] + event.text)
        elif event.text:
            told.append((kind, event.text))
    return told


CALL = '<tool_call>\n{"name": "calc", "arguments": {"x": "1 + 1"}}\n</tool_call>'
CALLED = ("call", "calc", '{"x": "1 + 1"}')
REPLIES: dict[str, tuple[ParserFactory, str, bool, Told]] = {
    "text": (QWEN3, "Hello < world > <tool", False, [("text", "Hello < world > <tool")]),
    "no marks known": (PLAIN, f"<think>a</think>{CALL}", False, [("text", f"<think>a</think>{CALL}")]),
    "thinks": (QWEN3, "<think>\nhm,\n\nyes\n</think>\n\nHi\n", False, [("reasoning", "hm,\n\nyes"), ("text", "Hi\n")]),
    "opened by the prompt": (R1, "hm\n</think>\n\nHi", True, [("reasoning", "hm"), ("text", "Hi")]),
    "thinks of nothing": (QWEN3, "<think>\n\n</think>\n\nHi", False, [("text", "Hi")]),
    "never thinks": (R1, "Hi there", False, [("text", "Hi there")]),
    "never ends thinking": (R1, "hm\n", True, [("reasoning", "hm")]),
    "thinks and calls": (QWEN3, f"<think>\nhm\n</think>\n\n{CALL}", False, [("reasoning", "hm"), CALLED]),
    "says and calls twice": (QWEN3, f"Let me see.\n{CALL}\n{CALL}", False, [("text", "Let me see.\n"), CALLED, CALLED]),
    "calls while thinking": (QWEN3, f"<think>hm{CALL}so</think>4", False,
        [("reasoning", "hm"), CALLED, ("reasoning", "so"), ("text", "4")]),
    "arguments in a string": (QWEN3, '<tool_call>{"name": "calc", "arguments": "{\\"x\\": 1}"}</tool_call>', False,
        [("call", "calc", '{"x": 1}')]),
    "no arguments": (QWEN3, '<tool_call>{"name": "calc"}</tool_call>', False, [("call", "calc", "{}")]),
    "an unknown tool": (QWEN3,
        '<tool_call>{"name": "fly", "arguments": {}}</tool_call>', False, [("call", "fly", "{}")]),
    "a call that is none": (QWEN3, "a<tool_call>calc(1)</tool_call>b", False,
        [("text", "a<tool_call>calc(1)</tool_call>b")]),
    "an empty call": (QWEN3, "<tool_call></tool_call>", False, [("text", "<tool_call></tool_call>")]),
    "broken arguments": (QWEN3, '<tool_call>{"name": "calc", "arguments": {"x": }}</tool_call>', False,
        [("call", "calc", '{"x": }')]),
    "arguments without an end": (QWEN3, '<tool_call>{"name": "calc", "arguments": {"x": 1', False,
        [("call", "calc", '{"x": 1')]),
    "more behind the object": (QWEN3, '<tool_call>{"name": "calc", "arguments": {}} then more</tool_call>.', False,
        [("call", "calc", "{}"), ("text", "then more.")]),
    "more in front of the object": (QWEN3, 'so <tool_call>for {"name": "calc", "arguments": {}}</tool_call>', False,
        [("text", "so "), ("call", "calc", "{}"), ("text", "for")]),
    "no JSON but like a call": (QWEN3, '<tool_call>{"name": "calc" so {"x": 1}</tool_call>', False,
        [("call", "calc", '{"name": "calc" so {"x": 1}')]),
    "no closing mark": (QWEN3, '<tool_call>{"name": "calc", "arguments": {}}\nThat is all.', False,
        [("call", "calc", "{}"), ("text", "That is all.")]),
    "llama": (LLAMA3, '<|python_tag|>{"name": "calc", "parameters": {"x": 1}}', False, [("call", "calc", '{"x": 1}')]),
    "llama without the mark": (LLAMA3,
        '\n{"name": "calc", "parameters": {"x": 1}}', False, [("call", "calc", '{"x": 1}')]),
    "llama answers in JSON": (LLAMA3, '{"name": "Ada", "age": 36}', False, [("text", '{"name": "Ada", "age": 36}')]),
    "llama answers": (LLAMA3, "  four {", False, [("text", "  four {")]),
    "intern": (INTERN, 'so<|action_start|><|plugin|>{"name": "calc", "parameters": {"x": 1}}<|action_end|>', False,
        [("text", "so"), ("call", "calc", '{"x": 1}')]),
    "coder": (CODER,
        "<tool_call>\n<function=calc>\n<parameter=x>\n1 + 1\n</parameter>\n</function>\n</tool_call>", False,
        [CALLED]),
    "glm": (GLM, "hm</think>ok<tool_call>calc<arg_key>x</arg_key><arg_value>1 + 1</arg_value></tool_call>", True,
        [("reasoning", "hm"), ("text", "ok"), CALLED]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REPLIES))
def test_a_reply_in_one_piece_and_in_letters(name: str) -> None:
    parsers, text, opened, expected = REPLIES[name]
    for cuts in ((), tuple(range(len(text)))):
        told, reader = read(parsers, text, cuts, opened=opened)
        assert normal(told) == normal(expected)
        assert reader.calls == sum(kind == "call" for kind, *_ in expected)


@settings(deadline=None)
@given(some.sampled_from(sorted(REPLIES)), some.lists(some.integers(0, 10_000), max_size=12))
def test_any_cut_gives_the_same(name: str, cuts: list[int]) -> None:
    parsers, text, opened, expected = REPLIES[name]
    assert normal(read(parsers, text, tuple(cuts), opened=opened)[0]) == normal(expected)


def normal(told: Told) -> list[object]:
    """Arguments as values where they are JSON: parsers may space them in their own way."""
    return [(*call[:2], as_value(call[2])) if call[0] == "call" else call for call in told]


def as_value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


PIECES = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    '{"name": "calc"',
    ', "arguments": {"x": 1}',
    "}",
    "\n",
    "so ",
]


@settings(deadline=None)
@given(some.lists(some.sampled_from(PIECES), max_size=10), some.sampled_from(list(FinishReason)), some.data())
def test_nothing_a_model_writes_is_lost(pieces: list[str], reason: FinishReason, data: some.DataObject) -> None:
    text = "".join(pieces)
    cuts = data.draw(some.lists(some.integers(0, 200), max_size=4))
    told, _ = read(QWEN3, text, tuple(cuts), reason=reason)
    said = "".join(part for entry in told for part in entry[1:])
    assert said.count("so") == text.count("so")


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.ABORT])
def test_half_a_call_is_text_when_the_reply_is_cut(reason: FinishReason) -> None:
    half = '<tool_call>\n{"name": "calc", "arguments": {"x": "1 '
    told, reader = read(QWEN3, f"So:\n{half}", reason=reason)
    assert told == [("text", f"So:\n{half}")]
    assert reader.calls == 0
    told, reader = read(QWEN3, '+ 1"}}\n</tool_call>', before=f"So:\n{half}")
    assert told == [CALLED]


@settings(deadline=None)
@given(some.integers(9, 200))
def test_a_reply_goes_on_where_it_was_cut(at: int) -> None:
    whole = "<think>\nhm,\n\nyes\n</think>\n\nI say <b> and </b>.\n\nBye"
    at = min(at, len(whole))
    before = dict(read(QWEN3, whole[:at], reason=FinishReason.LENGTH)[0])
    reasoning, content = before["reasoning"], before.get("text", "")
    # The prompt then ends with this reasoning, in open marks, or with this text.
    behind = at if content else whole.index(reasoning, 8) + len(reasoning)
    after = dict(read(QWEN3, whole[behind:], opened=not content, before=content or reasoning)[0])
    assert (reasoning + after.get("reasoning", "")).partition("\n<")[0].rstrip("\n") == "hm,\n\nyes"
    assert content + after.get("text", "") == "I say <b> and </b>.\n\nBye"


def test_half_a_mark_at_the_end_is_not_said_twice() -> None:
    assert read(QWEN3, "Hi <tool_", reason=FinishReason.LENGTH)[0] == [("text", "Hi <tool_")]
    assert read(QWEN3, "box> yes", before="Hi <tool_")[0] == [("text", "box> yes")]
    assert read(QWEN3, 'call>{"name": "calc", "arguments": {}}</tool_call>', before="Hi <tool_")[0] == [
        ("call", "calc", "{}")
    ]


def test_without_tools_the_marks_of_a_call_are_text() -> None:
    assert read(QWEN3, f"a {CALL}", tools=False)[0] == [("text", f"a {CALL}")]
    bare = '{"name": "calc", "parameters": {}}'
    assert read(LLAMA3, bare, tools=False)[0] == [("text", bare)]


def test_a_parser_that_fails_leaves_the_text() -> None:
    reader = ReplyReader("r", QWEN3.make((CALC,)))
    reader.read("Hi ", (), 1)
    reader._parser.stream_chunk = None
    events = reader.read("there", (), 1) + reader.read(" you", (), 1, FinishReason.STOP)
    assert joined(events) == [("text", "there you")]


def test_time_spent_reasoning_is_counted() -> None:
    assert read(QWEN3, "Hi")[1].reasoning_seconds == 0
    assert read(QWEN3, "<think>hm</think>Hi", tuple(range(20)))[1].reasoning_seconds > 0


def test_two_engines_in_one_process_keep_their_own_parsers() -> None:
    assert QWEN3.make((CALC,)).tool_parser.get_tool_open_tag() == "<tool_call>"
    assert LLAMA3.make((CALC,)).tool_parser.get_tool_open_tag() == "<|python_tag|>"
    assert PLAIN.make((CALC,)).tool_parser is None
    assert (QWEN3.thinks, QWEN3.calls_tools) == (True, True)
    assert (PLAIN.thinks, PLAIN.calls_tools) == (False, False)


def test_gpt_oss_needs_its_vocabulary_and_does_not_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_ENCODINGS_BASE", raising=False)
    with pytest.raises(RuntimeError, match="TIKTOKEN_ENCODINGS_BASE"):
        ParserFactory(ParserChoice(response="gpt-oss"))
