"""What is handed to guided decoding so that a reply obeys a JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from desktop.engine.chat_prompt import ReplyFormat

# Characters in a row between two parts of a value: enough to indent ten levels.
MOST_WHITE_SPACE = 21
BEGUN = "begun"  # beside what LMDeploy knows of a response format


def response_format(schema: Any) -> dict[str, Any]:
    """LMDeploy's response_format for a reply that is nothing but a value of the schema."""
    return _tag(_json(schema))


def response_format_after_reasoning(schema: Any, marks: ReplyFormat, opened: bool) -> dict[str, Any]:
    """The same behind free reasoning. opened: whether the prompt has begun it, so that only its end comes."""
    from xgrammar.structural_tag import AnyTextFormat, ConstStringFormat, SequenceFormat, TagFormat

    close = marks.reasoning_close.strip()
    gap = marks.reasoning_close.rpartition(close)[2] + marks.answer_open
    thinking = TagFormat(begin="" if opened else marks.reasoning_open, content=AnyTextFormat(), end=close)
    return _tag(SequenceFormat(elements=[thinking, ConstStringFormat(value=gap), _json(schema)]))


def going_on(schema: Any, begun: str) -> dict[str, Any]:
    """That of response_format() for the rest of a value. begun: its beginning, which only our own engine looks at."""
    return {**response_format(schema), BEGUN: begun}


def begins(schema: Any, text: str) -> bool:
    """Whether a value of the schema can begin with this text. Raises RuntimeError for what XGrammar cannot compile."""
    import xgrammar

    grammar = json.dumps(response_format(schema))
    compiled = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo([])).compile_structural_tag(grammar)
    return bool(xgrammar.GrammarMatcher(compiled).accept_string(text))


def _json(schema: Any) -> Any:
    from xgrammar.structural_tag import JSONSchemaFormat

    # LMDeploy's own "json_schema" allows white space without end, in which a small model stays for ever.
    return JSONSchemaFormat(json_schema=schema, max_whitespace_cnt=MOST_WHITE_SPACE)


def _tag(content: Any) -> dict[str, Any]:
    from xgrammar.structural_tag import StructuralTag

    found: dict[str, Any] = StructuralTag(format=content).model_dump(mode="json")
    return found
