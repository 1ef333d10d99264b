"""The rows of a code: the same however it came, and made only where they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtGui import QFontDatabase, QFontMetricsF
from PySide6.QtWidgets import QScrollArea
from pytestqt.qtbot import QtBot

from desktop.ui.markdown import code_rows
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.markdown.code_box import CodeBox
from desktop.ui.markdown.code_rows import PART, CodeRows, Row

LINES = 200_000
CODES = {"lines": "x = 1\n" * LINES, "one line": "x" * 6 * LINES, "wide": "中\t=\n" * LINES}

pytestmark = pytest.mark.usefixtures("qapp")  # fonts need it


def rows_for(code: str = "") -> CodeRows:
    rows = CodeRows(QFontMetricsF(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)))
    rows.set_code(code)
    return rows


def every_row(rows: CodeRows) -> list[Row]:
    """All of them, made one after another."""
    made: list[Row] = []
    while len(made) < rows.count:
        made.append(rows.row(len(made)))
    return made


def made_parts(rows: CodeRows) -> int:
    return sum(bool(part.rows) for part in rows._parts)


def check(code: str, rows: CodeRows) -> None:
    made = every_row(rows)
    for row, after in zip(made, [*made[1:], None], strict=True):
        ends_line = after is None or after.line != row.line
        assert "\n" not in code[row.start : row.end]
        assert row.line == code.count("\n", 0, row.start)
        assert row.column == row.start - (code.rfind("\n", 0, row.start) + 1)
        assert after is None or after.start == row.end + ends_line
    assert (made[0].start, made[-1].end) == (0, len(code))
    assert rows.lines == code.count("\n") + 1
    assert rows.row(rows.count + 7) == made[-1]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.text("ab\n\t 中", max_size=70), max_size=8), st.sampled_from([0, 60, 200]), st.lists(st.integers(0, 30))
)
def test_every_character_has_its_row(pieces: list[str], width: int, looks: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_rows, "PART", 40)
        patch.setattr(code_rows, "ROW_LIMIT", 10)
        rows, code = rows_for(), ""
        rows.wrap(width)
        for number, piece in enumerate(pieces):
            before = every_row(rows) if number % 2 else []
            code += piece
            changed = rows.set_code(code)
            assert every_row(rows)[: changed if before else 0] == before[:changed]
            for look in looks:
                rows.row(look)
        check(code, rows)
        rows.wrap(0 if width else 100)
        check(code, rows)


def test_code_that_came_in_pieces_has_the_rows_of_the_whole() -> None:
    code = "".join(f"line {number} = {'x' * (number * 37 % 2_500)}\n" for number in range(60))
    rows = rows_for()
    for end in range(0, len(code) + 100, 100):
        rows.set_code(code[:end])
    assert made_parts(rows) == len(rows._parts) > 4, "what grows in sight is never an estimate"
    whole = rows_for(code)
    assert every_row(whole) == every_row(rows)
    assert (whole.count, whole.widest) == (rows.count, rows.widest)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("width", [0, 300])
def test_only_what_is_asked_for_is_made(name: str, width: int) -> None:
    code = CODES[name]
    rows = rows_for(code)
    rows.wrap(width)
    assert made_parts(rows) == 0
    assert rows.count >= LINES or "\n" not in code
    assert rows.row(rows.count - 1).end == len(code)
    middle = rows.row(rows.count // 2)
    assert middle.line == code.count("\n", 0, middle.start)
    assert made_parts(rows) == 2
    assert max(part.end - part.start for part in rows._parts) <= PART


def test_a_huge_code_is_drawn_where_it_is_seen(qtbot: QtBot) -> None:
    area = QScrollArea()
    qtbot.addWidget(area)
    area.resize(640, 400)
    body = MarkdownBody(600)
    area.setWidget(body)
    area.show()
    body.set_text("```python\n" + "value = 1\n" * LINES + "wide = '" + "x" * 900 + "'\n```", finished=True)
    qtbot.waitUntil(lambda: body._told_end and not body._frame.isActive(), timeout=20_000)
    (box,) = body._layout.entries[0].boxes or ()
    assert isinstance(box, CodeBox)
    assert box.length == len(box.piece.code)
    height = body.sizeHint().height()
    assert height > LINES * 10
    body.resize(600, height)
    for top in (0, height // 2, height - 400):
        area.verticalScrollBar().setValue(top)
        body.set_visible_range(top, top + 400)
        picture = area.viewport().grab().toImage()
        panel = picture.pixelColor(300, 350)
        assert any(picture.pixelColor(x, y) != panel for x in range(20, 80) for y in range(300, 340)), top
    assert made_parts(box._rows) <= 6
    qtbot.waitUntil(lambda: box._scroll.maximum > 0)
    assert box.word_at(len(box.piece.code) - 9 - 900) == (len(box.piece.code) - 905 - 4, len(box.piece.code) - 905)
