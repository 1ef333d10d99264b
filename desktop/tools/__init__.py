"""What a model may ask the program to do. Offline, without side effects, free of Qt."""

from desktop.tools.builtin import BUILTIN
from desktop.tools.declared import check_tool_spec
from desktop.tools.tool import Tool, ToolContext, ToolResult

__all__ = ["BUILTIN", "Tool", "ToolContext", "ToolResult", "check_tool_spec"]
