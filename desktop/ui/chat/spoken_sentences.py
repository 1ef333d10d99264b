"""Cuts a reply that is being written into finished sentences, for a screen reader."""

from __future__ import annotations

import re

# A sentence ends with its mark before white space (in Chinese without), and with the line.
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")
_MARKS = re.compile(r"[*_`#>|]+|!?\[([^\]]*)\]\([^)]*\)")
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)
_LONGEST = 600  # characters without an end, after which it is said anyway


class SpokenSentences:
    """Fed with pieces of Markdown; gives plain sentences. A block of code is said to be there, not read out."""

    def __init__(self) -> None:
        self._open = ""
        self._in_code = False

    def feed(self, text: str) -> list[str]:
        """The sentences that this piece has finished."""
        self._open += text
        *whole, self._open = self._split(self._open)
        if len(self._open) > _LONGEST:
            whole.append(self._open)
            self._open = ""
        return self._plain(whole)

    def finish(self) -> list[str]:
        """What is left when the reply has ended."""
        rest, self._open = self._open, ""
        return self._plain([rest])

    def _split(self, text: str) -> list[str]:
        parts: list[str] = []
        start = 0
        for end in _END.finditer(text):
            parts.append(text[start : end.end()])
            start = end.end()
        return [*parts, text[start:]]

    def _plain(self, parts: list[str]) -> list[str]:
        said: list[str] = []
        for part in parts:
            if _FENCE.match(part):
                self._in_code = not self._in_code
                if self._in_code:
                    said.append("Code.")
            elif not self._in_code:
                words = " ".join(_MARKS.sub(_label, part).split())
                if any(character.isalnum() for character in words):
                    said.append(words)
        return said


def _label(mark: re.Match[str]) -> str:
    return mark.group(1) or ""
