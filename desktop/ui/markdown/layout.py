"""The blocks of a reply from top to bottom: how high each is, and the boxes of those near what is seen."""

from __future__ import annotations

import math
from bisect import bisect_right

from desktop.ui.markdown.block_stream import Block
from desktop.ui.markdown.box import Box
from desktop.ui.markdown.code_box import CodeBox
from desktop.ui.markdown.pieces import (
    GAP,
    HEADING_GAP,
    CodePiece,
    FormulaPiece,
    ImagePiece,
    Inlines,
    Piece,
    TablePiece,
    TextPiece,
    pieces_of,
)
from desktop.ui.markdown.small_boxes import FormulaBox, ImageBox, RuleBox
from desktop.ui.markdown.style import LINE_HEIGHT, Style
from desktop.ui.markdown.table_box import TableBox
from desktop.ui.markdown.text_box import TextBox


class Entry:
    """One block. height: without the gap above, in pixels; measured: not an estimate."""

    __slots__ = ("block", "boxes", "gap", "height", "measured", "version")

    def __init__(self, block: Block, gap: float) -> None:
        self.block = block
        self.gap = gap
        self.height = 0.0
        self.measured = False
        self.boxes: list[Box] | None = None
        self.version = 0  # of the references it was made with

    def top_of(self, index: int) -> float:
        """Where a box stands below the entry's top."""
        assert self.boxes is not None
        top = 0.0
        for box in self.boxes[:index]:
            top += box.piece.place.gap + box.height
        return top + self.boxes[index].piece.place.gap


