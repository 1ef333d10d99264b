"""What is a JSON Schema, and what is not, in words."""

from __future__ import annotations

import json

import pytest

from desktop.domain.json_schema import is_json, read_schema


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"type": ["string", "null"]}',
        '{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"}',
        '{"$schema": "https://example.org/of-our-own", "type": "object"}',
        '{"$ref": "https://example.org/never-fetched"}',
    ],
)
def test_schemas(text: str) -> None:
    assert read_schema(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 100_000, "is not JSON"),
        ('{"type": "objekt"}', "at type: 'objekt' is none of array, boolean, integer, null, number, object and string"),
        ('{"properties": {"a": {"type": "strng"}}}', "at properties/a/type: 'strng' is none of"),
        ('{"required": "a"}', "at required: 'a' is not of type 'array'"),
        ('{"pattern": "("}', "at pattern: '(' is not a 'regex'"),
        ('{"$schema": []}', "at $schema: it must be an address"),
        ('{"$schema": 7}', "at $schema: it must be an address"),
        ('{"not": ' * 500 + "{}" + "}" * 500, "nested too deeply"),
    ],
)
def test_what_is_none_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_schema(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(
    ("text", "whole"),
    [('{"a": 1}', True), (" 7\n", True), ('{"a": ', False), ("", False), ("[" * 100_000, False), ("[9" * 9, False)],
)
def test_whole_json(text: str, whole: bool) -> None:
    assert is_json(text) is whole
