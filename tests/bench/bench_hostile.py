"""The longest stall of the GUI thread while the window shows what means harm: streamed, opened, scrolled and pasted."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtGui import QGuiApplication

from desktop.domain.conversation import Message
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.storage.paths import app_paths
from tests.bench.bench_streaming import StallMeter, scripted
from tests.hostile_texts import HOSTILE

SIZE = 10_000_000  # characters of the large ones
LARGE = {
    "10 MB of words": "some words of a text without an end. " * (SIZE // 37),
    "10 MB of paragraphs": "Some words of a paragraph, **bold** and `code`.\n\n" * (SIZE // 49),
    "10 MB in one line": "x" * SIZE,
    "10 MB of list items": "- item of a list\n" * (SIZE // 17),
    "10 MB of code": "```python\n" + "x = 1  # comment\n" * (SIZE // 17) + "```",
    "10 MB of code in one line": "```\n" + "x" * SIZE + "\n```",
}
PLACES = (0.0, 0.5, 0.75, 1.0)  # of the way down, that a reply is scrolled to
SETTLE_SECONDS = 1.0


async def _measure() -> dict[str, float]:
    from desktop import startup
    from desktop.app import App
    from desktop.services.engine_status import EngineState

    stalls: dict[str, float] = {}
    script: list[Script] = []
    with tempfile.TemporaryDirectory() as folder:
        startup.use_pythons_own_import()  # as the program does
        app = App(app_paths(Path(folder)), lambda on_log: ScriptedEngine(script[0]) if script else scripted(pace=5_000))
        app.window.resize(1280, 800)
        app.window.show()
        app._garbage.start()  # as App.main() does
        ready = asyncio.Event()
        app.host.status_changed.connect(lambda status: ready.set() if status.state is EngineState.READY else None)

        async def idle() -> None:
            await asyncio.sleep(0.05)
            while app.chats.generating_count:
                await asyncio.sleep(0.02)
            await asyncio.sleep(SETTLE_SECONDS)

        async def watch(name: str, act: Callable[[], object]) -> None:
            meter = StallMeter()
            meter.start()
            act()
            await idle()
            meter.stop()
            stalls[name] = max(meter.gaps)
            print(f"{name:<34} {stalls[name]:8.1f} ms", flush=True)

        async def reload() -> None:
            ready.clear()
            app.host.reload()
            await ready.wait()
            await asyncio.sleep(0.3)

        for name, text in HOSTILE.items():
            script[:] = [Script(reply=text, tokens_per_second=5_000)]
            await reload()
            app.window.new_chat()
            app.window.type_message("Go")
            await watch(f"streamed: {name}", app.window.press_send)
            conversation = app.chats.library.conversations()[0].id
            app.window.new_chat()
            await asyncio.sleep(0.2)
            await watch(f"opened: {name}", partial(app.window.chat_page.open_conversation, conversation))
        script.clear()
        await reload()  # from here on a child, as with a real engine, which counts the tokens of 10 MB
        for name, text in LARGE.items():
            app.window.new_chat()
            app.window.chat_page.composer.edit.setFocus()
            QGuiApplication.clipboard().setText(text)
            await watch(f"pasted: {name}", app.window.chat_page.composer.edit.paste)
            await watch(f"sent: {name}", app.window.press_send)
            for role in ("user", "assistant"):
                conversation = app.library.add_conversation(name)
                message = Message(
                    id=0, conversation_id=conversation, parent_id=None, role=role, content=text, created_at=0
                )
                app.library.add_message(message)
                written = threading.Event()
                app._writer.post(lambda _, written=written: written.set())
                await asyncio.to_thread(written.wait)  # 10 MB are indexed for seconds, which is not what is measured
                await watch(f"opened ({role}): {name}", partial(app.window.chat_page.open_conversation, conversation))
            bar = app.window.chat_page.view.verticalScrollBar()
            for place in PLACES:
                await watch(f"scrolled to {place:.0%}: {name}", partial(bar.setValue, round(bar.maximum() * place)))
        await app.shutdown()
    return stalls


def measure() -> dict[str, float]:
    """Stalls in ms."""
    import qasync
    from PySide6.QtWidgets import QApplication

    qt = QApplication.instance() or QApplication([])
    with asyncio.Runner(loop_factory=lambda: qasync.QEventLoop(qt)) as runner:
        stalls = runner.run(_measure())
    return {"stall_max_ms": max(stalls.values()), **stalls}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
