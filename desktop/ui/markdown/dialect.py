"""The Markdown that replies are written in: CommonMark, GFM's tables, strikethrough and task boxes, TeX formulas."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

References = MutableMapping[str, dict[str, Any]]

MAX_NESTING = 40  # of tokens; a list takes two of them for each level
MAX_COLUMNS = 60
MAX_CELLS = 1_200
INLINE_LIMIT = 7_000  # characters; a longer run of text is shown as it is
MARK_LIMIT = 400  # brackets or emphasis marks; the time for a run of text grows with the square of their number
FORMULA_LIMIT = 2_000

_MATHS = re.compile(r"[\\^_=<>+{}/|].*[a-zA-Z0-9]|[a-zA-Z0-9].*[\\^_=<>+{}/|]", re.DOTALL)
_DIGITS = frozenset("0123456789")


def block_tokens(source: str, references: References) -> list[Token]:
    """The block structure of source; tokens of type "inline" are not parsed any further.

    references: link definitions that came before; those found in source are added (the first of a name counts).
    """
    parser = _parser()
    tokens: list[Token] = []
    parser.block.parse(source, parser, {"references": references}, tokens)
    return tokens


def inline_tokens(content: str, references: References) -> list[Token]:
    """What an "inline" token holds. A text beyond the limits is one token of text."""
    from markdown_it.rules_core import StateCore, text_join
    from markdown_it.token import Token

    if (
        len(content) > INLINE_LIMIT
        or content.count("[") > MARK_LIMIT
        or content.count("*") + content.count("_") > 2 * MARK_LIMIT
    ):
        return [Token("text", "", 0, content=content)]
    parser = _parser()
    holder = Token("inline", "", 0, content=content, children=[])
    env: dict[str, Any] = {"references": references}
    assert holder.children is not None
    parser.inline.parse(content, parser, env, holder.children)
    text_join(StateCore(content, parser, env, [holder]))
    return holder.children or []


def to_html(tokens: list[Token], references: References) -> str:
    """HTML in the form of the CommonMark examples. For tests: nothing in the window shows HTML."""
    parser = _parser()
    for token in tokens:
        if token.type == "inline":
            token.children = inline_tokens(token.content, references)
    return str(parser.renderer.render(tokens, parser.options, {"references": references}))


def alternative_text(image: Token) -> str:
    """The words that stand for a picture."""
    parser = _parser()
    renderer: Any = parser.renderer
    return str(renderer.renderInlineAsText(image.children or [], parser.options, {}))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"])
    # Every address is shown as a link; what happens at a click is decided there.
    parser.validateLink = _any_address  # type: ignore[method-assign, assignment]
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before(
        "fence", "math_block", _math_block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.inline.ruler.before("escape", "math_inline", _math_inline)
    return parser


def _any_address(_address: str) -> bool:
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """GFM's table, ended after MAX_CELLS; no table at all with more than MAX_COLUMNS."""
    from markdown_it.rules_block import table

    if start + 2 > end:
        return False
    line = state.src[state.bMarks[start + 1] + state.tShift[start + 1] : state.eMarks[start + 1]]
    if not line or line[0] not in "|-:":
        return False
    columns = line.count("|") + 1
    if columns > MAX_COLUMNS + 1:
        return False
    return table(state, start, min(end, start + 2 + MAX_CELLS // columns), silent)


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula between lines of `$$`, or `\\[` and `\\]`; also with both marks on one line.

    Like an open fence, an open formula needs no look ahead. It ends at an empty line, because TeX allows none in it.
    """
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]].strip()
    if first.startswith("$$"):
        close = "$$"
    elif first.startswith("\\["):
        close = "\\]"
    else:
        return False
    rest = first[2:]
    closed = False
    if rest:
        if not rest.endswith(close) or not rest[:-2].strip() or close in rest[:-2]:
            return False
        if silent:
            return True
        content, line, closed = rest[:-2].strip(), start + 1, True
    else:
        if silent:
            return True
        line = start + 1
        while line < end and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
            text = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
            line += 1
            if text == close:
                closed = True
                break
        content = state.getLines(start + 1, line - closed, state.sCount[start], False).strip()
    state.line = line
    token = state.push("math_block", "math", 0)
    token.block = True
    token.content = content
    token.markup = first[:2]
    token.map = [start, line]
    token.meta = {"open": not closed}
    return True


def _math_inline(state: StateInline, silent: bool) -> bool:
    """`$x$`, `$$x$$`, `\\(x\\)` and `\\[x\\]` within a line of text."""
    source, start = state.src, state.pos
    if source[start] == "$":
        mark = close = "$$" if source.startswith("$$", start) else "$"
        stop = _closing_dollars(source, start + len(mark), state.posMax, mark)
    elif source.startswith("\\(", start) or source.startswith("\\[", start):
        mark = source[start : start + 2]
        close = "\\)" if mark == "\\(" else "\\]"
        stop = source.find(close, start + 2, min(state.posMax, start + 2 + FORMULA_LIMIT))
        # Brackets are escaped for their own sake as well.
        if stop >= 0 and mark == "\\[" and not _MATHS.search(source, start + 2, stop):
            stop = -1
    else:
        return False
    if stop < 0 or not source[start + len(mark) : stop].strip():
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content = source[start + len(mark) : stop].strip()
        token.markup = mark
    state.pos = stop + len(close)
    return True


def _closing_dollars(source: str, start: int, limit: int, mark: str) -> int:
    """Where the next unescaped dollar closes, or -1: the very next one decides, so that the search stays short."""
    stop = source.find("$", start, min(limit, start + FORMULA_LIMIT))
    while stop > 0 and _is_escaped(source, stop, start):
        stop = source.find("$", stop + 1, min(limit, start + FORMULA_LIMIT))
    if stop < 0 or stop + len(mark) > limit:
        return -1
    if mark == "$$":
        return stop if source.startswith("$$", stop) else -1
    after = source[stop + 1] if stop + 1 < limit else ""
    if source[start].isspace() or source[stop - 1].isspace() or after in _DIGITS or after == "$":
        return -1
    return stop


def _is_escaped(source: str, position: int, start: int) -> bool:
    count = 0
    while position - count > start and source[position - count - 1] == "\\":
        count += 1
    return count % 2 == 1
