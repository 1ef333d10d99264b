"""Which of LMDeploy's response parsers reads a model's replies.

LMDeploy's server leaves this choice to a command line option. Here the chat template decides: it shows the model how to
write a call, so the marks in it are those that will come back. The first row of each table that fits is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

GPT_OSS = "gpt-oss"


@dataclass(frozen=True)
class ParserChoice:
    """Names as LMDeploy registers them; None where the model does no such thing.

    response: the parser of the whole reply. bare_calls: a reply may begin with a call that lacks its opening mark.
    switches: variables of the template that turn the thinking on and off.
    """

    response: str = "default"
    reasoning: str | None = None
    tools: str | None = None
    bare_calls: bool = False
    switches: tuple[str, ...] = ()


# model_type -> the formats that LMDeploy writes in Python, without a template in the folder.
_BY_MODEL_TYPE: dict[str, ParserChoice] = {
    "gpt_oss": ParserChoice(response=GPT_OSS),
    "deepseek_v4": ParserChoice(reasoning="deepseek-v4", tools="deepseek-v4", switches=("thinking",)),
    "deepseek_v32": ParserChoice(reasoning="deepseek-v32", tools="deepseek-v32", switches=("thinking",)),
}
_BY_ARCHITECTURE: dict[str, str] = {
    "GptOssForCausalLM": "gpt_oss",
    "DeepseekV4ForCausalLM": "deepseek_v4",
    "DeepseekV32ForCausalLM": "deepseek_v32",
}

# Marks that must all be in the template -> the tool parser.
_TOOL_MARKS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<|action_start|>", "<|plugin|>"), "intern-s1"),
    (("<|tool_calls_section_begin|>",), "kimi-k2"),
    (("<tool_call>", "<arg_key>"), "glm47"),
    (("<tool_call>", "<function="), "qwen3coder"),
    (("<tool_call>",), "qwen3"),
    (("<|python_tag|>",), "llama3"),
    (("<|start_header_id|>", '"parameters": dictionary'), "llama3"),
)
_SAME_MARKS_OTHER_PARSER: dict[tuple[str, str], str] = {("qwen3coder", "interns2"): "interns2-preview"}

_REASONING_MARKS = ("<think>", "</think>")
_SWITCH = {
    "enable_thinking": re.compile(r"\benable_thinking\b"),
    "thinking": re.compile(r"\b(?:if|and|or|not)\s+thinking\b"),
}


def choose_parsers(architecture: str, model_type: str, template: str | Mapping[str, str] | None) -> ParserChoice:
    """The parsers for a checkpoint; template: the text of its chat template, or of its several ones by name."""
    known = _BY_MODEL_TYPE.get(model_type) or _BY_MODEL_TYPE.get(_BY_ARCHITECTURE.get(architecture, ""))
    if known is not None:
        return known
    text = template if isinstance(template, str) else "\n".join((template or {}).values())
    tools = next((parser for marks, parser in _TOOL_MARKS if all(mark in text for mark in marks)), None)
    for (parser, family), other in _SAME_MARKS_OTHER_PARSER.items():
        if tools == parser and family in architecture.lower():
            tools = other
    thinks = any(mark in text for mark in _REASONING_MARKS)
    return ParserChoice(
        reasoning="default" if thinks else None,
        tools=tools,
        # Llama 3.1 and later write calls of user-declared tools without the mark that LMDeploy's parser looks for.
        bare_calls=tools == "llama3",
        switches=tuple(name for name, pattern in _SWITCH.items() if thinks and pattern.search(text)),
    )
