"""A growing text as a row of top-level blocks: those before the last sure boundary are final, the rest is the tail.

What a block is depends on the text alone, never on how it was cut while it came:

* A boundary is sure where no later text can move it: at a block that starts after an empty line, before and after a
  heading with #, a rule, a fenced code block and a closed formula. Every other rule of the dialect looks ahead to the
  next empty line at most. A line counts only when its line end is there.
* Only the text after the last sure boundary is parsed again. It is judged in windows of so many characters, or fewer,
  if it has more lines than WINDOW_LINES: a paragraph that fills SHORT_WINDOW, or anything else that fills LONG_WINDOW,
  without a sure boundary is cut there. A list is cut between two of its items, where SHORT_WINDOW holds two.
* An open fence is not parsed at all: its lines are only searched for its end.
* Text beyond MARKDOWN_LIMIT is plain.
* Link definitions count for the whole text, wherever they are, and the first of a name counts. A block that uses one
  which comes later is therefore final in its extent but not in its links: see Block.may_use_references.
"""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from desktop.ui.markdown.dialect import MAX_NESTING, block_tokens

if TYPE_CHECKING:
    from markdown_it.token import Token

SHORT_WINDOW = 6_000
LONG_WINDOW = 12_000
WINDOW_LINES = 125  # of a short window; a long one has four times as many
MARKDOWN_LIMIT = 2_000_000

