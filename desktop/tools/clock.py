"""The tool current_time."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from desktop.domain.generation import ToolSpec
from desktop.tools.tool import Tool, ToolContext, ToolError, result_as_json

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

SPEC = ToolSpec(
    name="current_time",
    description="The date, the time of day, the weekday and the offset from UTC, here or in a named time zone.",
    parameters={
        "type": "object",
        "properties": {
            "time_zone": {
                "type": "string",
                "description": 'An IANA name such as "Europe/Berlin" or "Asia/Shanghai"; left out for the local time.',
            }
        },
        "additionalProperties": False,
    },
)


def _run(arguments: dict[str, Any], context: ToolContext) -> str:
    name = arguments.get("time_zone", "").strip()
    if name:
        try:
            now = datetime.now(ZoneInfo(name))
        except (OSError, ValueError, LookupError) as problem:
            raise ToolError(
                f"There is no time zone {name[:100]!r}; use an IANA name such as Europe/Berlin."
            ) from problem
    else:
        now = datetime.now().astimezone()
    offset = now.strftime("%z")
    return result_as_json(
        date=now.date().isoformat(),
        time=now.strftime("%H:%M:%S"),
        weekday=_DAYS[now.weekday()],
        utc_offset=f"{offset[:3]}:{offset[3:5]}",
        time_zone=name or now.tzname() or "",
    )


TOOL = Tool(SPEC, _run)
