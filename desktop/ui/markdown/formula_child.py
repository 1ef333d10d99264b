"""A process of its own that turns TeX into SVG: it may be slow or hang, and the window must not.

One JSON object a line. In: {"id", "tex", "display", "size"}. Out: {"id", "svg", "width", "ascent", "descent"} in
pixels, or {"id"} for what it cannot read. Ends with its input.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request."""
    import ziamath

    # Plain paths: QtSvg does not draw symbols.
    ziamath.config.svg2 = False  # type: ignore[attr-defined]
    try:
        formula = ziamath.Latex(  # type: ignore[attr-defined]
            request["tex"], size=request["size"], inline=not request["display"], margin=0
        )
        svg = formula.svg()
        width, height = formula.getsize()
        below = -formula.getyofst()
    except Exception:
        return {"id": request["id"]}
    return {"id": request["id"], "svg": svg, "width": width, "ascent": height - below, "descent": below}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
