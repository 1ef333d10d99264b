"""Markdown made at random, with a taste for what depends on the lines around it."""

from __future__ import annotations

from hypothesis import strategies as st

_PIECES = (
    "word",
    "two words",
    "**bold** and *slanted*",
    "`code`",
    "$x^2$",
    "\\(a\\)",
    "[name]",
    "[name][other]",
    "[a link](/to 'title')",
    "![picture](p.png)",
    "<b>html</b>",
    "~~gone~~",
    "https://example.org/a?b=c",
    "a | b",
    "\ufdd0",
    "\u202eright to left",
    "\U0001f600",
    "a\u0301\u0302\u0303",
    "tab\there",
    "\x00",
    "\\",
    "*",
    "`",
    "$",
    "[",
    "![",
    "   ",
)
_LINES = (
    "",
    "",
    "",
    "   ",
    "\t",
    "# Heading",
    "###### deep #",
    "===",
    "---",
    "- - -",
    "***",
    "```",
    "```python",
    "````",
    "~~~",
    "   ```",
    "  ~~~ info",
    "$$",
    "$$ x = 1 $$",
    "\\[",
    "\\]",
    "\\[ x \\]",
    "- item",
    "-",
    "* item",
    "+ item",
    "1. item",
    "2) item",
    "10. item",
    "- [ ] open",
    "- [x] done",
    "  - nested",
    "    - deeper",
    "    indented",
    "\tindented",
    "   three",
    "  two",
    "> quote",
    ">",
    "> - list in a quote",
    "> ```",
    "> > deep",
    "- > quote in a list",
    "- ```",
    "  ```",
    "- # heading",
    "| a | b |",
    "|---|:-:|",
    "---|---",
    "| c |",
    "a | b",
    "[name]: /address",
    "[name]: /second",
    "[other]:",
    "  /address 'title",
    "  goes on'",
    "> [quoted]: /x",
    "<div>",
    "</div>",
    "<!-- comment",
    "-->",
    "<script>",
    "</script>",
    "<pre>",
    "<custom>",
    "<?php",
    "?>",
    "![](data:image/png;base64,AAAA)",
)
_ENDS = ("\n", "\n", "\n", "\n", "\r\n", "\r", "\n\n", "\n \n")


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Up to 40 lines with mixed ends."""
    inline = st.lists(st.sampled_from(_PIECES), max_size=4).map(" ".join)
    noise = st.text(st.sampled_from("*_`[]()!<>$\\|-#=+~:&; ab1.\t\n"), max_size=12)
    line = st.one_of(st.sampled_from(_LINES), st.sampled_from(_LINES), inline, noise)
    joined = st.tuples(st.sampled_from(("", "", "", "> ", "- ", "  ", "    ", "1. ")), line).map("".join)
    lines = draw(st.lists(st.tuples(joined, st.sampled_from(_ENDS)), max_size=40))
    return "".join(part for pair in lines for part in pair) + draw(st.sampled_from(("", "last", "\n", "\r", "```")))


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces, the small ones often."""
    parts, at = [], 0
    sizes = st.one_of(st.integers(1, 4), st.integers(1, 60))
    while at < len(text):
        size = draw(sizes)
        parts.append(text[at : at + size])
        at += size
    return parts
