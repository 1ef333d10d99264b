"""Opening a conversation of 10,000 messages, and dragging the scroll bar through it, in a process of its own."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desktop.domain.conversation import Message

MESSAGES = 10_000
ROUNDS = 5
STEPS = 300  # of the scroll bar on its way through all messages, one every 16 ms
_PROSE = (
    "The **cache** of keys and values grows with every token, so a long chat takes `more memory` than a short one. "
)
_CODE = "```python\ndef forecast(tokens: int) -> int:\n    # two bytes a value\n    return 2 * tokens * WIDTH\n```\n"
_LIST = "1. Read the *configuration*.\n2. Load the weights.\n3. Measure what is left.\n"


def messages(count: int, conversation: int) -> list[Message]:
    """Questions, and Markdown replies of about 600 characters, every third with code and every fifth with a list."""
    from desktop.domain.conversation import Message

    made = []
    first = conversation * 100_000
    for number in range(count):
        text = f"Question {number}: how much memory does it take, and why?"
        if number % 2:
            text = _PROSE * (3 if number % 3 == 0 else 5)
            text += f"\n\n{_CODE if number % 3 == 0 else ''}\n{_LIST if number % 5 == 0 else ''}\nReply {number}."
        role = "assistant" if number % 2 else "user"
        made.append(
            Message(
                id=first + number,
                conversation_id=conversation,
                parent_id=first + number - 1 if number else None,
                role=role,  # type: ignore[arg-type]
                content=text,
                created_at=0.0,
            )
        )
    return made


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def child() -> dict[str, float]:
    """One process: a short conversation first, so that code and fonts are loaded, and then the long one."""
    from PySide6.QtCore import QCoreApplication, QEvent, QObject, QTimer
    from PySide6.QtWidgets import QApplication

    from desktop.ui.chat.conversation_view import ConversationView
    from desktop.ui.theme import apply_theme

    class Painted(QObject):
        """Whether the viewport was painted."""

        seen = False

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            self.seen = self.seen or event.type() == QEvent.Type.Paint
            return False

    def run_until_still() -> None:
        for _ in range(400):
            QCoreApplication.processEvents()
            time.sleep(0.001)

    app = QApplication([])
    apply_theme(app, "light")
    view = ConversationView()
    view.resize(1000, 700)
    view.show()
    view.show_messages(messages(30, 1))
    run_until_still()
    painted = Painted()
    gc.collect()
    before = resident()
    long = messages(MESSAGES, 2)
    view.viewport().installEventFilter(painted)
    started = time.perf_counter()
    view.show_messages(long)
    shown = time.perf_counter() - started
    painted.seen = False
    while not painted.seen:
        QCoreApplication.processEvents()
    first_paint = time.perf_counter() - started
    view.viewport().removeEventFilter(painted)
    in_sight = len(view._views)
    run_until_still()
    gc.collect()
    opened = resident()

    bar = view.verticalScrollBar()
    turns: list[float] = []
    last = time.perf_counter()
    end = {"step": 0}
    timer = QTimer()
    timer.setInterval(16)

    def on_step() -> None:
        end["step"] += 1
        bar.setValue(bar.maximum() * (STEPS - end["step"]) // STEPS)

    timer.timeout.connect(on_step)
    timer.start()
    bar.setSliderDown(True)
    while end["step"] < STEPS:
        last = time.perf_counter()
        QCoreApplication.processEvents()
        turns.append(time.perf_counter() - last)
        time.sleep(0.0005)
    timer.stop()
    bar.setSliderDown(False)
    run_until_still()
    gc.collect()
    turns.sort()
    return {
        "first_paint_ms": first_paint * 1e3,
        "show_messages_ms": shown * 1e3,
        "growth_mb": (opened - before) / 1e6,
        "growth_after_scroll_mb": (resident() - before) / 1e6,
        "scroll_stall_ms": turns[-1] * 1e3,
        "scroll_stall_p99_ms": turns[int(len(turns) * 0.99)] * 1e3,
        "views_at_first_paint": float(in_sight),
        "views": float(len(view._views)),
    }


def measure() -> dict[str, float]:
    """Medians over ROUNDS processes; milliseconds, and megabytes of resident memory with the messages themselves."""
    rounds = []
    for _ in range(ROUNDS):
        out = subprocess.run(
            [sys.executable, "-m", "tests.bench.bench_long_conversation", "child"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        ).stdout
        rounds.append(json.loads(out.strip().splitlines()[-1]))
    return {key: statistics.median(found[key] for found in rounds) for key in rounds[0]}


if __name__ == "__main__":
    print(json.dumps(child() if sys.argv[1:] == ["child"] else measure()))
