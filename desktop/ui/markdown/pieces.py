"""What of a block is drawn as one thing: text, code, a table, a formula, a picture, a rule. Values, free of Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from desktop.ui.markdown.block_stream import Block, tokens_of
from desktop.ui.markdown.dialect import References, alternative_text, inline_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markdown_it.token import Token

BOLD, ITALIC, CODE, STRIKE, DIM = 1, 2, 4, 8, 16

QUOTE_STEP = 16  # pixels that a quote or a list moves its content to the right
LIST_STEP = 28
GAP, ITEM_GAP, HEADING_GAP = 12, 4, 20  # pixels above

_TEXT_LIMIT = 1_500  # characters of one TextPiece, if it has lines to be split at
_CACHED = 400
_FORMULAS = 120  # drawn in one paragraph
_SPECIAL = re.compile(r"[\\`*_\[\]<>&!$~\n]|https?://")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`|]+")
_TASK = re.compile(r"\[([ xX])\][ \t]+(?=\S)")
OBJECT = "\ufffc"  # stands for a formula in a line's text


class Run(NamedTuple):
    """Text of one look. style: BOLD and so on, added up. formula: TeX, drawn instead of the text, its source."""

    text: str
    style: int = 0
    href: str = ""
    formula: str = ""


Runs = tuple[Run, ...]


class Line(NamedTuple):
    """A paragraph, a heading, a part of a list item. left, gap: pixels; marker: "•", "7.", "[ ]", "[x]" or nothing."""

    runs: Runs
    left: int = 0
    gap: int = 0
    marker: str = ""
    heading: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a piece stands, in pixels. bars: the left edges of the quotes it is in."""

    left: int = 0
    gap: int = 0
    bars: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    place: Place
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class CodePiece:
    place: Place
    code: str  # without the last line end
    language: str
    closed: bool = True


@dataclass(frozen=True, slots=True)
class TablePiece:
    place: Place
    aligns: tuple[str, ...]  # "", "left", "center", "right" for each column
    rows: tuple[tuple[Runs, ...], ...]  # the first is the heading


@dataclass(frozen=True, slots=True)
class FormulaPiece:
    place: Place
    source: str  # TeX without marks
    verbatim: str  # with them


@dataclass(frozen=True, slots=True)
class ImagePiece:
    place: Place
    words: str
    address: str


@dataclass(frozen=True, slots=True)
class RulePiece:
    place: Place


Piece = TextPiece | CodePiece | TablePiece | FormulaPiece | ImagePiece | RulePiece


class Inlines:
    """Inline Markdown to runs; remembers the last ones, because an open tail asks for the same again and again."""

    def __init__(self) -> None:
        self._references: References = {}
        self._known: dict[str, Runs] = {}

    def use(self, references: References) -> None:
        """Resolve links with these definitions from now on."""
        self._references = references
        self._known.clear()

    def runs(self, content: str) -> Runs:
        """The runs of an inline text."""
        if not _SPECIAL.search(content):
            return (Run(content),) if content else ()
        found = self._known.get(content)
        if found is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            runs = _with_few_formulas(_runs(inline_tokens(content, self._references)))
            found = self._known[content] = tuple(_merged(runs))
        return found


def pieces_of(block: Block, inlines: Inlines) -> list[Piece]:
    """The pieces of a block from top to bottom; the first one's gap is 0."""
    if block.kind == "plain":
        return [TextPiece(Place(), (Line((Run(block.source),)),))]
    return _Builder(inlines, block.closed).build(tokens_of(block))


def line_text(line: Line) -> str:
    """As it is drawn and counted: a formula is one character."""
    return "".join(OBJECT if run.formula else run.text for run in line.runs)


@dataclass(slots=True)
class _List:
    number: int | None  # the next item's; None: bullets
    delimiter: str


