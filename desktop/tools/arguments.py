"""Checks the arguments of a tool call against the tool's JSON Schema, as far as simple tools need it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def read_arguments(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a dictionary; no text at all means none.

    Checks required, type, enum, minimum and maximum of the properties, and that nothing undeclared is there when
    additionalProperties is false. Raises ValueError with a sentence.
    """
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as problem:
        words = str(problem) if isinstance(problem, ValueError) else "nested too deeply"
        raise ValueError(f"The arguments are not JSON: {words}.") from problem
    if not isinstance(found, dict):
        raise ValueError("The arguments must be a JSON object.")
    properties = schema.get("properties", {})
    if missing := [name for name in schema.get("required", ()) if name not in found]:
        raise ValueError(f"The argument {missing[0]!r} is missing.")
    for name, value in found.items():
        if name in properties:
            _check(name, value, properties[name])
        elif schema.get("additionalProperties") is False:
            raise ValueError(f"There is no argument {name[:100]!r}.")
    return found


def _check(name: str, value: Any, schema: Any) -> None:
    if not isinstance(schema, Mapping):
        return
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if kinds and not any(_is(value, kind) for kind in kinds):
        raise ValueError(f"The argument {name!r} must be of type {' or '.join(kinds)}.")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"The argument {name!r} must be one of {json.dumps(schema['enum'], ensure_ascii=False)}.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", -math.inf):
            raise ValueError(f"The argument {name!r} must be at least {schema['minimum']}.")
        if value > schema.get("maximum", math.inf):
            raise ValueError(f"The argument {name!r} must be at most {schema['maximum']}.")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))