_KINDS = {
    "paragraph_open": "paragraph",
    "heading_open": "heading",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "blockquote_open": "quote",
    "fence": "fence",
    "code_block": "code",
    "table_open": "table",
    "hr": "rule",
    "html_block": "html",
    "math_block": "formula",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One top-level block. start, end: offsets into the stream's text. tokens: see tokens_of()."""

    kind: str  # one of _KINDS' values, or "plain": text without any marks
    source: str
    start: int
    end: int
    tokens: tuple[Token, ...] = ()
    closed: bool = True  # a fence or formula: its end mark was found

    @property
    def may_use_references(self) -> bool:
        """Whether a link definition elsewhere can change how it looks."""
        return "[" in self.source and self.kind not in ("fence", "code", "plain", "html", "formula")


def tokens_of(block: Block) -> list[Token]:
    """The block's tokens, inline text not parsed; made anew for a final block, whose source says all about it."""
    if block.tokens or block.kind == "plain":
        return list(block.tokens)
    tokens = block_tokens(block.source + "\n", {})
    end = next((at for at in range(1, len(tokens)) if tokens[at].level == 0 and tokens[at].nesting >= 0), len(tokens))
    return tokens[:end]


@dataclass(slots=True)
class _Fence:
    """The open fence that the tail consists of. Offsets into the text."""

    start: int
    body: int
    indent: int
    markup: str
    info: str
    searched: int
    ending: re.Pattern[str]


class BlockStream:
    """Takes text with append(), works at it with step(), until that returns False."""

    def __init__(
        self,
        *,
        short_window: int = SHORT_WINDOW,
        long_window: int = LONG_WINDOW,
        lines: int = WINDOW_LINES,
        limit: int = MARKDOWN_LIMIT,
    ) -> None:
        self.final: list[Block] = []
        self.tail: list[Block] = []
        self.references_version = 0  # grows with every link definition that became known
        self._short, self._long, self._lines, self._limit = short_window, long_window, lines, limit
        self._text = ""
        self._start = 0
        self._probed = -1  # where a short window was found to be no paragraph
        self._finished = False
        self._fence: _Fence | None = None
        self._final_references: dict[str, dict[str, Any]] = {}
        self._tail_references: dict[str, dict[str, Any]] = {}

    @property
    def text(self) -> str:
        """All that was appended."""
        return self._text

    @property
    def tail_start(self) -> int:
        """The offset where the final blocks end."""
        return self._start

    @property
    def references(self) -> ChainMap[str, dict[str, Any]]:
        """The link definitions known by now."""
        return ChainMap(self._tail_references, self._final_references)

    def append(self, text: str) -> None:
        """Add text with line ends of \\n only."""
        self._text += text

    def finish(self) -> None:
        """No more text comes: the steps from here on make the tail final too."""
        self._finished = True

    def step(self) -> bool:
        """Work at one window of the tail; True when there is more to do at once."""
        if self._fence is not None:
            return self._step_in_fence(self._fence)
        start, length = self._start, len(self._text)
        if start == length:
            self.tail = []
            return False
        if start >= self._limit:
            return self._step_plain()
        if self._probed != start:
            more = self._step_window(self._short, self._lines)
            if more is not None:
                return more
            self._probed = start
        return bool(self._step_window(self._long, 4 * self._lines))

    def _step_window(self, size: int, lines: int) -> bool | None:
        """Parse a window. None: the text fills it, and it is more than a paragraph, and has no boundary."""
        source = self._text[self._start : self._start + size]
        full = len(source) == size
        if source.count("\n") > lines:
            source, full = _head(source, lines), True
        blocks, found = self._parse(source)
        long = size != self._short
        boundary, fence = _boundary(blocks, source, self._start, first=long)
        if fence is None and not full and not (long and boundary):
            if self._finished:
                self._settle(blocks, len(source), found, source)
            else:
                count = sum(1 for block in blocks if block.start < self._start + boundary)
                self._settle(blocks[:count], boundary, found, source)
                self.tail = blocks[count:]
            return False
        if fence is not None or boundary:
            count = sum(1 for block in blocks if block.start < self._start + boundary)
            self._settle(blocks[:count], boundary, found, source)
            self._fence = None if fence is None else _open_fence(fence, self._text)
            return True
        cut = _cut_in_list(blocks, source)
        if not cut and not long and blocks and blocks[0].kind not in ("paragraph", "heading"):
            return None
        cut = cut or _cut(source)
        blocks, found = self._parse(source[:cut])
        self._settle(blocks, cut, found, source[:cut])
        return True

    def _parse(self, source: str) -> tuple[list[Block], dict[str, dict[str, Any]]]:
        """The blocks of source, which starts at the tail, and its link definitions."""
        found: dict[str, dict[str, Any]] = {}
        tokens = block_tokens(source, ChainMap(found, self._final_references))
        lines = [0, *(match.end() for match in _LINE_END.finditer(source))]
        blocks, at = [], 0
        while at < len(tokens):
            end = at + 1
            if tokens[at].nesting > 0:
                while tokens[end].level > 0:
                    end += 1
                end += 1
            blocks.append(_block(tokens[at:end], source, lines, self._start))
            at = end
        return blocks, found

    def _settle(self, blocks: list[Block], length: int, found: dict[str, dict[str, Any]], source: str) -> None:
        """The first characters of source are final, with these blocks; the tail starts after them."""
        # Without their tokens: in a long reply they would be by far the most objects of the process.
        self.final += [b if b.kind == "fence" else replace(b, tokens=()) for b in blocks]
        self.tail = []
        self._start += length
        if found or self._tail_references:
            if _addresses(found) != _addresses(self._tail_references):
                self.references_version += 1
            line = source.count("\n", 0, length) if length < len(source) else len(source)
            self._final_references.update({n: value for n, value in found.items() if value["map"][0] < line})
            self._tail_references = {n: value for n, value in found.items() if value["map"][0] >= line}

    def _step_in_fence(self, fence: _Fence) -> bool:
        end = fence.ending.search(self._text, fence.searched)
        if end is None and not self._finished:
            fence.searched = max(fence.body, self._text.rfind("\n") + 1)
            self.tail = [_fence_block(fence, self._text, len(self._text), len(self._text), False)]
            return False
        if end is None:
            # The last line needs no line end any more to be the end mark.
            last = re.compile(fence.ending.pattern.removesuffix(r"\n") + r"\Z", re.MULTILINE)
            found = last.search(self._text, fence.searched)
            inner = found.start() if found is not None else len(self._text)
            block = _fence_block(fence, self._text, inner, len(self._text), inner < len(self._text))
            self._start = len(self._text)
        else:
            block = _fence_block(fence, self._text, end.start(), end.end() - 1, True)
            self._start = end.end()
        self.final.append(block)
        self.tail = []
        self._fence = None
        return self._start < len(self._text)

    def _step_plain(self) -> bool:
        source = self._text[self._start : self._start + self._short]
        if len(source) == self._short:
            source = source[: _cut(source)]
        elif not self._finished:
            self.tail = [Block("plain", source, self._start, self._start + len(source), ())]
            return False
        self.final.append(Block("plain", source, self._start, self._start + len(source), ()))
        self._start += len(source)
        self.tail = []
        return self._start < len(self._text)


_LINE_END = re.compile("\n")
_FENCE_START = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)")


