"""Makes a sentence of any text: one line, of a length that fits, with nothing that cannot be shown or sent."""

from __future__ import annotations

import re

_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str, limit: int = 600) -> str:
    """The text with U+FFFD for line breaks, control characters, changes of direction and halves of surrogates."""
    text = _UNSHOWABLE.sub("\ufffd", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
