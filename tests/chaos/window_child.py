"""The window that `kill_window` kills: the real App over a scripted engine, saying what it shows.

Run as `python -m tests.chaos.window_child DATA_DIR`. Prints the engine's process id, then one line for each text shown.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import qasync
from PySide6.QtWidgets import QApplication

from desktop.app import App
from desktop.engine.process_engine import ProcessEngine
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.storage.paths import app_paths

# At this rate half of the kills of `kill_window` come while the model still thinks.
SCRIPT = {
    "reasoning": " ".join(f"thought{number}" for number in range(200)) + " ",
    "tokens": 100_000,
    "tokens_per_second": 300,
}


async def main(data_dir: Path) -> None:
    """Load, ask, stream until killed."""
    environment = {"TURBODESK_SCRIPT": json.dumps(SCRIPT)}
    app = App(app_paths(data_dir), lambda on_log: ProcessEngine("scripted", environment))
    app.window.show()
    ready = asyncio.Event()

    def on_status(status: EngineStatus) -> None:
        if status.state is EngineState.READY and status.info is not None:
            print("pid", status.info.pid, flush=True)
            ready.set()

    app.host.status_changed.connect(on_status)
    for appended in (app.chats.reasoning_appended, app.chats.text_appended):
        appended.connect(lambda _id, text: print("text", text, flush=True))
    app.host.reload()
    await ready.wait()
    app.window.type_message("a question")
    app.window.press_send()
    await asyncio.Event().wait()


if __name__ == "__main__":
    qt = QApplication([])
    with asyncio.Runner(loop_factory=lambda: qasync.QEventLoop(qt)) as runner:
        runner.run(main(Path(sys.argv[1])))
