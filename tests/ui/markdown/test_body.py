"""The widget: what it keeps, what it draws anew, selecting, links, light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.markdown.code_box import CodeBox
from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.pieces import LIST_STEP
from desktop.ui.markdown.side_scroll import HeaderButton
from desktop.ui.theme import apply_theme

RICH = """# Title

Some **bold** text with [a link](file:///etc/passwd) and more.

- one
- two

```python
x = 1
```

| a | b |
|---|---|
| c | d |

The end."""


@pytest.fixture
def body(qtbot: QtBot, qapp: QApplication) -> Iterator[MarkdownBody]:
    apply_theme(qapp, "light")
    made = MarkdownBody(600)
    qtbot.addWidget(made)
    made.show()
    yield made
    formulas().stop()


def fit(body: MarkdownBody) -> None:
    body.resize(600, body.sizeHint().height())
    QApplication.processEvents()


def boxes(body: MarkdownBody) -> list[object]:
    return [box for entry in body._layout.entries for box in entry.boxes or ()]


def test_finished_blocks_keep_what_they_are_drawn_with(body: MarkdownBody, qtbot: QtBot) -> None:
    body.append_text("# Title\n\nfirst\n\nsecond ")
    qtbot.waitUntil(lambda: len(boxes(body)) == 3)
    before = boxes(body)
    body.append_text("goes on\n\nthird")
    qtbot.waitUntil(lambda: len(boxes(body)) == 4)
    assert boxes(body)[:2] == before[:2]
    assert boxes(body)[2] is not before[2]
    assert body.text == "# Title\n\nfirst\n\nsecond goes on\n\nthird"


def test_open_code_grows_in_place(body: MarkdownBody, qtbot: QtBot) -> None:
    body.append_text("```python\na = 1\n")
    qtbot.waitUntil(lambda: len(boxes(body)) == 1)
    (box,) = boxes(body)
    assert isinstance(box, CodeBox)
    body.append_text("b = 2\n```\n")
    qtbot.waitUntil(lambda: box.piece.closed)
    assert boxes(body) == [box]
    assert box.piece.code == "a = 1\nb = 2"


def test_streamed_and_whole_are_as_high(body: MarkdownBody, qtbot: QtBot) -> None:
    for at in range(0, len(RICH), 7):
        body.append_text(RICH[at : at + 7])
        QApplication.processEvents()
    body.finish()
    other = MarkdownBody(600)
    qtbot.addWidget(other)
    other.set_text(RICH, finished=True)
    assert body.sizeHint().height() == other.sizeHint().height() == other.heightForWidth(600) > 200


def test_only_what_is_near_the_visible_range_has_boxes(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_visible_range(0, 800)
    body.set_text("\n\n".join(f"paragraph {i}" for i in range(3000)), finished=True)
    qtbot.waitUntil(lambda: len(body._layout.entries) == 3000)
    height = body.sizeHint().height()
    assert height > 3000 * 15
    body.set_visible_range(height // 2, height // 2 + 800)
    qtbot.waitUntil(lambda: body._layout.entries[0].boxes is None)
    with_boxes = lambda: sum(entry.boxes is not None for entry in body._layout.entries)  # noqa: E731
    qtbot.waitUntil(lambda: with_boxes() > 20)
    assert with_boxes() < 400
    offset = body.text.index("paragraph 2000")
    y = body.position_of_text(offset)
    assert body.block_at(y + 1) == offset


def test_a_late_definition_turns_words_into_a_link(body: MarkdownBody, qtbot: QtBot) -> None:
    body.append_text("see [it]\n\nnext\n\n")
    qtbot.waitUntil(lambda: len(boxes(body)) == 2)
    body.append_text("[it]: https://a.example\n")
    body.finish()
    assert boxes(body)[0].piece.lines[0].runs[1].href == "https://a.example"


def test_a_clicked_link_is_told_and_nothing_is_opened(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text("[here](javascript:alert(1)) is it", finished=True)
    fit(body)
    with qtbot.waitSignal(body.link_activated) as told:
        qtbot.mouseClick(body, Qt.MouseButton.LeftButton, pos=QPoint(8, 10))
    assert told.args == ["javascript:alert(1)"]
    menu = body.make_menu(QPoint(8, 10))
    assert [action.text() for action in menu.actions() if action.text()] == [
        "Copy",
        "Copy as Markdown",
        "Select all",
        "Copy link",
    ]
    menu.actions()[-1].trigger()
    assert QGuiApplication.clipboard().text() == "javascript:alert(1)"


def test_selecting_across_blocks_copies_markdown(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text(RICH, finished=True)
    fit(body)
    first = body.position_of_text(RICH.index("Some")) + 8
    last = body.position_of_text(RICH.index("The end")) + 8
    changes = []
    body.selection_changed.connect(lambda: changes.append(1))
    qtbot.mousePress(body, Qt.MouseButton.LeftButton, pos=QPoint(0, first))
    qtbot.mouseMove(body, QPoint(0, first + 30))
    qtbot.mouseMove(body, QPoint(590, last))
    qtbot.mouseRelease(body, Qt.MouseButton.LeftButton, pos=QPoint(590, last))
    assert changes
    assert body.selected_markdown() == RICH[RICH.index("Some") :]
    qtbot.keyClick(body, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == RICH[RICH.index("Some") :]
    body.make_menu(QPoint(5, 5)).actions()[0].trigger()
    shown = QGuiApplication.clipboard().text()
    assert "bold text with a link and" in shown
    assert "a\tb\nc\td" in shown
    body.clear_selection()
    assert body.selected_markdown() == ""
    body.select_all()
    assert body.selected_markdown() == RICH


def test_a_double_click_takes_a_word_and_shift_extends(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text("alpha **beta** gamma", finished=True)
    fit(body)
    qtbot.mouseDClick(body, Qt.MouseButton.LeftButton, pos=QPoint(10, 8))
    assert body.selected_markdown() == "alpha"
    qtbot.mouseRelease(body, Qt.MouseButton.LeftButton, pos=QPoint(10, 8))
    qtbot.mouseClick(body, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, pos=QPoint(590, 8))
    assert body.selected_markdown() == "alpha **beta** gamma"


def test_code_has_named_buttons_that_copy_and_wrap(body: MarkdownBody, qtbot: QtBot) -> None:
    code = "print('" + "long " * 60 + "')"
    body.set_text(f"```python\n{code}\n```\n", finished=True)
    fit(body)
    wrap, copy = body.findChildren(HeaderButton)
    assert (wrap.accessibleName(), copy.accessibleName()) == ("Wrap long lines of this code", "Copy this code")
    copy.click()
    assert QGuiApplication.clipboard().text() == code
    before = body.sizeHint().height()
    with qtbot.waitSignal(body.height_changed):
        wrap.click()
    assert body.sizeHint().height() > before


def test_dark_and_light_are_drawn_with_their_colours(body: MarkdownBody, qtbot: QtBot, qapp: QApplication) -> None:
    body.set_text(RICH, finished=True)
    fit(body)
    light = body.grab().toImage().pixelColor(590, 2)
    apply_theme(qapp, "dark")
    qtbot.waitUntil(lambda: body._style.colours.text == "#eceef0")
    fit(body)
    dark = body.grab().toImage().pixelColor(590, 2)
    apply_theme(qapp, "light")
    assert light.lightness() > 200
    assert dark.lightness() < 60


def test_a_screen_reader_gets_the_text(body: MarkdownBody) -> None:
    body.set_text("Hello **there**", finished=True)
    assert body.accessibleName() == "Reply"
    assert "Hello" in body.accessibleDescription()


def test_formulas_become_pictures_and_nonsense_stays_source(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text("Let $x^2$ and $\\frac{a$ be\n\n$$\ny = 1\n$$\n", finished=True)
    fit(body)
    qtbot.waitUntil(lambda: not formulas().is_busy, timeout=20_000)
    size = body._style.formula_size
    good = formulas().get("x^2", False, size)
    assert good is not None
    assert good.ascent > good.descent
    assert formulas().get("\\frac{a", False, size) is None
    assert not formulas().is_busy
    qtbot.waitUntil(lambda: not boxes(body)[1].has_missing)
    body.select_all()
    assert body.selected_markdown() == body.text.strip()


def ink(body: MarkdownBody, index: int) -> tuple[int, int]:
    """Between which columns of pixels a block is drawn."""
    layout = body._layout
    top, height = round(layout.top(index)), round(layout.entries[index].height)
    picture = body.grab().toImage()
    background = picture.pixelColor(0, 0)
    rows = range(top, min(top + height, picture.height()))
    inked = [x for x in range(600) if any(picture.pixelColor(x, y) != background for y in rows)]
    return inked[0], inked[-1]


RIGHT_TO_LEFT = "latin\n\nשלום, **latin** 1.\n\n123 مرحبا $x$\n\n# כותרת\n\n- שלום\n- [ ] עולם\n\nlatin שלום"


def test_a_paragraph_stands_where_its_first_letter_says(body: MarkdownBody) -> None:
    body.set_text(RIGHT_TO_LEFT, finished=True)
    fit(body)
    latin, hebrew, arabic, heading, items, mixed = (ink(body, index) for index in range(6))
    assert [left < 5 for left, _ in (latin, mixed)] == [True, True]
    assert [left > 300 and right > 590 for left, right in (hebrew, arabic, heading)] == [True, True, True]
    assert 300 < items[0] < items[1]
    assert items[1] >= 585, "the mark stands before the line, on its right"
    line = boxes(body)[4]._rich.document.begin().layout().lineAt(0)
    assert line.naturalTextRect().right() <= 600 - LIST_STEP + 1


def test_a_click_finds_its_place_in_text_from_right_to_left(body: MarkdownBody, qtbot: QtBot) -> None:
    body.set_text("שלום [עולם](https://a.example)", finished=True)
    fit(body)
    left, right = ink(body, 0)
    with qtbot.waitSignal(body.link_activated):
        qtbot.mouseClick(body, Qt.MouseButton.LeftButton, pos=QPoint(left + 4, 10))
    qtbot.mouseDClick(body, Qt.MouseButton.LeftButton, pos=QPoint(right - 4, 10))
    assert body.selected_markdown() == "שלום"
