"""The child process's main: runs one engine and speaks the wire protocol on its standard streams.

Started as `python -m desktop.engine.child ENGINE`. Frames come on stdin and leave on what was stdout; everything that
libraries print goes to stderr. The process ends when its stdin closes, so that no orphan keeps video memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from io import FileIO
from typing import NoReturn

import msgspec

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.generation import GenerationEvent, GenerationFailed, GenerationRequest
from desktop.engine import wire
from desktop.engine.base import Engine
from desktop.engine.coalescer import TextCoalescer
from desktop.engine.framing import FrameError

SCRIPT_VARIABLE = "TURBODESK_SCRIPT"
ORPHAN_GRACE_SECONDS = 2.0


def make_engine(name: str) -> Engine:
    """The engine called `name`: "lmdeploy", "openai" with its key in TURBODESK_SERVER_KEY, or "scripted" with its
    script as JSON in TURBODESK_SCRIPT.
    """
    if name == "scripted":
        from desktop.engine.scripted_engine import Script, ScriptedEngine

        return ScriptedEngine(msgspec.json.decode(os.environ.get(SCRIPT_VARIABLE, "{}"), type=Script))
    if name == "openai":
        from desktop.engine.openai_engine import KEY_VARIABLE, OpenAIEngine

        return OpenAIEngine(os.environ.pop(KEY_VARIABLE, ""))
    from desktop.engine.lmdeploy_engine import LMDeployEngine

    return LMDeployEngine()


class Child:
    """Serves one engine until Close, the end of stdin, or a failed load."""

    def __init__(self, engine: Engine, out: FileIO) -> None:
        self._engine = engine
        self._out = out
        self._coalescer = TextCoalescer(self._send_events)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer messages until it is over."""
        reading = asyncio.create_task(self._read(reader))
        await self._over.wait()
        reading.cancel()
        self._coalescer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await wire.read_to_child(reader)) is not None:
                if isinstance(message, wire.Close):
                    break
                self._start(message)
        except FrameError as problem:
            print(f"turbodesk: the window sent a bad frame: {problem}", file=sys.stderr)
        finally:
            self._over.set()

    def _start(self, message: wire.ToChild) -> None:
        if isinstance(message, wire.Load):
            work = self._load(message)
        elif isinstance(message, wire.Generate):
            work = self._generate(message.request)
        elif isinstance(message, wire.Cancel):
            work = self._engine.cancel(message.request_id)
        elif isinstance(message, wire.CountTokens):
            work = self._count_tokens(message)
        else:
            work = self._read_statistics()
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, message: wire.Load) -> None:
        try:
            info = await self._engine.load(message.checkpoint, message.config, self._send)
        except TurbodeskError as problem:
            self._send(wire.LoadFailed(problem.failure))
            self._over.set()
            return
        except Exception as problem:
            detail = traceback.format_exc()
            self._send(wire.LoadFailed(failure(FailureCode.LOAD_FAILED, reason=problem, detail=detail)))
            self._over.set()
            return
        self._send(wire.Loaded(info))
        if (gone := await self._engine.wait_stopped()) is not None:
            self._send(wire.Stopped(gone))
            self._over.set()

    async def _generate(self, request: GenerationRequest) -> None:
        try:
            async for event in self._engine.generate(request):
                self._coalescer.put(event)
        except Exception as problem:
            detail = traceback.format_exc()
            broken = failure(FailureCode.REQUEST_FAILED, reason=problem, detail=detail)
            self._coalescer.put(GenerationFailed(request.request_id, broken))

    async def _read_statistics(self) -> None:
        try:
            statistics = await self._engine.statistics()
        except TurbodeskError:
            statistics = None
        self._send(wire.StatisticsRead(statistics))

    async def _count_tokens(self, message: wire.CountTokens) -> None:
        try:
            answer = wire.TokensCounted(message.number, await self._engine.count_tokens(message.request))
        except TurbodeskError as problem:
            answer = wire.TokensCounted(message.number, failure=problem.failure)
        except Exception as problem:
            broken = failure(FailureCode.REQUEST_FAILED, reason=problem, detail=traceback.format_exc())
            answer = wire.TokensCounted(message.number, failure=broken)
        self._send(answer)

    def _send_events(self, events: list[GenerationEvent]) -> None:
        self._write(b"".join(wire.encode(event) for event in events))

    def _send(self, message: wire.FromChild) -> None:
        self._write(wire.encode(message))

    def _write(self, data: bytes) -> None:
        # A blocking write: when the window does not read, the engine waits. A window that is gone closes our stdin too.
        with contextlib.suppress(BrokenPipeError):
            write_whole(self._out, data)


async def _run(name: str, frames_in: FileIO, out: FileIO) -> None:
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), frames_in)
    await Child(make_engine(name), out).serve(reader)
    _leave(0)  # from here: asyncio would wait for a thread that is still loading


def take_streams() -> tuple[FileIO, FileIO]:
    """The real stdin and stdout, for frames. What is printed goes to stderr; who asks on stdin finds nobody there."""
    frames_in, out = FileIO(os.dup(0), "rb"), FileIO(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    return frames_in, out


def write_whole(out: FileIO, data: bytes) -> None:
    """Write all of it: a raw write may take only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[out.write(rest) :]


def end_when_orphaned(frames_in: int) -> None:
    """Wait for the window to hang up; if the loop has not ended the process a moment later, end the whole group."""
    poll = select.poll()
    poll.register(frames_in, 0)  # POLLHUP and POLLERR are always reported
    poll.poll()
    time.sleep(ORPHAN_GRACE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Take the real stdin and stdout for frames, then serve."""
    # Before torch is imported: threads that spin while they wait made a step on a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    frames_in, out = take_streams()
    watch = threading.Thread(target=end_when_orphaned, args=(frames_in.fileno(),), name="orphan-watch", daemon=True)
    watch.start()
    try:
        asyncio.run(_run(sys.argv[1] if len(sys.argv) > 1 else "lmdeploy", frames_in, out))
    except BaseException:
        traceback.print_exc()
        _leave(1)


def _leave(code: int) -> NoReturn:
    """End at once: video memory comes back for certain only then, and native threads must not keep the process."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