class _Builder:
    def __init__(self, inlines: Inlines, closed: bool) -> None:
        self._inlines = inlines
        self._closed = closed
        self._pieces: list[Piece] = []
        self._lines: list[Line] = []
        self._length = 0
        self._left = 0
        self._bars: tuple[int, ...] = ()
        self._lists: list[_List] = []
        self._marker = ""
        self._heading = 0
        self._tight = False
        self._first = True  # nothing was put out yet

    def build(self, tokens: Iterable[Token]) -> list[Piece]:
        rows: list[list[Runs]] = []
        aligns: list[str] = []
        in_table = False
        for token in tokens:
            kind = token.type
            if kind == "inline":
                if in_table:
                    rows[-1].append(self._inlines.runs(token.content))
                else:
                    self._paragraph(token.content)
            elif kind == "paragraph_open":
                self._tight = token.hidden
            elif kind == "heading_open":
                self._heading, self._tight = int(token.tag[1]), False
            elif kind == "heading_close":
                self._heading = 0
            elif kind in ("bullet_list_open", "ordered_list_open"):
                self._flush_marker()
                start = int(token.attrs.get("start", 1)) if kind[0] == "o" else None
                self._lists.append(_List(start, token.markup if kind[0] == "o" else ""))
                self._left += LIST_STEP
            elif kind in ("bullet_list_close", "ordered_list_close"):
                self._lists.pop()
                self._left -= LIST_STEP
            elif kind == "list_item_open":
                top = self._lists[-1]
                self._marker = "•" if top.number is None else f"{top.number}{top.delimiter}"
                if top.number is not None:
                    top.number += 1
            elif kind == "list_item_close":
                self._flush_marker()
            elif kind == "blockquote_open":
                self._flush_marker()
                self._flush()
                self._bars = (*self._bars, self._left)
                self._left += QUOTE_STEP
            elif kind == "blockquote_close":
                self._flush()
                self._bars = self._bars[:-1]
                self._left -= QUOTE_STEP
            elif kind == "table_open":
                in_table, rows, aligns = True, [], []
            elif kind == "tr_open":
                rows.append([])
            elif kind == "th_open":
                aligns.append(str(token.attrs.get("style", "")).removeprefix("text-align:"))
            elif kind == "table_close":
                in_table = False
                self._put(TablePiece(self._place(), tuple(aligns), tuple(tuple(row) for row in rows)))
            else:
                self._leaf(token)
        self._flush_marker()
        self._flush()
        return self._pieces

    def _leaf(self, token: Token) -> None:
        if token.type == "fence":
            words = token.info.split(maxsplit=1)
            closed = self._closed or token.level > 0
            code = token.content.removesuffix("\n")
            self._put(CodePiece(self._place(), code, words[0] if words else "", closed))
        elif token.type == "code_block":
            self._put(CodePiece(self._place(), token.content.removesuffix("\n"), ""))
        elif token.type == "hr":
            self._put(RulePiece(self._place()))
        elif token.type == "math_block":
            close = "\\]" if token.markup == "\\[" else "$$"
            if token.meta["open"]:
                self._line((Run(f"{token.markup}\n{token.content}"),))
            else:
                verbatim = f"{token.markup}\n{token.content}\n{close}"
                self._put(FormulaPiece(self._place(), token.content, verbatim))
        elif token.type == "html_block":
            self._tight = False
            self._line((Run(token.content.rstrip("\n"), DIM),))

    def _paragraph(self, content: str) -> None:
        if self._marker and (task := _TASK.match(content)):
            self._marker = f"[{task[1].lower()}]"
            content = content[task.end() :]
        rest: list[Run] = []
        for run in self._inlines.runs(content):
            if run.formula and run.text.startswith(("$$", "\\[")):
                self._line(_trimmed(rest))
                rest = []
                self._put(FormulaPiece(self._place(), run.formula, run.text))
            else:
                rest.append(run)
        if len(rest) == 1 and rest[0].style & DIM and rest[0].text.startswith("[image") and not self._heading:
            words = rest[0].text.removeprefix("[image").removesuffix("]").removeprefix(": ")
            self._put(ImagePiece(self._place(), words, rest[0].href))
        else:
            self._line(_trimmed(rest))

    def _line(self, runs: Runs) -> None:
        if not runs and not self._marker:
            return
        limit = 0 if not self._lists and not self._bars else _TEXT_LIMIT
        if self._lines and self._length > limit:
            self._flush()
        base = self._bars[-1] + QUOTE_STEP if self._bars else 0
        self._lines.append(Line(runs, self._left - base, self._gap(), self._marker, self._heading))
        self._length += 40 + sum(len(run.text) for run in runs)
        self._marker, self._first = "", False

    def _put(self, piece: Piece) -> None:
        self._flush_marker()
        self._flush()
        self._pieces.append(piece)
        self._first = False

    def _flush_marker(self) -> None:
        if self._marker:
            self._line(())

    def _flush(self) -> None:
        if not self._lines:
            return
        base = self._bars[-1] + QUOTE_STEP if self._bars else 0
        # A document ignores the margin above its first line.
        place = Place(left=base, gap=self._lines[0].gap, bars=self._bars)
        self._pieces.append(TextPiece(place, (self._lines[0]._replace(gap=0), *self._lines[1:])))
        self._lines, self._length = [], 0

    def _gap(self) -> int:
        if self._first:
            return 0
        if self._heading:
            return HEADING_GAP
        after_text = bool(self._lines) or not self._pieces or isinstance(self._pieces[-1], TextPiece)
        return ITEM_GAP if self._tight and after_text else GAP

    def _place(self) -> Place:
        return Place(left=self._left, gap=0 if self._first and not self._marker else GAP, bars=self._bars)