def _head(source: str, lines: int) -> str:
    """Its first lines."""
    at = 0
    for _ in range(lines):
        at = source.find("\n", at) + 1
    return source[:at]


def _addresses(references: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {name: (value["href"], value["title"]) for name, value in references.items()}


def _block(tokens: list[Token], source: str, lines: list[int], offset: int) -> Block:
    """The block of these tokens, whose lines are made to count from its first."""
    first, last = tokens[0].map or (0, 0)
    start, end = lines[first], lines[last] if last < len(lines) else len(source)
    text = source[start:end].removesuffix("\n")
    if max(token.level for token in tokens) >= MAX_NESTING - 1:
        return Block("plain", text, offset + start, offset + start + len(text), ())
    head, closed = tokens[0], True
    if head.type == "fence":
        # Its content has two lines less when the end mark is there, else one.
        inner = head.content.count("\n") + (not head.content.endswith("\n") and head.content != "")
        closed = last - first - 2 == inner
    elif head.type == "math_block":
        closed = not head.meta["open"]
    return Block(_KINDS[head.type], text, offset + start, offset + start + len(text), tuple(tokens), closed)


def _boundary(blocks: list[Block], source: str, offset: int, *, first: bool) -> tuple[int, Block | None]:
    """The first or the last sure boundary in source (0: none), and the open fence that starts there, if one does.

    A long window uses the first, because the short ones that follow it are judged from there on.
    """
    complete = source.rfind("\n") + 1  # lines that start before here have their line end
    boundary = 0
    for block in blocks:
        if boundary and first:
            break
        start = block.start - offset
        if start >= complete:
            break
        atomic = block.kind in ("fence", "rule", "formula") or (
            block.kind == "heading" and block.tokens[0].markup.startswith("#")
        )
        if start and (atomic or _after_empty_line(source, start)):
            boundary = start
            if first:
                return start, block if block.kind == "fence" and not block.closed else None
        if block.kind == "fence" and not block.closed:
            return start, block
        if atomic and block.closed:
            boundary = source.find("\n", block.end - offset) + 1 or boundary
    return boundary, None


def _after_empty_line(source: str, start: int) -> bool:
    before = source.rfind("\n", 0, start - 1) + 1
    return not source[before : start - 1].strip(" \t")


def _cut_in_list(blocks: list[Block], source: str) -> int:
    """Where the last item of a list that fills a window starts; 0: it is no list, or has one item."""
    if not blocks or blocks[0].kind != "list":
        return 0
    items = [t.map[0] for t in blocks[0].tokens if t.type == "list_item_open" and t.level == 1 and t.map]
    return len(_head(source, items[-1])) if len(items) > 1 else 0


def _cut(source: str) -> int:
    """Where a window of anything else is cut: after a line or a word."""
    half = len(source) // 2
    return (source.rfind("\n", half) + 1) or (source.rfind(" ", half) + 1) or len(source)


def _open_fence(block: Block, text: str) -> _Fence:
    start = _FENCE_START.match(text, text.rfind("\n", 0, block.start) + 1)
    assert start is not None
    indent, markup, info = start.groups()
    body = start.end() + 1
    ending = re.compile(rf"^ {{0,3}}{re.escape(markup[0])}{{{len(markup)},}}[ \t]*\n", re.MULTILINE)
    return _Fence(block.start, body, len(indent), markup, info, body, ending)


def _fence_block(fence: _Fence, text: str, stop: int, end: int, closed: bool) -> Block:
    """The block that the parser would make of this fence, whose content stops here."""
    from markdown_it.token import Token

    content = text[fence.body : stop]
    if not closed:
        # A last line of nothing but spaces is none yet.
        last = content.rfind("\n") + 1
        content = content if content[last:].strip(" \t") else content[:last]
    if fence.indent:
        content = "\n".join(_unindented(line, fence.indent) for line in content.split("\n"))
    source = text[fence.start : end].removesuffix("\n")
    token = Token("fence", "code", 0, info=fence.info, markup=fence.markup, content=content)
    return Block("fence", source, fence.start, fence.start + len(source), (token,), closed)


def _unindented(line: str, columns: int) -> str:
    """The line without this many columns of space at its start; what is left of a tab becomes spaces."""
    at = column = 0
    while at < len(line) and column < columns and line[at] in " \t":
        column += 4 - column % 4 if line[at] == "\t" else 1
        at += 1
    return " " * max(0, column - columns) + line[at:]
