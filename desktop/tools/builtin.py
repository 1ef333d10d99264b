"""The tools that come with the program."""

from __future__ import annotations

from desktop.tools import calculator, clock, file_reader
from desktop.tools.tool import Tool

BUILTIN: dict[str, Tool] = {tool.spec.name: tool for tool in (calculator.TOOL, clock.TOOL, file_reader.TOOL)}
