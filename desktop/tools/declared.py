"""Reads a tool that the user declares in JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from desktop.domain.generation import ToolSpec

MAX_CHARACTERS = 100_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = ("string", "integer", "number", "boolean", "array", "object", "null")


def check_tool_spec(text: str) -> ToolSpec:
    """The tool that `text` declares: {"type": "function", "function": {…}} or {"name", "description", "parameters"}.

    Raises ValueError with a sentence. description and parameters may be left out.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The declaration is longer than {MAX_CHARACTERS:,} characters.")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as problem:
        words = str(problem) if isinstance(problem, ValueError) else "nested too deeply"
        raise ValueError(f"The declaration is not JSON: {words}.") from problem
    if isinstance(given, dict) and "function" in given:
        if given.get("type", "function") != "function":
            raise ValueError('The "type" of a tool must be "function".')
        given = given["function"]
    if not isinstance(given, dict):
        raise ValueError("The declaration must be a JSON object.")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError('The tool needs a "name" of at most 64 letters, digits, "_" and "-".')
    description = given.get("description", "")
    if not isinstance(description, str):
        raise ValueError('The "description" must be text.')
    parameters = given.get("parameters", {"type": "object", "properties": {}})
    _check_parameters(parameters)
    return ToolSpec(name=name, description=description, parameters=parameters)


def _check_parameters(parameters: Any) -> None:
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        raise ValueError('The "parameters" must be a JSON Schema with "type": "object".')
    properties = parameters.setdefault("properties", {})
    if not isinstance(properties, dict):
        raise ValueError('The "properties" must be a JSON object with a schema for each argument.')
    for name, schema in properties.items():
        if not isinstance(schema, dict | bool):
            raise ValueError(f"The schema of the argument {name!r} must be a JSON object.")
        kinds = schema.get("type", []) if isinstance(schema, dict) else []
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind not in _KINDS:
                raise ValueError(f"The argument {name!r} has an unknown type, {json.dumps(kind)}.")
        if isinstance(schema, dict) and not isinstance(schema.get("enum", []), list):
            raise ValueError(f'The "enum" of the argument {name!r} must be a list.')
    required = parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError('"required" must be a list of names.')
    if missing := [name for name in required if name not in properties]:
        raise ValueError(f"The argument {missing[0]!r} is required but not declared.")
