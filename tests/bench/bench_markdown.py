"""The Markdown of a reply while it streams: cost of a token, stalls, and against QTextBrowser.setMarkdown.

In real time, 1,000 tokens a second, one append a frame: a slower or faster clock would change how often it is redrawn.
"""

from __future__ import annotations

import json
import random
import re
import time

from PySide6.QtCore import QCoreApplication, QEventLoop, QTimer, Slot
from PySide6.QtWidgets import QApplication, QScrollArea, QTextBrowser

from desktop import startup
from desktop.services.garbage_collector import GarbageCollector
from desktop.ui.markdown.body import MarkdownBody
from desktop.ui.markdown.formulas import formulas
from desktop.ui.markdown.preload import preload
from tests.bench.bench_streaming import StallMeter

TOKEN = 4  # characters
RATE = 1_000  # tokens a second
FRAME_MS = 16
LONG, SHORT, COMPARED = 100_000, 1_000, 10_000  # tokens
SHORT_ROUNDS = 8
WIDTH, HEIGHT = 720, 800

_WORDS = (
    "the",
    "model",
    "reads",
    "a",
    "token",
    "and",
    "writes",
    "another",
    "one",
    "while",
    "memory",
    "fills",
    "with",
    "keys",
    "and",
    "values",
    "of",
    "every",
    "layer",
)


class Pane(QScrollArea):
    """Shows a body and follows its end, as the chat does."""

    def __init__(self) -> None:
        super().__init__()
        self.resize(WIDTH + 20, HEIGHT)
        self.body = MarkdownBody(WIDTH)
        self.setWidget(self.body)
        self.body.height_changed.connect(self._on_height)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.show()

    @Slot()
    def _on_height(self) -> None:
        self.body.resize(WIDTH, self.body.sizeHint().height())
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())
        self._on_scrolled()

    @Slot()
    def _on_scrolled(self) -> None:
        top = self.verticalScrollBar().value()
        self.body.set_visible_range(top, top + self.viewport().height())


def reply(tokens: int) -> str:
    """A reply with paragraphs, lists, code, tables and formulas in turn."""
    rng = random.Random(7)
    sentence = lambda n: " ".join(rng.choice(_WORDS) for _ in range(n)).capitalize() + ". "  # noqa: E731
    parts: list[str] = []
    size = number = 0
    while size < tokens * TOKEN:
        number += 1
        part = {
            0: f"## Section {number}\n\n" + "".join(sentence(14) for _ in range(4)) + "It is **bold** and `code`.\n\n",
            1: "".join(f"{i}. {sentence(12)}\n   - {sentence(8)}\n" for i in range(1, 8)) + "\n",
            2: "```python\n"
            + "".join(f"def step_{number}_{i}(x: int) -> int:\n    return x * {i}  # next\n" for i in range(12))
            + "```\n\n",
            3: "| Layer | Keys | Values |\n|:--|--:|--|\n"
            + "".join(f"| {i} | {i * number} | *{sentence(3)[:-2]}* |\n" for i in range(10))
            + "\n",
            4: f"Where $a_{{{number}}} = \\frac{{1}}{{{number}}}$ holds, "
            + sentence(20)
            + f"\n\n$$\n\\sum_{{i=0}}^{{{number}}} x_i^2\n$$\n\n",
        }[number % 5]
        parts.append(part)
        size += len(part)
    return "".join(parts)[: tokens * TOKEN]


def stream(text: str, pane: Pane) -> tuple[float, list[float]]:
    """Seconds of CPU of this thread, and the stalls in ms, while the text comes in real time."""
    meter, loop, timer = StallMeter(), QEventLoop(), QTimer()
    meter._timer.setInterval(4)  # so that measuring costs next to nothing
    timer.setTimerType(timer.timerType().PreciseTimer)
    at = 0
    began = time.perf_counter()

    def on_frame() -> None:
        nonlocal at
        upto = int((time.perf_counter() - began) * RATE) * TOKEN
        if upto > at:
            pane.body.append_text(text[at:upto])
            at = min(upto, len(text))
        if at >= len(text):
            timer.stop()
            pane.body.finish()
            QTimer.singleShot(300, loop.quit)

    timer.timeout.connect(on_frame)
    cpu = time.thread_time()
    meter.start()
    timer.start(FRAME_MS)
    loop.exec()
    meter.stop()
    return time.thread_time() - cpu, sorted(meter.gaps)


def browser_cost(text: str) -> float:
    """Seconds of CPU to give QTextBrowser the whole text so far once for each frame of the same stream."""
    browser = QTextBrowser()
    browser.resize(WIDTH, HEIGHT)
    browser.show()
    cpu = time.thread_time()
    step = RATE * FRAME_MS * TOKEN // 1000
    for end in range(step, len(text) + step, step):
        browser.setMarkdown(text[:end])
        browser.verticalScrollBar().setValue(browser.verticalScrollBar().maximum())
        QCoreApplication.processEvents()
    return time.thread_time() - cpu


def measure() -> dict[str, float]:
    """Costs in microseconds of CPU a token, stalls in ms."""
    qt = QApplication.instance() or QApplication([])
    startup.use_pythons_own_import()  # this and the next, as the program does
    collector = GarbageCollector()
    collector.start()
    preload()
    long = reply(LONG)
    stream(reply(SHORT), Pane())  # warm
    short_cost = 0.0
    sections = [match.start() for match in re.finditer("^## ", long, re.MULTILINE)][:-4]
    for start in sections[:: max(1, len(sections) // SHORT_ROUNDS)][:SHORT_ROUNDS]:
        cost, _ = stream(long[start : start + SHORT * TOKEN], Pane())
        short_cost += cost / SHORT_ROUNDS / SHORT
    long_cost, stalls = stream(long, Pane())
    line = " ".join(random.Random(1).choice(_WORDS) for _ in range(5_000))[:20_000]
    _, line_stalls = stream(line, Pane())
    compared, _ = stream(long[: COMPARED * TOKEN], Pane())
    browser = browser_cost(long[: COMPARED * TOKEN])
    formulas().stop()
    qt.processEvents()
    return {
        "long_to_short_ratio": long_cost / LONG / short_cost,
        "short_us_per_token": short_cost * 1e6,
        "long_us_per_token": long_cost / LONG * 1e6,
        "stall_max_ms": stalls[-1],
        "stall_p999_ms": stalls[int(len(stalls) * 0.999)],
        "stall_line_max_ms": line_stalls[-1],
        "browser_ratio": compared / browser,
        "browser_s": browser,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
