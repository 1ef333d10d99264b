"""LMDeploy's response parsers, set up for one engine and made to say where a tool block ended and what it held."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from desktop.domain.generation import ToolSpec
from desktop.engine.chat_prompt import HARMONY_FORMAT, THINK_FORMAT, ReplyFormat, tools_to_lmdeploy
from desktop.engine.parser_choice import GPT_OSS, ParserChoice

# Instead of a tool call's number: the block is over, `arguments` is its text behind the opening mark, `id` is the
# channel that goes on after it. CUT_BLOCK: the reply ended inside the block.
WHOLE_BLOCK, CUT_BLOCK = -1, -2

_OPENED = "turbodesk_opened"
_VOCABULARY = "TIKTOKEN_ENCODINGS_BASE"


class ParserFactory:
    """Makes a parser for each reply of one engine. Imports LMDeploy's serving code.

    Raises whatever the parser's own set-up raises, an error of openai_harmony for gpt-oss without its vocabulary.
    """

    def __init__(self, choice: ParserChoice) -> None:
        from lmdeploy.serve.parsers import ResponseParserManager

        base = ResponseParserManager.get(choice.response)
        if base is None:
            raise RuntimeError("LMDeploy's parser for gpt-oss needs the package openai_harmony")
        self.reply_format: ReplyFormat = HARMONY_FORMAT if choice.response == GPT_OSS else THINK_FORMAT
        self.thinks = choice.response == GPT_OSS or choice.reasoning is not None
        self.calls_tools = choice.response == GPT_OSS or choice.tools is not None
        self.bare_calls = choice.bare_calls
        self.reads_tokens = choice.response == GPT_OSS  # and not their text
        if choice.response == GPT_OSS:
            if _VOCABULARY not in os.environ:  # openai_harmony would fetch it
                raise RuntimeError(f"{_VOCABULARY} does not name the folder of gpt-oss's vocabulary")
            self._parser_class: Any = base
            self.make(())  # reads the vocabulary
            return
        self._parser_class = _with_block_ends(base)
        # Sets attributes of the class, which is this engine's own.
        self._parser_class.set_parsers(choice.reasoning, choice.tools)
        if choice.reasoning is not None:
            self._parser_class.reasoning_parser_cls = _starting_as_told(self._parser_class.reasoning_parser_cls)

    @property
    def marks(self) -> list[str]:
        """The marks that the parser must see in the text."""
        reasoning: Any = getattr(self._parser_class, "reasoning_parser_cls", None)
        tools: Any = getattr(self._parser_class, "tool_parser_cls", None)
        found = [reasoning.get_reasoning_open_tag(), reasoning.get_reasoning_close_tag()] if reasoning else []
        if hasattr(tools, "get_tool_open_tag"):
            found += [tools.get_tool_open_tag(), tools.get_tool_close_tag()]
            # Those inside a block are attributes of the parser's class.
            found += [value for name in dir(tools) if isinstance(value := getattr(tools, name), str)]
        return sorted({mark for mark in found if mark and mark.lstrip().startswith("<")})

    def make(self, tools: Sequence[ToolSpec], opened: bool = False) -> Any:
        """A parser for one reply. tools: what may be called. opened: whether the reply begins inside reasoning."""
        from lmdeploy.serve.openai.protocol import ChatCompletionRequest

        request = ChatCompletionRequest(
            model="",
            messages=[],
            tools=tools_to_lmdeploy(tuple(tools)),
            tool_choice="auto" if tools else "none",
            chat_template_kwargs={_OPENED: opened},
            max_completion_tokens=1,  # not used; LMDeploy asks a deprecated field when it is missing
        )
        parser = self._parser_class(request)
        if hasattr(getattr(parser, "tool_parser", None), "_allowed_tool_names") and not self.bare_calls:
            # A call of a tool that nobody declared is for the caller to answer, not to drop. But a reply in JSON that
            # begins with a name is no call.
            parser.tool_parser._allowed_tool_names = None
        return parser


def look_again(tool_parser: Any, block: str, name: str, arguments: str) -> tuple[str, str]:
    """What the parser skipped in a block of one call: the call's arguments to use, and text that is no part of it.

    LMDeploy's JSON parsers take a name and arguments out of anything that looks like a call. When it is no JSON
    object, and something else is in it, all of the block becomes the arguments.
    """
    from lmdeploy.serve.parsers.tool_parser import JsonToolParser

    if not isinstance(tool_parser, JsonToolParser):
        return arguments, ""
    close = tool_parser.get_tool_close_tag()
    block = block.replace(close, "", 1) if close else block
    start = max(block.find("{"), 0)
    try:
        _, end = json.JSONDecoder().raw_decode(block, start)
    except (ValueError, RecursionError):
        rest = block.replace(arguments, "", 1)
        for expected in (name, tool_parser.name_field, tool_parser.argument_field):
            rest = rest.replace(f'"{expected}"', "", 1)
        return (block.strip() if rest.strip("{}:, \t\r\n") else arguments), ""
    return arguments, f"{block[:start].strip()} {block[end:].strip()}".strip()


def _with_block_ends(base: Any) -> Any:
    class BlockParser(base):  # type: ignore[misc]
        """Adds an entry of its own behind the calls of each tool block; see WHOLE_BLOCK."""

        def _enter_tool_mode(self) -> None:
            self._block = ""
            super()._enter_tool_mode()

        def _consume_tool(self) -> tuple[list[Any], bool]:
            from lmdeploy.serve.openai.protocol import DeltaToolCall

            before = self._pending
            calls, progressed = super()._consume_tool()
            self._block += before[: len(before) - len(self._pending)]
            if self.tool_parser.block_closed:
                number = WHOLE_BLOCK if self.tool_parser._payload_closed else CUT_BLOCK
                calls.append(
                    DeltaToolCall(id=self._tool_return_mode, index=number, function={"arguments": self._block})
                )
            return calls, progressed

    return BlockParser


def _starting_as_told(base: Any) -> Any:
    class TaggedReasoning(base):  # type: ignore[misc]
        """Begins inside reasoning when the prompt has opened it, not by the model's name."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._opened = bool(kwargs.get(_OPENED))

        def starts_in_reasoning_mode(self) -> bool:
            return self._opened

    return TaggedReasoning
