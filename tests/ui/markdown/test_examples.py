"""The parser against examples of every section of CommonMark, and of GFM's tables and strikethrough.

The examples are our own. With TURBODESK_COMMONMARK_SPEC and TURBODESK_GFM_SPEC naming the specifications' texts, their
examples are tried too (of GFM's, those of tables).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from desktop.ui.markdown.block_stream import BlockStream, tokens_of
from desktop.ui.markdown.dialect import to_html

EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_text(encoding="utf-8"))
SPECIFICATION = os.environ.get("TURBODESK_COMMONMARK_SPEC", "")
GFM = os.environ.get("TURBODESK_GFM_SPEC", "")


def html_of(markdown: str) -> str:
    stream = BlockStream()
    stream.append(markdown)
    stream.finish()
    while stream.step():
        pass
    return "".join(to_html(tokens_of(block), stream.references) for block in stream.final)


@pytest.mark.parametrize("section", sorted({section for section, _, _ in EXAMPLES}))
def test_section(section: str) -> None:
    for name, markdown, html in EXAMPLES:
        if name == section:
            assert html_of(markdown + "\n") == html, markdown


def examples_in(path: str, kind: str = "") -> list[tuple[str, str]]:
    text = Path(path).read_text(encoding="utf-8").replace("→", "\t")
    return re.findall(rf"^`{{32}} example{kind}\n(.*?)^\.\n(.*?)^`{{32}}$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not SPECIFICATION, reason="TURBODESK_COMMONMARK_SPEC does not name the specification's text")
def test_the_examples_of_the_specification() -> None:
    examples = examples_in(SPECIFICATION)
    assert len(examples) > 600
    for markdown, html in examples:
        # The renderer writes nothing between the tags of an empty quote.
        assert html_of(markdown) == html.replace("<blockquote>\n</blockquote>", "<blockquote></blockquote>"), markdown


@pytest.mark.skipif(not GFM, reason="TURBODESK_GFM_SPEC does not name the specification's text")
def test_the_tables_of_gfm() -> None:
    examples = examples_in(GFM, " table")
    assert len(examples) >= 8
    for markdown, html in examples:
        # The same in another attribute.
        aligned = re.sub(r' align="(\w+)"', r' style="text-align:\1"', html)
        assert html_of(markdown) == aligned, markdown
