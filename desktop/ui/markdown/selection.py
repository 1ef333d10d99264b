"""What is selected in a body: from one place to another, across blocks, and what is copied of it."""

from __future__ import annotations

from typing import NamedTuple

from desktop.ui.markdown.box import Box, Span
from desktop.ui.markdown.layout import Layout
from desktop.ui.markdown.markdown_source import part_of, shown_part

_END = 1 << 30  # beyond the last character of anything
_SHOWN_LIMIT = 500  # blocks


class At(NamedTuple):
    """A place between two characters: of a box of an entry."""

    entry: int
    box: int
    position: int


class Selection:
    """anchor: where it was begun; head: where the mouse is."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.anchor: At | None = None
        self.head: At | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is selected."""
        return self.anchor is None or self.head is None or self.anchor == self.head

    def set(self, anchor: At | None, head: At | None) -> bool:
        """True when that changed what is selected."""
        before = (self.is_empty, self.anchor, self.head)
        self.anchor, self.head = anchor, head
        return not (before[0] and self.is_empty) and before[1:] != (anchor, head)

    def select_all(self) -> bool:
        """True when that changed what is selected."""
        last = len(self._layout.entries) - 1
        return self.set(At(0, 0, 0), At(last, _END, _END)) if last >= 0 else self.set(None, None)

    def span(self, entry: int, index: int, box: Box) -> Span | None:
        """What is selected of a box."""
        if self.is_empty:
            return None
        first, last = self._ends()
        if not first[:2] <= (entry, index) <= last[:2]:
            return None
        start = first.position if first[:2] == (entry, index) else 0
        end = min(last.position, box.length) if last[:2] == (entry, index) else box.length
        return (start, end) if end > start else None

    def markdown(self, text: str) -> str:
        """The selected part of text, the layout's source: whole blocks as they were written, the rest made anew."""
        return self._copied(text, shown=False)

    def shown_text(self, text: str) -> str:
        """The same as it is seen, without marks; a very long selection with them."""
        if not self.is_empty and abs(self._ends()[1].entry - self._ends()[0].entry) > _SHOWN_LIMIT:
            return self.markdown(text)
        return self._copied(text, shown=True)

    def _ends(self) -> tuple[At, At]:
        assert self.anchor is not None
        assert self.head is not None
        return (self.anchor, self.head) if self.anchor <= self.head else (self.head, self.anchor)

    def _copied(self, text: str, *, shown: bool) -> str:
        entries = self._layout.entries
        if self.is_empty or not entries:
            return ""
        first, last = self._ends()
        parts: list[str] = []
        whole: list[int] = []
        at = 0
        for index in range(first.entry, min(last.entry, len(entries) - 1) + 1):
            within = first.entry < index < last.entry
            if shown:
                parts.append(self._part(index, shown=True))
            elif within or self._is_whole(index):
                if not whole:
                    at = len(parts)
                    parts.append("")
                whole.append(index)
            else:
                parts.append(self._part(index, shown=False))
        if len(whole) == len(entries):
            return text.strip("\n")
        if whole:
            parts[at] = text[entries[whole[0]].block.start : entries[whole[-1]].block.end].rstrip()
        return "\n\n".join(part for part in parts if part)

    def _is_whole(self, index: int) -> bool:
        self._layout.make(index)
        boxes = self._layout.entries[index].boxes or []
        return all(self.span(index, at, box) == (0, box.length) for at, box in enumerate(boxes))

    def _part(self, index: int, *, shown: bool) -> str:
        make = shown_part if shown else part_of
        first, last = self._ends()
        if first.entry < index < last.entry:
            return "\n\n".join(make(piece, 0, _END) for piece in self._layout.pieces(index))
        self._layout.make(index)
        parts = []
        for at, box in enumerate(self._layout.entries[index].boxes or []):
            span = self.span(index, at, box)
            if span is not None:
                parts.append(make(box.piece, *span))
        return "\n\n".join(parts)
