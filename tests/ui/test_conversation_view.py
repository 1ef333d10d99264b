"""A long conversation: few views, a steady place to read, following, jumping, branches, nothing lost."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Iterator
from itertools import pairwise

import pytest
import shiboken6
from PySide6.QtCore import QEvent, QPoint, QSize, Qt
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from desktop.domain.conversation import Message, MessageState
from desktop.domain.generation import Role
from desktop.ui.chat import conversation_view, focus_order
from desktop.ui.chat.conversation_view import ConversationView
from desktop.ui.chat.height_estimate import HeightEstimate
from desktop.ui.chat.message_heights import MessageHeights
from desktop.ui.chat.message_view import MessageView
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.theme import apply_theme

CODE = "```python\nfor number in range(10):\n    print(number)\n```\n"
PROSE = "Some **bold** words about `caches`, and then some more of them. " * 9
SEEDS = range(12)


def message(number: int, text: str = "", role: Role | None = None, **more: object) -> Message:
    """A message of a conversation whose questions have even ids."""
    role = role or ("assistant" if number % 2 else "user")
    fields: dict[str, object] = {"conversation_id": 1, "parent_id": number - 1 or None, "created_at": 0.0, **more}
    return Message(id=number, role=role, content=text or f"message {number}", **fields)  # type: ignore[arg-type]


def mixed(count: int, first: int = 1) -> list[Message]:
    """Questions, and replies some of which have code."""
    texts = {1: PROSE, 3: PROSE + "\n\n" + CODE, 5: "short"}
    return [message(number, texts.get(number % 6, f"question {number}")) for number in range(first, first + count)]


class Box(MessageView):
    """A view whose height the test decides; position_of answers the offset itself."""

    heights: dict[int, int]

    def __init__(self, message: Message, width: int, parent: QWidget, *_more: object) -> None:
        super().__init__(message, parent)
        self.button = QPushButton("a button", self)
        self.line = QLineEdit(self)
        self.line.move(0, 30)
        self.appended: list[str] = []
        self.reasoned: list[str] = []
        self.seen: list[tuple[int, int]] = []
        self.siblings = (0, 0)
        self.is_last = False
        self.selected = False

    @property
    def has_selection(self) -> bool:
        return self.selected

    def sizeHint(self) -> QSize:
        return QSize(100, self.heights[self.message.id])

    def append_text(self, text: str) -> None:
        self.appended.append(text)

    def append_reasoning(self, text: str) -> None:
        self.reasoned.append(text)

    def set_last(self, is_last: bool) -> None:
        self.is_last = is_last

    def set_siblings(self, position: int, count: int) -> None:
        self.siblings = (position, count)

    def set_visible_range(self, top: int, bottom: int) -> None:
        self.seen.append((top, bottom))

    def position_of(self, offset: int) -> int:
        return offset

    def want(self, height: int) -> None:
        """Want another height from now on."""
        self.heights[self.message.id] = height
        self.height_changed.emit()


@pytest.fixture
def view(qtbot: QtBot, qapp: QApplication) -> Iterator[ConversationView]:
    """An empty conversation view on screen."""
    apply_theme(qapp, "light")
    made = ConversationView()
    qtbot.addWidget(made)
    made.resize(900, 600)
    made.show()
    yield made
    made.hide()


@pytest.fixture
def boxes(view: ConversationView, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """The same, with boxes of random heights, by message id."""
    dice = random.Random(7)
    heights = {number: dice.randint(60, 700) for number in range(1, 3_000)}
    monkeypatch.setattr(Box, "heights", heights, raising=False)
    monkeypatch.setattr(conversation_view, "make_view", Box)
    return heights


def quiet(qtbot: QtBot, view: ConversationView) -> None:
    """Wait until every view that is wanted is there."""
    qtbot.waitUntil(lambda: not view._work.isActive() and not view._ranges.isActive(), timeout=20_000)


def top_of(view: ConversationView, message_id: int) -> int:
    return view._views[message_id].y()


def first_in_sight(view: ConversationView) -> int:
    return next(known for known, box in view._views.items() if box.y() + box.height() > 0)


def numbers(count: int, first: int = 1) -> list[Message]:
    return [message(number) for number in range(first, first + count)]


def at_end(view: ConversationView) -> bool:
    bar = view.verticalScrollBar()
    return bar.value() == bar.maximum() > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_heights_answer_as_a_plain_list_does(seed: int) -> None:
    dice = random.Random(seed)
    heights, plain = MessageHeights(), list[int]()
    for _ in range(60):
        action = dice.choice(("extend", "put", "truncate"))
        if action == "extend" or not plain:
            more = [dice.randint(1, 90)] * dice.randint(1, 40)
            heights.extend(len(more), more[0])
            plain += more
        elif action == "put":
            place = dice.randrange(len(plain))
            plain[place] = dice.randint(1, 90)
            heights.put(place, plain[place], measured=True)
            assert heights.is_measured(place)
        else:
            count = dice.randint(len(plain) // 2, len(plain))
            heights.truncate(count)
            del plain[count:]
        assert (len(heights), heights.total) == (len(plain), sum(plain))
        assert [heights.top(place) for place in range(len(plain) + 1)] == [
            sum(plain[:p]) for p in range(len(plain) + 1)
        ]
        for y in (-5, 0, dice.randint(0, sum(plain) + 9), sum(plain) + 99):
            expected = next((p for p in range(len(plain)) if sum(plain[: p + 1]) > y), len(plain) - 1)
            assert heights.at(y) == expected


def test_an_estimate_grows_with_text_and_lines_and_has_an_end() -> None:
    estimate = HeightEstimate(700, 16, 7.0)
    short, long = (estimate.of(message(1, "x" * length)) for length in (10, 5_000))
    assert 16 < short < long
    assert estimate.of(message(1, "x\n" * 100)) > 100 * 16
    assert estimate.of(message(1, "\u4e2d" * 5_000)) > 1.5 * long
    assert estimate.of(message(1, "\n" * 10_000_000)) < 2**24


def test_ten_thousand_messages_have_few_views_at_the_end_first(qtbot: QtBot, view: ConversationView) -> None:
    messages = mixed(10_000)
    view.show_messages(messages)
    assert messages[-1].id in view._views
    assert at_end(view)
    quiet(qtbot, view)
    assert at_end(view)
    assert len(view._views) < 40
    assert len(view.findChildren(MessageView)) == len(view._views)
    assert list(view._views) == sorted(view._views)
    for upper, lower in pairwise(view._views.values()):
        assert upper.geometry().bottom() < lower.y()
    qtbot.waitUntil(lambda: not view._walk._tidy.isActive())
    assert [c for c in view._canvas.children() if isinstance(c, MessageView)] == list(view._views.values())


def test_dragging_through_it_leaves_no_views_behind(qtbot: QtBot, view: ConversationView) -> None:
    view.show_messages(mixed(10_000))
    quiet(qtbot, view)
    made = [weakref.ref(box) for box in view._views.values()]
    bar = view.verticalScrollBar()
    for part in range(20, 0, -1):
        bar.setValue(bar.maximum() * part // 21)
        qtbot.wait(5)
        made += [weakref.ref(box) for box in view._views.values()]
    quiet(qtbot, view)
    assert view._views[first_in_sight(view)].message.content
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    alive = {id(box) for ref in made if (box := ref()) is not None and shiboken6.isValid(box)}
    assert alive <= {id(box) for box in view._views.values()}
    assert len(view.findChildren(MessageView)) == len(view._views) < 40


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_read_stays_while_heights_change(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int], seed: int
) -> None:
    dice = random.Random(seed)
    view.show_messages(numbers(500))
    quiet(qtbot, view)
    bar = view.verticalScrollBar()
    bar.setValue(dice.randint(bar.maximum() // 4, bar.maximum() * 3 // 4))
    quiet(qtbot, view)
    bar.setValue(bar.value() + dice.randint(-300, 300))
    read = first_in_sight(view)
    before = top_of(view, read)
    for _ in range(30):
        box = dice.choice([box for known, box in view._views.items() if known != read])
        assert isinstance(box, Box)
        box.want(dice.randint(10, 900))
        if dice.random() < 0.4:
            QApplication.sendPostedEvents()
        quiet(qtbot, view)
        QApplication.sendPostedEvents()
        assert top_of(view, read) == before
        quiet(qtbot, view)
        assert top_of(view, read) == before


@pytest.mark.parametrize("seed", SEEDS)
def test_scrolling_up_by_steps_moves_what_is_read_by_those_steps(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int], seed: int
) -> None:
    dice = random.Random(seed)
    view.show_messages(numbers(300))
    quiet(qtbot, view)
    bar = view.verticalScrollBar()
    for _ in range(25):
        read = first_in_sight(view)
        before, pixels = top_of(view, read), dice.randint(1, 250)
        bar.setValue(bar.value() - pixels)
        assert top_of(view, read) == before + pixels
        quiet(qtbot, view)
        if read in view._views:
            assert top_of(view, read) == before + pixels


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_there_stays_when_what_is_above_it_comes_only_later(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int], seed: int
) -> None:
    view.show_messages(numbers(300))
    quiet(qtbot, view)
    first = min(view._views)
    bar = view.verticalScrollBar()
    bar.setValue(bar.value() + top_of(view, first) - 300 - 20 * seed)
    before = top_of(view, first)
    assert before == 300 + 20 * seed
    quiet(qtbot, view)
    assert min(view._views) < first
    assert top_of(view, first) == before


def test_a_long_message_that_changes_above_what_is_read_says_so(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    boxes[50] = 4_000
    view.show_messages(numbers(100))
    view.jump_to(50, 2_000)
    quiet(qtbot, view)
    box = view._views[50]
    assert isinstance(box, Box)
    before = box.y()
    box.shifted.emit(50, 100, 70)
    box.want(4_070)
    QApplication.sendPostedEvents()
    assert box.y() == before - 70
    box.shifted.emit(50, 3_500, 70)
    box.want(4_140)
    QApplication.sendPostedEvents()
    assert box.y() == before - 70


def test_another_width_keeps_the_place(qtbot: QtBot, view: ConversationView) -> None:
    view.show_messages(mixed(400))
    quiet(qtbot, view)
    view.jump_to(201)
    quiet(qtbot, view)
    view.verticalScrollBar().setValue(view.verticalScrollBar().value() + 180)
    quiet(qtbot, view)
    read = first_in_sight(view)
    before, height = top_of(view, read), view._views[read].height()
    for width in (520, 430, 900):
        view.resize(width, 600)
        quiet(qtbot, view)
        qtbot.waitUntil(lambda: not view._resized.isActive())
        quiet(qtbot, view)
        assert first_in_sight(view) in (read, read + 1)
        assert view._views[read].width() == view._column.width
    assert view._views[read].height() == height
    assert abs(top_of(view, read) - before) <= 30


def test_the_end_is_followed_until_the_reader_scrolls_up(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    streaming = message(41, state=MessageState.STREAMING)
    view.show_messages([*numbers(40), streaming])
    quiet(qtbot, view)
    box = view._views[41]
    assert isinstance(box, Box)
    for height in range(800, 3_000, 300):
        box.want(height)
        QApplication.sendPostedEvents()
        assert at_end(view)
    assert not view._jump.isVisible()
    bar = view.verticalScrollBar()
    bar.setValue(bar.maximum() - 400)
    assert view._jump.isVisible()
    before = top_of(view, 41)
    box.want(5_000)
    QApplication.sendPostedEvents()
    assert top_of(view, 41) == before
    view._jump.click()
    assert at_end(view)
    assert not view._jump.isVisible()


def test_keys_go_to_both_ends_and_page_by_page(qtbot: QtBot, view: ConversationView) -> None:
    view.show_messages(mixed(2_000))
    quiet(qtbot, view)
    bar = view.verticalScrollBar()
    qtbot.keyClick(view, Qt.Key.Key_Home)
    quiet(qtbot, view)
    assert bar.value() == 0
    assert next(iter(view._views)) == 1
    qtbot.keyClick(view, Qt.Key.Key_PageDown)
    assert 300 < bar.value() <= view.height()
    qtbot.keyClick(view, Qt.Key.Key_PageUp)
    assert bar.value() == 0
    qtbot.keyClick(view, Qt.Key.Key_End)
    quiet(qtbot, view)
    assert at_end(view)


@pytest.mark.parametrize("target", [1, 2, 250, 499, 500])
def test_a_jump_brings_the_character_near_the_top_and_lights_it_up(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int], target: int
) -> None:
    boxes[target] = 2_000
    view.show_messages(numbers(500))
    quiet(qtbot, view)
    view.jump_to(target, 900)
    place = top_of(view, target) + 900
    assert place == view._canvas.height() // 3
    flash = view._column._flash
    assert flash is not None
    assert flash.message_id == target
    assert flash.geometry().contains(view._views[target].geometry())
    quiet(qtbot, view)
    assert top_of(view, target) + 900 == place
    qtbot.waitUntil(lambda: not flash.isVisible(), timeout=5_000)


def test_a_jump_in_a_hidden_view_is_done_when_it_is_shown(qtbot: QtBot, view: ConversationView) -> None:
    view.hide()
    view.show_messages(mixed(300))
    view.jump_to(100)
    view.jump_to(5_000)  # not of this conversation
    assert not view._views
    view.show()
    qtbot.waitExposed(view)
    assert abs(top_of(view, 100) - view._canvas.height() // 3) <= 1


def test_another_branch_keeps_what_it_shares(qtbot: QtBot, view: ConversationView, boxes: dict[int, int]) -> None:
    boxes.update({49: 150, 50: 100, 51: 120, 150: 100, 250: 100})
    messages = numbers(120)
    view.show_messages(messages)
    view.jump_to(50)
    quiet(qtbot, view)
    kept = {known: box for known, box in view._views.items() if known < 50}
    assert len(kept) > 1
    before = {known: box.y() for known, box in kept.items()}
    heights = [view._column._heights[place] for place in range(49)]
    at = top_of(view, 50)
    for branch in ([message(150, parent_id=49)], [message(250, parent_id=49), *numbers(60, 251)], messages[49:]):
        view.show_messages([*messages[:49], *branch])
        assert top_of(view, branch[0].id) == at
        quiet(qtbot, view)
        assert top_of(view, branch[0].id) == at
        assert all(view._views[known] is box for known, box in kept.items())
        assert {known: box.y() for known, box in kept.items()} == before
        assert [view._column._heights[place] for place in range(49)] == heights
        assert view.last_message == branch[-1]
    assert view._jump.isVisible()


def test_an_edited_question_streams_its_reply_in_place(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    boxes.update({39: 80, 40: 900, 141: 80, 142: 40})
    messages = numbers(40)
    view.show_messages(messages)
    quiet(qtbot, view)
    bar = view.verticalScrollBar()
    bar.setValue(bar.maximum() - 600)
    at = top_of(view, 39)
    assert 0 <= at < 600
    view.show_messages([*messages[:38], message(141, role="user", parent_id=38)])
    view.add_message(message(142, role="assistant", state=MessageState.STREAMING))
    view.verticalScrollBar().setValue(bar.value())
    assert top_of(view, 142) > 0
    box = view._views[142]
    assert isinstance(box, Box)
    box.want(3_000)
    QApplication.sendPostedEvents()
    assert at_end(view)


def test_the_same_branch_again_changes_nothing(qtbot: QtBot, view: ConversationView) -> None:
    messages = mixed(100)
    view.show_messages(messages)
    quiet(qtbot, view)
    view.jump_to(31)
    quiet(qtbot, view)
    views, value = dict(view._views), view.verticalScrollBar().value()
    view.show_messages(mixed(100))
    assert dict(view._views) == views
    assert view.verticalScrollBar().value() == value


def test_another_conversation_is_shown_at_its_end(qtbot: QtBot, view: ConversationView) -> None:
    view.show_messages(mixed(100))
    view.jump_to(3)
    other = [message(number, PROSE, conversation_id=2) for number in range(1_001, 1_061)]
    view.show_messages(other)
    assert at_end(view)
    quiet(qtbot, view)
    assert set(view._views) <= {known.id for known in other}
    view.show_messages([])
    assert view.last_message is None
    assert not view._views
    assert view.verticalScrollBar().maximum() == 0


def test_text_for_a_message_without_a_view_is_there_when_it_gets_one(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    messages = numbers(400)
    messages[2] = message(3, "one", state=MessageState.STREAMING)
    view.show_messages(messages)
    quiet(qtbot, view)
    assert 3 not in view._views
    for word in (" two", " three"):
        view.append_text(3, word)
        view.append_reasoning(3, word.upper())
    view.append_text(9_999, "nobody's")
    view.verticalScrollBar().setValue(0)
    quiet(qtbot, view)
    box = view._views[3]
    assert isinstance(box, Box)
    assert box.message.content == "one two three"
    assert box.message.reasoning == " TWO THREE"
    view.append_text(3, " four")
    view.append_reasoning(3, "!")
    qtbot.waitUntil(lambda: box.appended == [" four"] and box.reasoned == ["!"])
    view.jump_to_latest()
    quiet(qtbot, view)
    assert view._views[3] is box  # it is being written
    view.append_text(3, " five")
    qtbot.waitUntil(lambda: box.appended == [" four", " five"])
    view.change_message(message(3, "one two three four five"))
    quiet(qtbot, view)
    assert 3 not in view._views
    view.verticalScrollBar().setValue(0)
    quiet(qtbot, view)
    assert view._views[3].message.content == "one two three four five"


def test_many_running_replies_out_of_sight_keep_few_views_and_all_text(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    messages = [
        message(number, "x", "assistant", state=MessageState.STREAMING) if number <= 30 else message(number)
        for number in range(1, 301)
    ]
    view.show_messages(messages)
    view.jump_to(1)
    for number in range(1, 31):
        view.jump_to(number)
    quiet(qtbot, view)
    for number in range(1, 31):
        view.append_text(number, f" tail {number}")
    view.jump_to_latest()
    quiet(qtbot, view)
    assert sum(number in view._views for number in range(1, 31)) <= 8
    view.jump_to(1)
    quiet(qtbot, view)
    box = view._views[1]
    assert isinstance(box, Box)
    assert box.message.content + "".join(box.appended) == "x tail 1"


def test_what_the_user_holds_is_kept_out_of_sight(qtbot: QtBot, view: ConversationView, boxes: dict[int, int]) -> None:
    view.show_messages(numbers(300))
    view.jump_to(100)
    quiet(qtbot, view)
    view.activateWindow()
    selected, focused = view._views[100], view._views[101]
    assert isinstance(selected, Box)
    assert isinstance(focused, Box)
    selected.selected = True
    focused.line.setFocus()
    qtbot.waitUntil(focused.line.hasFocus)
    view.jump_to_latest()
    quiet(qtbot, view)
    assert view._views[100] is selected
    assert view._views[101] is focused
    assert 102 not in view._views
    selected.selected = False
    view.setFocus()
    view.jump_to(1)
    quiet(qtbot, view)
    assert 100 not in view._views
    assert 101 not in view._views


def test_views_know_what_is_in_sight_their_siblings_and_who_is_last(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    counts = dict.fromkeys(range(1, 3_000), (1, 1))
    view.set_sibling_source(lambda message_id: counts[message_id])
    view.show_messages(numbers(200))
    quiet(qtbot, view)
    box = view._views[200]
    assert isinstance(box, Box)
    assert box.is_last
    assert box.siblings == (1, 1)
    assert box.seen[-1] == (-box.y(), view._canvas.height() - box.y())
    counts[200] = (2, 3)
    view.refresh_siblings()
    assert box.siblings == (2, 3)
    told = len(box.seen)
    for _ in range(10):
        view.verticalScrollBar().setValue(view.verticalScrollBar().value() - 3)
    assert len(box.seen) == told  # at most once a frame
    quiet(qtbot, view)
    assert box.seen[-1] == (-box.y(), view._canvas.height() - box.y())
    view.add_message(message(201, role="assistant"))
    assert not box.is_last


def test_what_a_view_asks_for_is_passed_on(qtbot: QtBot, view: ConversationView, boxes: dict[int, int]) -> None:
    view.show_messages(numbers(3))
    box = view._views[3]
    for name, values in (
        ("continue_requested", [3]),
        ("action_triggered", [object()]),
        ("link_activated", ["https://example.org"]),
        ("edit_requested", [3, "other words"]),
        ("regenerate_requested", [3]),
        ("fork_requested", [3]),
        ("sibling_requested", [3, -1]),
        ("tool_answered", [object()]),
    ):
        with qtbot.waitSignal(getattr(view, name)) as passed:
            getattr(box, name).emit(*values)
        assert passed.args == values


def test_a_selection_that_is_dragged_out_of_sight_scrolls_to_what_it_selects(
    qtbot: QtBot, view: ConversationView
) -> None:
    lines = [f"line {number}" for number in range(200)]
    view.show_messages([message(1, "question", "user"), message(2, "\n\n".join(lines), "assistant")])
    quiet(qtbot, view)
    bar = view.verticalScrollBar()
    bar.setValue(0)
    quiet(qtbot, view)
    body = view._views[2].findChild(MarkdownBody)
    start = QPoint(0, 10)
    qtbot.mousePress(body, Qt.MouseButton.LeftButton, pos=start)
    below = body.mapFrom(view, QPoint(200, view.height() + 300))
    qtbot.mouseMove(body, below)
    qtbot.waitUntil(lambda: bar.value() > 1_000, timeout=10_000)
    qtbot.mouseMove(body, body.mapFrom(view, QPoint(2, view.height() // 2)))
    qtbot.mouseRelease(body, Qt.MouseButton.LeftButton, pos=body.mapFrom(view, QPoint(2, view.height() // 2)))
    stopped = bar.value()
    selected = body.selected_markdown().split("\n\n")
    assert selected[:20] == lines[:20]
    assert len(selected) > 30
    qtbot.wait(150)
    assert bar.value() == stopped


def test_tab_goes_through_what_is_in_sight_and_out_again(
    qtbot: QtBot, qapp: QApplication, boxes: dict[int, int], view: ConversationView
) -> None:
    frame = QWidget()
    qtbot.addWidget(frame)
    column = QVBoxLayout(frame)
    before, after = QLineEdit(frame), QLineEdit(frame)
    for widget in (before, view, after):
        column.addWidget(widget)
    QWidget.setTabOrder(before, view)
    QWidget.setTabOrder(view, after)
    boxes.update(dict.fromkeys(range(1, 300), 150))
    frame.resize(900, 700)
    frame.show()
    frame.activateWindow()
    view.show_messages(numbers(200))
    view.jump_to(100)
    quiet(qtbot, view)
    qtbot.waitUntil(lambda: not view._walk._tidy.isActive())
    before.setFocus()
    qtbot.waitUntil(before.hasFocus)
    visited = []
    for _ in range(40):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        now = QApplication.focusWidget()
        if now is after:
            break
        visited.append(now)
    assert QApplication.focusWidget() is after
    assert visited[0] is view
    controls = [widget for widget in visited if widget is not view and widget is not view._jump]
    expected = focus_order.in_sight(view._canvas, focus_order.controls(view._canvas, view._views.values()))
    assert controls == [widget for _spot, widget in expected]
    assert len(controls) >= 6
    for widget in controls:
        assert view._canvas.rect().intersects(widget.rect().translated(widget.mapTo(view._canvas, QPoint())))
    qtbot.keyClick(after, Qt.Key.Key_Backtab)
    back = QApplication.focusWidget()
    assert back in (controls[-1], view._jump)
    seen = []
    while QApplication.focusWidget() is not before and len(seen) < 40:
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Backtab)
        seen.append(QApplication.focusWidget())
    assert seen[-1] is before
    assert seen[-2] is view
    view.setParent(None)  # its end belongs to the fixture


def test_deleting_a_view_with_the_focus_leaves_the_focus_here(
    qtbot: QtBot, view: ConversationView, boxes: dict[int, int]
) -> None:
    view.show_messages(numbers(20))
    view.activateWindow()
    box = view._views[20]
    assert isinstance(box, Box)
    box.line.setFocus()
    qtbot.waitUntil(box.line.hasFocus)
    view.show_messages([message(number, conversation_id=2) for number in range(500, 520)])
    assert view.hasFocus()