class Layout:
    """The entries and where they stand."""

    def __init__(self, style: Style, width: float) -> None:
        self.style = style
        self.width = width
        self.entries: list[Entry] = []
        self.inlines = Inlines()
        self.version = 0
        self.dirty_from = 0.0  # the height from which it has to be painted anew; the owner sets it to infinity
        self._tops: list[float] = []  # of the entries that stand firm; the rest is worked out when asked for

    @property
    def height(self) -> float:
        """Of all entries."""
        if not self.entries:
            return 0.0
        return self.top(len(self.entries) - 1) + self.entries[-1].height

    def top(self, index: int) -> float:
        """Where an entry stands, below its gap."""
        tops, entries = self._tops, self.entries
        while len(tops) <= index:
            at = len(tops)
            before = tops[-1] + entries[at - 1].height if tops else 0.0
            tops.append(before + entries[at].gap)
        return tops[index]

    def index_at(self, y: float) -> int:
        """The entry at this height, or the nearest one above; 0 in an empty layout."""
        if not self.entries:
            return 0
        self.top(len(self.entries) - 1)
        return max(0, bisect_right(self._tops, y) - 1)

    def moved(self, index: int) -> None:
        """The height of this entry is another one: those after it moved."""
        del self._tops[index + 1 :]
        self.dirty_from = min(self.dirty_from, self.top(index)) if index >= 0 else 0.0

    def replace_from(self, index: int, blocks: list[Block], text: str) -> None:
        """The blocks from this entry on are these now; entries of equal blocks are kept with all they have."""
        entries = self.entries
        fresh: list[Entry] = []
        end = entries[index - 1].block.end if index else 0
        y = self.top(index - 1) + entries[index - 1].height if index else 0.0
        dirty = math.inf
        for offset, block in enumerate(blocks):
            at = index + offset
            gap = _gap(block, not at, text[end : block.start])
            old = entries[at] if at < len(entries) else None
            y += gap
            if old is not None and _same(old.block, block):
                old.block = block
                old.gap = gap
                fresh.append(old)
            elif old is not None and old.boxes is not None and old.block.kind == block.kind:
                old.block = block
                old.gap = gap
                dirty = min(dirty, y + self._renew(old))
                fresh.append(old)
            else:
                if old is not None:
                    drop(old)
                entry = Entry(block, gap)
                entry.height = self._estimate(block)
                fresh.append(entry)
                dirty = min(dirty, y)
            y += fresh[-1].height
            end = block.end
        for entry in entries[index + len(blocks) :]:
            drop(entry)
            dirty = min(dirty, y)
        entries[index:] = fresh
        self.dirty_from = min(self.dirty_from, dirty)
        del self._tops[index:]

    def make(self, index: int) -> bool:
        """Give an entry its boxes. True when its height turned out to be another one."""
        entry = self.entries[index]
        if entry.boxes is None:
            entry.boxes = []
            self._renew(entry)
        elif entry.version != self.version and entry.block.may_use_references:
            self._renew(entry)
        else:
            return False
        self.moved(index)
        return True

    def lay_out(self, entry: Entry) -> None:
        """Lay its boxes out anew."""
        assert entry.boxes is not None
        height = 0.0
        for box in entry.boxes:
            place = box.piece.place
            box.lay_out(max(60.0, self.width - place.left))
            height += place.gap + box.height
        entry.height = height
        entry.measured = True

    def refresh(self, index: int) -> None:
        """Make those boxes of an entry anew that wait for formulas."""
        self._renew(self.entries[index])
        self.moved(index)

    def set_width(self, width: float) -> None:
        """Heights become estimates, except where there are boxes."""
        scale = self.width / max(1.0, width)
        self.width = width
        for entry in self.entries:
            if entry.boxes is not None:
                self.lay_out(entry)
            elif entry.block.kind != "fence":
                entry.height *= scale
                entry.measured = False
        self.moved(-1)

    def pieces(self, index: int) -> list[Piece]:
        """The pieces of an entry, also of one without boxes."""
        boxes = self.entries[index].boxes
        if boxes is not None:
            return [box.piece for box in boxes]
        return pieces_of(self.entries[index].block, self.inlines)

    def _renew(self, entry: Entry) -> float:
        """Make its boxes fit its block. The height in the entry from which that changed something."""
        pieces = pieces_of(entry.block, self.inlines)
        old = entry.boxes or []
        boxes: list[Box] = []
        height, changed = 0.0, math.inf
        for index, piece in enumerate(pieces):
            box = old[index] if index < len(old) else None
            top = height + piece.place.gap
            width = max(60.0, self.width - piece.place.left)
            if box is not None and box.piece == piece and not getattr(box, "has_missing", False):
                if box.width != width:
                    box.lay_out(width)
            elif box is not None and box.can_become(piece):
                box.update(piece)
                box.lay_out(width)
                changed = min(changed, top + box.changed_from)
            else:
                if box is not None:
                    box.drop_controls()
                box = _box(piece, self.style)
                box.lay_out(width)
                changed = min(changed, top)
            boxes.append(box)
            height = top + box.height
        for box in old[len(pieces) :]:
            box.drop_controls()
            changed = min(changed, height)
        entry.boxes, entry.version = boxes, self.version
        entry.height, entry.measured = height, True
        return changed

    def _estimate(self, block: Block) -> float:
        style = self.style
        rows = block.source.count("\n") + 1
        if block.kind in ("fence", "code"):
            return 40.0 + rows * style.code_metrics.lineSpacing() * 1.12
        if block.kind == "table":
            return max(1, rows - 1) * (style.metrics.height() + 13.0)
        a_row = max(8.0, self.width / style.metrics.averageCharWidth())
        return (rows * 0.5 + len(block.source) / a_row) * style.metrics.lineSpacing() * LINE_HEIGHT + 4


def drop(entry: Entry) -> None:
    """Take the boxes away; the height stays."""
    if entry.boxes is not None:
        for box in entry.boxes:
            box.drop_controls()
        entry.boxes = None


def _same(old: Block, new: Block) -> bool:
    return old.source == new.source and old.kind == new.kind and old.closed == new.closed


def _gap(block: Block, is_first: bool, between: str) -> float:
    if is_first or "\n" not in between:
        return 0.0
    return float(HEADING_GAP if block.kind == "heading" else GAP)


def _box(piece: Piece, style: Style) -> Box:
    if isinstance(piece, TextPiece):
        return TextBox(piece, style)
    if isinstance(piece, CodePiece):
        return CodeBox(piece, style)
    if isinstance(piece, TablePiece):
        return TableBox(piece, style)
    if isinstance(piece, FormulaPiece):
        return FormulaBox(piece, style)
    if isinstance(piece, ImagePiece):
        return ImageBox(piece, style)
    return RuleBox(piece, style)
