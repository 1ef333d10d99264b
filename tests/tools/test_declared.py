"""Tools that the user declares."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from desktop.domain.generation import ToolSpec
from desktop.tools import check_tool_spec

WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SPEC = ToolSpec(**WEATHER)


def test_both_forms_are_read() -> None:
    assert check_tool_spec(json.dumps(WEATHER)) == SPEC
    assert check_tool_spec(json.dumps({"type": "function", "function": WEATHER})) == SPEC


def test_description_and_parameters_may_be_left_out() -> None:
    spec = check_tool_spec('{"name": "ping"}')
    assert spec == ToolSpec(name="ping", description="", parameters={"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 50_000, "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"type": "function", "function": 3}', "must be a JSON object"),
        ('{"type": "retrieval", "function": {"name": "a"}}', '"function"'),
        ("{}", '"name"'),
        ('{"name": "two words"}', '"name"'),
        ('{"name": "a", "description": 1}', '"description"'),
        ('{"name": "a", "parameters": {"type": "string"}}', '"type": "object"'),
        ('{"name": "a", "parameters": []}', '"type": "object"'),
        ('{"name": "a", "parameters": {"type": "object", "properties": []}}', '"properties"'),
        ('{"name": "a", "parameters": {"type": "object", "properties": {"x": 1}}}', "'x'"),
        ('{"name": "a", "parameters": {"type": "object", "properties": {"x": {"type": "text"}}}}', "unknown type"),
        ('{"name": "a", "parameters": {"type": "object", "properties": {"x": {"enum": 1}}}}', '"enum"'),
        ('{"name": "a", "parameters": {"type": "object", "required": "x"}}', '"required"'),
        ('{"name": "a", "parameters": {"type": "object", "required": ["x"]}}', "not declared"),
        ('"' + "x" * 100_000 + '"', "longer than"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_tool_spec(text)
    assert words in str(caught.value)


_WORDS = some.sampled_from(["name", "function", "parameters", "properties", "type", "required", "object", "x"])
_JSON = some.recursive(
    some.none() | some.booleans() | _WORDS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(_WORDS, inner),
)


@settings(deadline=None)
@given(_JSON)
def test_a_value_is_taken_or_refused_and_nothing_else(value: object) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(check_tool_spec(json.dumps(value)), ToolSpec)
