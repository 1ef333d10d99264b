"""What a JSON Schema is, and whether a text is JSON."""

from __future__ import annotations

import json
from typing import Any

# Why a reply that was cut cannot go on under its schema, see FailureCode.JSON_NOT_CONTINUED.
BEGINS_ANEW = "the engine that runs this model can only begin a new value"
NOT_ITS_BEGINNING = "its text does not begin a value of the schema"
_LONGEST = 500  # characters of a reason
_TYPES = "array, boolean, integer, null, number, object and string"


def read_schema(text: str) -> dict[str, Any]:
    """The schema as a value; no reference in it is followed. Raises ValueError, with a sentence, for what is none."""
    import jsonschema  # type: ignore[import-untyped]  # slow to import, and seldom needed

    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"the JSON schema is not JSON: {problem}"[:_LONGEST]) from problem
    if not isinstance(schema, dict):
        raise ValueError("the JSON schema must be a JSON object")
    if not isinstance(schema.get("$schema", ""), str):
        raise ValueError("the JSON schema cannot be used: at $schema: it must be an address")
    try:
        newest = jsonschema.Draft202012Validator
        jsonschema.validators.validator_for(schema, default=newest).check_schema(schema)
    except jsonschema.SchemaError as problem:
        where = "/".join(map(str, problem.absolute_path))
        words = problem.message
        if where.endswith("type") and isinstance(problem.instance, str):
            words = f"{problem.instance!r} is none of {_TYPES}"
        raise ValueError(f"the JSON schema cannot be used: at {where}: {words}"[:_LONGEST]) from problem
    except RecursionError as problem:
        raise ValueError("the JSON schema cannot be used: it is nested too deeply") from problem
    return schema


def is_json(text: str) -> bool:
    """Whether the text is a whole JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