def _trimmed(runs: list[Run]) -> Runs:
    """Without line breaks at either end, which a formula that was taken out leaves."""
    if runs and not runs[0].formula:
        runs = [runs[0]._replace(text=runs[0].text.lstrip("\n")), *runs[1:]]
    if runs and not runs[-1].formula:
        runs = [*runs[:-1], runs[-1]._replace(text=runs[-1].text.rstrip("\n"))]
    return tuple(run for run in runs if run.text)


def _runs(tokens: list[Token]) -> Iterable[Run]:
    style, href, depth = 0, "", {BOLD: 0, ITALIC: 0, STRIKE: 0}
    marks = {"strong": BOLD, "em": ITALIC, "s": STRIKE}
    for token in tokens:
        kind = token.type
        if kind == "text":
            if href:
                yield Run(token.content, style, href)
            else:
                yield from _with_addresses(token.content, style)
        elif kind in ("softbreak", "hardbreak"):
            # Both: a model that ends a line means it.
            yield Run("\n", style, href)
        elif kind == "code_inline":
            yield Run(token.content, style | CODE, href)
        elif kind == "html_inline":
            yield Run(token.content, style | DIM, href)
        elif kind == "math_inline":
            close = {"\\(": "\\)", "\\[": "\\]"}.get(token.markup, token.markup)
            yield Run(token.markup + token.content + close, style, href, token.content)
        elif kind == "link_open":
            href = str(token.attrs.get("href", ""))
        elif kind == "link_close":
            href = ""
        elif kind == "image":
            address = str(token.attrs.get("src", ""))
            where = address if len(address) <= 120 else address[:60] + "…"
            words = alternative_text(token).strip()
            yield Run(f"[image: {words}, {where}]" if words else f"[image: {where}]", style | DIM, href or address)
        elif mark := marks.get(token.tag):
            depth[mark] += token.nesting
            style = style | mark if depth[mark] else style & ~mark


def _with_addresses(text: str, style: int) -> Iterable[Run]:
    at = 0
    for match in _ADDRESS.finditer(text):
        address = match[0].rstrip(".,;:!?*_~")
        while address.endswith((")", "]", "}")) and address.count("(") < address.count(")") + (address[-1] != ")"):
            address = address[:-1].rstrip(".,;:!?")
        if len(address) < 10:
            continue
        yield Run(text[at : match.start()], style)
        yield Run(address, style, address)
        at = match.start() + len(address)
    yield Run(text[at:], style)


def _with_few_formulas(runs: Iterable[Run]) -> Iterable[Run]:
    """Those beyond the first _FORMULAS as their source: each is a picture that the lines are laid out around."""
    count = 0
    for run in runs:
        count += bool(run.formula)
        yield run._replace(formula="") if run.formula and count > _FORMULAS else run


def _merged(runs: Iterable[Run]) -> Iterable[Run]:
    last: Run | None = None
    for run in runs:
        if not run.text:
            continue
        if last is not None and not last.formula and not run.formula and last[1:3] == run[1:3]:
            last = last._replace(text=last.text + run.text)
        else:
            if last is not None:
                yield last
            last = run
    if last is not None:
        yield last
