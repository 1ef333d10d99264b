"""A tool the program can run for a model: what the model is told of it, and the function behind it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from desktop.domain.generation import ToolSpec
from desktop.tools.arguments import read_arguments

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolContext:
    """What tools may touch. allowed_files: the files the user has picked, by the names the model knows them by."""

    allowed_files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolResult:
    """What goes back to the model; failed: content is a sentence about why there is no result."""

    content: str
    failed: bool = False


class ToolError(Exception):
    """Raised by a tool's function; its text is a sentence for the model."""


@dataclass(frozen=True)
class Tool:
    """function: takes the checked arguments and the context, returns the result's text, raises ToolError."""

    spec: ToolSpec
    function: Callable[[dict[str, Any], ToolContext], str]

    def run(self, arguments: str, context: ToolContext) -> ToolResult:
        """Run with arguments as the model wrote them: JSON text. Never raises. Blocks for as long as a file is read."""
        try:
            return ToolResult(self.function(read_arguments(arguments, self.spec.parameters), context))
        except (ToolError, ValueError) as problem:
            return ToolResult(str(problem), failed=True)
        except Exception as problem:
            logger.exception("the tool %s failed", self.spec.name)
            return ToolResult(f"The tool failed: {type(problem).__name__}.", failed=True)


def result_as_json(**values: Any) -> str:
    """A result of several named values, as JSON text."""
    return json.dumps(values, ensure_ascii=False)
