"""A text is cut into the same blocks, however it came."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from desktop.ui.markdown.block_stream import WINDOW_LINES, Block, BlockStream, tokens_of
from desktop.ui.markdown.dialect import block_tokens, to_html
from desktop.ui.markdown.text import Cleaner
from tests.ui.markdown.texts import cuts, texts

EXAMPLES = int(os.environ.get("TURBODESK_MARKDOWN_EXAMPLES", "60"))  # 1000 for the long proof
STEPS = 10_000


def drive(stream: BlockStream) -> None:
    for _ in range(STEPS):
        if not stream.step():
            return
    pytest.fail("the stream does not come to an end")


def stream_of(parts: list[str], **sizes: int) -> BlockStream:
    stream, cleaner = BlockStream(**sizes), Cleaner()
    for part in parts:
        stream.append(cleaner.feed(part))
        drive(stream)
    stream.append(cleaner.end())
    stream.finish()
    drive(stream)
    return stream


def shown(stream: BlockStream) -> list[tuple[Block, str]]:
    """The blocks with all that is seen of them."""
    return [(without_tokens(block), html_of(block, stream)) for block in stream.final]


def without_tokens(block: Block) -> Block:
    return replace(block, tokens=())


def html_of(block: Block, stream: BlockStream) -> str:
    return to_html(tokens_of(block), stream.references)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
@given(st.data())
@pytest.mark.timeout(0 if EXAMPLES > 100 else 180)
def test_streamed_in_any_cuts_gives_the_blocks_of_the_whole(data: st.DataObject) -> None:
    text = data.draw(texts())
    parts = data.draw(cuts(text))
    whole = stream_of([text])
    assert shown(stream_of(parts)) == shown(whole)
    assert whole.tail == []
    ended = stream_of([text + "\n"])
    html = "".join(html for _, html in shown(ended))
    assert html == to_html(block_tokens(ended.text, found := {}), found), "as parsed in one piece"


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
@given(st.data())
@pytest.mark.timeout(0 if EXAMPLES > 100 else 180)
def test_cuts_of_long_blocks_do_not_depend_on_how_the_text_came(data: st.DataObject) -> None:
    text = data.draw(texts())
    lines = data.draw(st.sampled_from((4, 100)))
    sizes = {"short_window": 30, "long_window": 70, "lines": lines, "limit": data.draw(st.sampled_from((200, 10**6)))}
    whole = stream_of([text], **sizes)
    assert shown(stream_of(data.draw(cuts(text)), **sizes)) == shown(whole)
    at = 0
    for block in whole.final:
        assert block.start >= at
        assert whole.text[block.start : block.end] == block.source
        assert block.end - block.start <= 70 or block.kind == "fence"
        at = block.end


def test_an_unfinished_tail_is_given_as_it_would_end_now() -> None:
    stream = BlockStream()
    stream.append("# Title\n\nfirst\n\n- one\n- tw")
    drive(stream)
    assert [block.kind for block in stream.final] == ["heading", "paragraph"]
    assert [block.kind for block in stream.tail] == ["list"]
    stream.append("o\n\nnext\n")
    drive(stream)
    assert [block.kind for block in stream.final] == ["heading", "paragraph", "list"]


def test_an_open_fence_is_not_parsed_again() -> None:
    stream = BlockStream()
    stream.append("text\n```python\nx = 1\n")
    drive(stream)
    (block,) = stream.tail
    assert (block.kind, block.closed, block.tokens[0].content) == ("fence", False, "x = 1\n")
    stream.append("``")
    drive(stream)
    assert stream.tail[0].tokens[0].content == "x = 1\n``"
    stream.append("`\nafter\n")
    drive(stream)
    assert [block.kind for block in stream.final] == ["paragraph", "fence"]
    assert (stream.final[1].closed, stream.final[1].tokens[0].content) == (True, "x = 1\n")


def test_a_definition_that_comes_later_is_found() -> None:
    stream = BlockStream()
    stream.append("see [it]\n\nmore\n\n")
    drive(stream)
    before = stream.references_version
    stream.append("[it]: /here\n\nend")
    drive(stream)
    assert stream.references_version > before
    assert 'href="/here"' in html_of(stream.final[0], stream)
    assert stream.final[0].may_use_references


def test_a_long_list_is_cut_between_items() -> None:
    stream = stream_of(["".join(f"{i}. item\n   more\n" for i in range(1, 21))], short_window=60, long_window=120)
    assert {block.kind for block in stream.final} == {"list"}
    assert len(stream.final) > 1
    assert all(block.source[0].isdigit() for block in stream.final)


def test_a_list_of_short_items_is_cut_early() -> None:
    stream = stream_of(["- item\n" * 2_000])
    assert all(block.kind == "list" for block in stream.final)
    assert sum(block.source.count("- item") for block in stream.final) == 2_000
    assert max(block.source.count("\n") for block in stream.final) < WINDOW_LINES, "all its boxes are made at once"


def test_a_line_without_an_end_is_cut_at_words() -> None:
    stream = stream_of(["word " * 4000])
    assert {block.kind for block in stream.final} == {"paragraph"}
    assert max(len(block.source) for block in stream.final) <= 6000
    assert "".join(block.source for block in stream.final).split() == ["word"] * 4000


def test_too_deep_is_plain() -> None:
    stream = stream_of([">" * 5000 + " x\n\nafter"])
    assert [block.kind for block in stream.final] == ["plain", "paragraph"]


def test_tables_end_where_they_get_too_large() -> None:
    wide = "|" + "a|" * 200 + "\n|" + "-|" * 200 + "\n"
    assert [block.kind for block in stream_of([wide]).final] == ["paragraph"]
    stream = stream_of(["|a|b|\n|-|-|\n" + "x\n" * 3000])
    assert stream.final[0].kind == "table"
    assert sum(token.type == "td_open" for token in tokens_of(stream.final[0])) <= 1_200
