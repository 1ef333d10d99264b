"""A process of its own that turns TeX into SVG: it may be slow or hang, and the window must not.

One JSON object a line. In: {"id", "tex", "display", "size"}. Out: {"id", "svg", "width", "ascent", "descent"} in
pixels, or {"id"} for what it cannot read. Ends with its input.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

# Line breaks before the first and after the last line. At the start, one right before a letter is kept: most likely it
# is a command written with two backslashes, and its letters alone would be another formula.
_BREAKS_AT_START = re.compile(r"(?:\\\\\s+)+")
_BREAKS_AT_END = re.compile(r"(?<!\\)(?:\\\\\s*)+$")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request."""
    import ziamath

    # Plain paths: QtSvg does not draw symbols.
    ziamath.config.svg2 = False  # type: ignore[attr-defined]
    try:
        formula = ziamath.Latex(  # type: ignore[attr-defined]
            without_outer_breaks(request["tex"]), size=request["size"], inline=not request["display"], margin=0
        )
        svg = formula.svg()
        width, height = formula.getsize()
        below = -formula.getyofst()
    except Exception:
        return {"id": request["id"]}
    return {"id": request["id"], "svg": svg, "width": width, "ascent": height - below, "descent": below}


def without_outer_breaks(tex: str) -> str:
    """TeX without line breaks that no line comes before or after: ziamath gives an empty line no size."""
    start = _BREAKS_AT_START.match(tex)
    return _BREAKS_AT_END.sub("", tex[start.end() :] if start else tex)


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
