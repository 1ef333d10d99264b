"""16 conversations at once from a scripted child: through the whole window, and drained without one."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QElapsedTimer, QObject, QTimer, Slot

from desktop.domain.engine_config import EngineConfig
from desktop.domain.generation import ChatMessage, GenerationRequest, TextDelta
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.paths import app_paths, demo_checkpoint

CHATS = 16
TOKENS = 1250
PACE = 200.0  # tokens a second and chat, 3,200 in all: what a fast card gives 16 chats
ROUNDS = 3


def scripted(tokens: int = TOKENS, pace: float = PACE) -> ProcessEngine:
    """The child that plays TOKENS tokens at PACE."""
    script = {"tokens": tokens, "tokens_per_second": pace}
    return ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(script)})


class StallMeter(QObject):
    """How late a 1 ms timer of the GUI thread comes, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []
        self._clock = QElapsedTimer()
        self._timer = QTimer(self)
        self._timer.setTimerType(self._timer.timerType().PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._on_timeout)

    def start(self) -> None:
        """Begin to measure anew."""
        self.gaps = []
        self._clock.start()
        self._timer.start()

    def stop(self) -> None:
        """End measuring."""
        self._timer.stop()

    @Slot()
    def _on_timeout(self) -> None:
        self.gaps.append(self._clock.nsecsElapsed() / 1e6)
        self._clock.restart()


async def drain() -> float:
    """Seconds to receive everything without a window."""
    engine = scripted()
    await engine.load(str(demo_checkpoint()), EngineConfig(), lambda progress: None)

    async def one(number: int) -> None:
        messages = (ChatMessage("user", f"chat {number}"),)
        async for event in engine.generate(GenerationRequest(request_id=str(number), messages=messages)):
            assert not isinstance(event, TextDelta) or event.text

    started = time.perf_counter()
    await asyncio.gather(*(one(i) for i in range(CHATS)))
    seconds = time.perf_counter() - started
    await engine.close()
    return seconds


async def through_window() -> tuple[float, list[float], int]:
    """Seconds from the first Send to the last finished reply, the stalls in ms, and how many tokens came wrong."""
    from desktop import startup
    from desktop.app import App
    from desktop.services.engine_status import EngineState

    expected = "".join(f"token{i} " for i in range(TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        startup.use_pythons_own_import()  # as the program does
        app = App(app_paths(Path(folder)), lambda on_log: scripted())
        app.window.resize(1280, 800)
        app.window.show()
        ready, done = asyncio.Event(), asyncio.Event()
        ended: list[int] = []

        def on_status(status: Any) -> None:
            if status.state is EngineState.READY:
                ready.set()

        def on_message(message: Any) -> None:
            if message.role == "assistant" and message.stats is not None:
                ended.append(message.id)
                if len(ended) == CHATS:
                    done.set()

        app.host.status_changed.connect(on_status)
        app.library.message_changed.connect(on_message)
        app.host.reload()
        await ready.wait()
        await asyncio.sleep(0.5)
        meter = StallMeter()
        meter.start()
        started = time.perf_counter()
        conversations = []
        for number in range(CHATS):
            app.window.new_chat()
            app.window.type_message(f"chat {number}")
            app.window.press_send()
            conversations.append(app.library.conversations()[0].id)
            await asyncio.sleep(0)  # each click is an event of its own
        await done.wait()
        seconds = time.perf_counter() - started
        meter.stop()
        wrong = 0
        for conversation in conversations:
            text = app.chats.messages(conversation)[-1].content
            wrong += 0 if text == expected else max(1, abs(len(text.split()) - TOKENS))
        assert len(set(conversations)) == CHATS
        await app.shutdown()
        QCoreApplication.processEvents()
    return seconds, meter.gaps, wrong


def measure() -> dict[str, float]:
    """Medians over ROUNDS; stalls and wrong tokens are the worst of all rounds."""
    import qasync
    from PySide6.QtWidgets import QApplication

    qt = QApplication.instance() or QApplication([])
    with_window, without, gaps, wrong = [], [], [], 0
    for _ in range(ROUNDS):
        with asyncio.Runner() as runner:
            without.append(runner.run(drain()))
        with asyncio.Runner(loop_factory=lambda: qasync.QEventLoop(qt)) as runner:
            seconds, stalls, missed = runner.run(through_window())
        with_window.append(seconds)
        gaps += stalls
        wrong += missed
    gaps.sort()
    ratios = [a / b for a, b in zip(with_window, without, strict=True)]
    return {
        "time_ratio": statistics.median(ratios),
        "with_window_s": statistics.median(with_window),
        "without_window_s": statistics.median(without),
        "wrong_tokens": float(wrong),
        "stall_max_ms": gaps[-1],
        "stall_p99_ms": gaps[int(len(gaps) * 0.99)],
        "stall_p50_ms": gaps[len(gaps) // 2],
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
