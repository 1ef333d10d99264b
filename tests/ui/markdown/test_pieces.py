"""What a block is drawn as, and the Markdown that is copied of a part of it."""

from __future__ import annotations

import pytest

from desktop.ui.markdown.block_stream import BlockStream
from desktop.ui.markdown.markdown_source import part_of, shown_part
from desktop.ui.markdown.pieces import (
    BOLD,
    CODE,
    DIM,
    ITALIC,
    CodePiece,
    FormulaPiece,
    ImagePiece,
    Inlines,
    Line,
    Piece,
    RulePiece,
    Run,
    TablePiece,
    TextPiece,
    line_text,
    pieces_of,
)


def pieces(markdown: str) -> list[Piece]:
    stream = BlockStream()
    stream.append(markdown)
    stream.finish()
    while stream.step():
        pass
    inlines = Inlines()
    inlines.use(stream.references)
    return [piece for block in stream.final for piece in pieces_of(block, inlines)]


def lines(markdown: str) -> list[Line]:
    return [line for piece in pieces(markdown) if isinstance(piece, TextPiece) for line in piece.lines]


def test_runs_carry_their_look() -> None:
    (line,) = lines("a **b *c*** `d` [e](javascript:x) <i>f</i>")
    assert line.runs == (
        Run("a "),
        Run("b ", BOLD),
        Run("c", BOLD | ITALIC),
        Run(" "),
        Run("d", CODE),
        Run(" "),
        Run("e", 0, "javascript:x"),
        Run(" "),
        Run("<i>", DIM),
        Run("f"),
        Run("</i>", DIM),
    )


def test_lists_have_marks_and_depth() -> None:
    found = [(line.marker, line.left, line_text(line)) for line in lines("3. a\n   - [x] b\n   - [ ] c\n4. d\n")]
    assert found == [("3.", 28, "a"), ("[x]", 56, "b"), ("[ ]", 56, "c"), ("4.", 28, "d")]


def test_code_in_a_list_in_a_quote_is_a_piece_of_its_own() -> None:
    text, code = pieces("> - a\n>   ```sh\n>   ls\n>   ```\n")
    assert isinstance(text, TextPiece)
    assert isinstance(code, CodePiece)
    assert (code.code, code.language, code.place.left, code.place.bars) == ("ls", "sh", 44, (0,))


@pytest.mark.parametrize(
    ("markdown", "kind"),
    [
        ("$$\nx\n$$", FormulaPiece),
        ("$$x$$", FormulaPiece),
        ("![a](b.png)", ImagePiece),
        ("---", RulePiece),
        ("|a|\n|-|", TablePiece),
    ],
)
def test_kinds(markdown: str, kind: type) -> None:
    assert [type(piece) for piece in pieces(markdown)] == [kind]


def test_a_formula_that_is_not_closed_stays_text() -> None:
    assert line_text(lines("$$\nx = 1\n\nafter")[0]) == "$$\nx = 1"


def test_bare_addresses_are_links() -> None:
    (line,) = lines("see https://a.example/b_(c). (https://d.example/e)")
    assert [run.href for run in line.runs if run.href] == ["https://a.example/b_(c)", "https://d.example/e"]


def test_html_is_text() -> None:
    (line,) = lines("<script>\nalert(1)\n</script>")
    assert line_text(line) == "<script>\nalert(1)\n</script>"


@pytest.mark.parametrize(
    ("markdown", "start", "end", "copied"),
    [
        ("one **two** three", 2, 7, "e **two**"),
        ("one **two** three", 5, 6, "**w**"),
        ("a `b c` d", 2, 5, "`b c`"),
        ("a [b](/c) d", 0, 3, "a [b](/c)"),
        ("an $x^2$ is", 0, 6, "an $x^2$ i"),
        ("# Big title", 0, 3, "# Big"),
        ("> quoted text", 0, 6, "> quoted"),
        ("- one\n- two\n- three", 4, 11, "- two\n- thr"),
    ],
)
def test_a_part_is_copied_as_markdown(markdown: str, start: int, end: int, copied: str) -> None:
    (piece,) = pieces(markdown)
    assert part_of(piece, start, end) == copied


def test_parts_of_code_and_tables() -> None:
    (code,) = pieces("```py\nfoo()\nbar()\n```")
    assert part_of(code, 0, 11) == "```py\nfoo()\nbar()\n```"
    assert part_of(code, 6, 9) == "bar"
    (table,) = pieces("|a|b|\n|-|:-:|\n|c|**d**|")
    assert part_of(table, 0, 8) == "| a | b |\n| --- | :---: |\n| c | **d** |"
    assert part_of(table, 4, 8) == "| c | **d** |"
    assert part_of(table, 6, 7) == "**d**"
    assert shown_part(table, 0, 8) == "a\tb\nc\td"
