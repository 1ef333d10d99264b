"""Makes a text that comes in pieces fit for the parser and for Qt's documents, character by character."""

from __future__ import annotations

from desktop.ui.chat.text_hygiene import clean

# What a QTextDocument takes for marks of its own: ends of lines and paragraphs, frames, embedded objects.
_DOCUMENT_MARKS = str.maketrans(
    {"\u2028": " ", "\u2029": " ", "\ufdd0": "\ufffd", "\ufdd1": "\ufffd", "\ufffc": "\ufffd"}
)


class Cleaner:
    """Line ends become \\n, wherever the pieces are cut."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece, clean. A final \\r is held back: it may be half a line end."""
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        return clean(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return clean(held)


def clean_offset(text: str, offset: int) -> int:
    """Where the character at this offset of text is in the clean text."""
    return offset - text.count("\r\n", 0, offset)


def for_document(text: str) -> str:
    """Clean text that Qt's documents show as it is, one character for one."""
    return text.translate(_DOCUMENT_MARKS)
