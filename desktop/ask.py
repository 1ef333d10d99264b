"""`turbodesk --ask`: drives the real window as a person would, prints the reply as it streams, takes a picture."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from PySide6.QtCore import QObject, Slot

from desktop.domain.conversation import Message, MessageState
from desktop.domain.counting import counted
from desktop.domain.errors import Failure
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.ui.main_window import MainWindow

PAINT_SECONDS = 0.3  # for the last frame and the reading of the gauge


class Ask(QObject):
    """Types the question, presses Send, waits for the end of the reply."""

    def __init__(self, window: MainWindow, host: EngineHost, chats: Chats) -> None:
        super().__init__()
        self._window = window
        self._host = host
        self._chats = chats
        self._ready: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        self._reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._stage = ""
        host.status_changed.connect(self._on_status_changed)
        chats.text_appended.connect(self._on_text_appended)
        chats.library.message_changed.connect(self._on_message_changed)

    async def run_until(self, over: asyncio.Event, question: str, screenshot: Path | None, seconds: float) -> int:
        """run(), given up when `over` is set."""
        asking = asyncio.ensure_future(self.run(question, screenshot, seconds))
        leaving = asyncio.ensure_future(over.wait())
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if asking.done():
            return asking.result()
        asking.cancel()
        print("Turbodesk was ended before the reply was complete.", file=sys.stderr)
        return 1

    async def run(self, question: str, screenshot: Path | None, seconds: float) -> int:
        """Ask; returns the exit code: 0 when the reply is complete, else 1 after a plain sentence on stderr."""
        try:
            async with asyncio.timeout(seconds):
                problem = await self._ask(question)
        except TimeoutError:
            problem = f"There was no complete reply within {seconds:g} s. Give it more with --timeout."
        await asyncio.sleep(PAINT_SECONDS)
        if screenshot is not None and not self._save_picture(screenshot):
            problem = (
                problem or f"The picture could not be written to {screenshot}. Name a .png file in a folder of yours."
            )
        if problem:
            print(problem, file=sys.stderr)
        return 1 if problem else 0

    async def _ask(self, question: str) -> str:
        failure = await self._ready
        if failure is not None:
            return f"{failure.message} {failure.next_step}"
        self._window.new_chat()
        self._window.type_message(question)
        self._window.press_send()
        reply = await self._reply
        _write("\n")
        if reply.stats is not None:
            stats = reply.stats
            print(
                f"[{counted(stats.completion_tokens, 'token')}, {stats.tokens_per_second:.0f} tokens/s, "
                f"first token after {stats.time_to_first_token:.2f} s]",
                file=sys.stderr,
            )
        if reply.failure is not None:
            return f"{reply.failure.message} {reply.failure.next_step}"
        if reply.state is not MessageState.COMPLETE:
            return "The reply was stopped."
        return "" if reply.content.strip() else "The model wrote nothing. Choose an instruct or chat model."

    def _save_picture(self, path: Path) -> bool:
        try:
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        saved = self._window.grab().save(str(path), "PNG")
        if saved:
            print(f"[picture: {path}]", file=sys.stderr)
        return saved

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if status.state is EngineState.LOADING and status.progress is not None:
            if status.progress.stage != self._stage:
                self._stage = status.progress.stage
                print(f"[{self._stage}]", file=sys.stderr, flush=True)
        elif status.state is EngineState.READY and not self._ready.done():
            self._ready.set_result(None)
        elif status.state is EngineState.FAILED and not self._ready.done():
            self._ready.set_result(status.failure)

    @Slot(int, str)
    def _on_text_appended(self, _message_id: int, text: str) -> None:
        _write(text)

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        over = message.role == "assistant" and message.state is not MessageState.STREAMING
        if over and not self._reply.done():
            self._reply.set_result(message)


def _write(text: str) -> None:
    """To stdout; when nobody reads it any more, nowhere."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
