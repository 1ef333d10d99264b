"""Formulas that cannot be drawn, or should not be, are shown as their source; the rest of the reply is always shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.ui.markdown import formulas as formulas_module
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.markdown.formulas import Formula, formulas

WIDTH = 600


GOOD = {
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0 L9 9" fill="black"/></svg>',
    "width": 20.0,
    "ascent": 15.0,
    "descent": 5.0,
}


@pytest.fixture
def body(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[MarkdownBody]:
    """With formulas of its own: what other tests asked for is not known."""
    monkeypatch.setattr(formulas_module, "_formulas", None)
    made = MarkdownBody(WIDTH)
    qtbot.addWidget(made)
    made.show()
    yield made
    formulas().stop()


def shown(body: MarkdownBody, qtbot: QtBot, text: str) -> MarkdownBody:
    """The body with this text, when all its formulas are known, and drawn once."""
    body.set_text(text, finished=True)
    qtbot.waitUntil(lambda: not formulas().is_busy, timeout=20_000)
    qtbot.wait(10)
    body.resize(WIDTH, body.sizeHint().height())
    assert not body.grab().isNull()
    return body


def is_drawn(body: MarkdownBody, tex: str, *, display: bool) -> bool:
    return formulas().get(tex, display, body._style.formula_size) is not None


@pytest.mark.parametrize(
    ("tex", "drawn"),
    [
        ("a = b \\\\", True),
        ("\\\\ a = b", True),
        ("\\\\ \\\\ a \\\\ b \\\\\\\\", True),
        ("\\\\", False),
        ("\\\\frac{a}{b}\\\\", False),
        ("\\\\alpha + 1", False),
        ("a \\\\\\\\ b", False),
        ("\\displaystyle", False),
        ("\\hspace{100000em}x", False),
    ],
)
@pytest.mark.parametrize("display", [True, False])
def test_line_breaks_at_an_end_hide_nothing(
    body: MarkdownBody, qtbot: QtBot, tex: str, drawn: bool, display: bool
) -> None:
    shown(body, qtbot, f"Before $${tex}$$ after" if display else f"Before ${tex}$ after")
    assert body.sizeHint().height() > 15
    assert is_drawn(body, tex, display=display) == drawn
    body.select_all()
    assert body.selected_markdown() == body.text


def test_line_breaks_at_an_end_are_not_drawn(body: MarkdownBody, qtbot: QtBot) -> None:
    shown(body, qtbot, "$a$ $\\\\ a \\\\$ $a \\\\ a$")
    size = body._style.formula_size
    plain, ends, inner = (formulas().get(tex, False, size) for tex in ("a", "\\\\ a \\\\", "a \\\\ a"))
    assert isinstance(plain, Formula)
    assert plain == ends
    assert inner is not None
    assert inner.descent > plain.descent


def child_that_says(line: str, folder: Path) -> str:
    """A program that answers every request with this line."""
    child = folder / "child"
    child.write_text(f"#!/bin/sh\nwhile read -r request; do cat <<'END'\n{line}\nEND\ndone\n")
    child.chmod(0o755)
    return str(child)


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "{}",
        json.dumps({**GOOD, "svg": 7}),
        json.dumps({**GOOD, "svg": "<svg"}),
        json.dumps({**GOOD, "width": float("nan")}),
        json.dumps({**GOOD, "width": float("inf")}),
        json.dumps({**GOOD, "width": 0}),
        json.dumps({**GOOD, "width": "wide"}),
        json.dumps({**GOOD, "ascent": -9999}),
        json.dumps({**GOOD, "ascent": -1e6, "descent": 1e6 + 20}),
        json.dumps({**GOOD, "width": 5_000, "ascent": 5_000}),
    ],
)
def test_whatever_the_child_answers_the_reply_is_shown(
    body: MarkdownBody, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr("sys.executable", child_that_says(line, tmp_path))
    shown(body, qtbot, "Before $x$ after\n\n$$\nx\n$$\n\nend")
    assert len(body._layout.entries) == 3
    assert all(entry.height > 15 for entry in body._layout.entries)
    assert not is_drawn(body, "x", display=True)
    assert not is_drawn(body, "x", display=False)


def test_a_child_that_answers_well_is_believed(
    body: MarkdownBody, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", child_that_says(json.dumps(GOOD), tmp_path))
    shown(body, qtbot, "$$\nx\n$$")
    assert is_drawn(body, "x", display=True)


@pytest.mark.parametrize(
    "tex",
    [
        "a + \\beta_1 " * 100,
        "{" * 900,
        "\\sqrt{" * 100 + "x" + "}" * 100,
        "\n".join(f"x_{{{row}}} = {row} \\\\" for row in range(60)),
    ],
    ids=["long", "without a break", "deep", "many lines"],
)
def test_a_formula_that_is_not_drawn_shows_all_of_its_source(body: MarkdownBody, qtbot: QtBot, tex: str) -> None:
    shown(body, qtbot, f"$$\n{tex}\n$$")
    (box,) = body._layout.entries[0].boxes or ()
    metrics = body._style.code_metrics
    rows = sum(max(1, metrics.horizontalAdvance(line) / WIDTH) for line in tex.strip().split("\n"))
    assert box.height >= int(rows) * metrics.lineSpacing()
    picture = body.grab().toImage()
    background = picture.pixelColor(0, 0)
    last = range(round(box.height - 2 * metrics.lineSpacing()), picture.height())
    assert any(picture.pixelColor(x, y) != background for x in range(WIDTH) for y in last), "the last row is drawn"
    assert all(picture.pixelColor(WIDTH - 1, y) == background for y in range(picture.height())), "nothing is cut off"


def test_of_the_longest_source_the_beginning_is_shown(body: MarkdownBody, qtbot: QtBot) -> None:
    shown(body, qtbot, "$$\n" + "a + " * 2_900 + "b\n$$")
    (box,) = body._layout.entries[0].boxes or ()
    assert 500 < box.height < 1_500
    body.select_all()
    assert body.selected_markdown() == body.text
