"""The child process's life: crashes, hangs, orphans, garbage."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import (
    ChatMessage,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    TextDelta,
)
from desktop.engine import child_log, process_engine, wire
from desktop.engine.base import LoadProgress
from desktop.engine.child_log import ChildLog
from desktop.engine.process_engine import ProcessEngine

REQUEST = GenerationRequest(request_id="r", messages=(ChatMessage("user", "hi"),))


def scripted(**script: object) -> ProcessEngine:
    return ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(script)})


def child_of(source: str) -> ProcessEngine:
    """An engine whose child runs `source` instead of the real child."""
    engine = ProcessEngine()
    engine._command = (sys.executable, "-c", source)
    return engine


async def load(engine: ProcessEngine) -> None:
    await engine.load("/model", EngineConfig(), lambda progress: None)


def variables(engine: ProcessEngine) -> dict[str, str]:
    """What the child was started with, as the system has it."""
    lines = Path(f"/proc/{engine.pid}/environ").read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


async def run(engine: ProcessEngine) -> list[GenerationEvent]:
    return [event async for event in engine.generate(REQUEST)]


def gone(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


async def test_a_child_that_is_killed_while_loading() -> None:
    engine = scripted(load_seconds=60)
    loading = asyncio.create_task(load(engine))
    while engine.pid is None:
        await asyncio.sleep(0.01)
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(TurbodeskError) as caught:
        await loading
    assert caught.value.failure.code is FailureCode.ENGINE_DIED
    assert "while the model was loading" in caught.value.failure.message
    assert "SIGKILL" in caught.value.failure.message


async def test_progress_names_the_process_that_loads() -> None:
    engine = scripted()
    progress: list[LoadProgress] = []
    info = await engine.load("/model", EngineConfig(), progress.append)
    assert {step.pid for step in progress[1:]} == {info.pid} == {engine.pid}
    await engine.close()


async def test_a_child_that_ends_while_loading() -> None:
    with pytest.raises(TurbodeskError) as caught:
        await load(scripted(exit_while_loading=True))
    assert "exit code 3" in caught.value.failure.message


async def test_a_child_that_is_killed_while_streaming_keeps_what_was_sent() -> None:
    engine = scripted(tokens=100_000, tokens_per_second=2000)
    await load(engine)
    events = []
    async for event in engine.generate(REQUEST):
        events.append(event)
        if len(events) == 5:
            os.kill(engine.pid, signal.SIGKILL)
    *deltas, last = events
    assert isinstance(last, GenerationFailed)
    assert last.failure.code is FailureCode.ENGINE_DIED
    words = "".join(event.text for event in deltas if isinstance(event, TextDelta)).split()
    assert words == [f"token{i}" for i in range(len(words))]
    assert (await engine.wait_stopped()).code is FailureCode.ENGINE_DIED
    assert isinstance((await run(engine))[0], GenerationFailed)
    await engine.close()


async def test_the_death_of_an_idle_child_is_noticed() -> None:
    engine = scripted()
    await load(engine)
    os.kill(engine.pid, signal.SIGSEGV)
    failure = await engine.wait_stopped()
    assert failure.code is FailureCode.ENGINE_DIED
    assert "SIGSEGV" in failure.message
    await engine.close()


async def test_what_the_child_printed_last_goes_with_its_failure() -> None:
    lines: list[str] = []
    source = "import sys; print('[TM][FATAL] CUDA runtime error: out of memory', file=sys.stderr); sys.exit(134)"
    engine = child_of(source)
    engine._log = ChildLog(lines.append)
    with pytest.raises(TurbodeskError) as caught:
        await load(engine)
    assert caught.value.failure.code is FailureCode.VIDEO_MEMORY_EXHAUSTED
    assert "[TM][FATAL]" in caught.value.failure.detail
    assert lines == engine.log


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"Traceback (most recent call last):\n  garbage\n", id="text"),
        pytest.param(struct.pack(">I", 1000) + b"short", id="truncated"),
        pytest.param(struct.pack(">I", 2**32 - 1), id="absurd length"),
        pytest.param(struct.pack(">I", 3) + b"\xc1\xc1\xc1", id="no MessagePack"),
        pytest.param(struct.pack(">I", 1) + b"\x80", id="a map without a type"),
        pytest.param(b"\x00\x00", id="truncated length"),
        pytest.param(wire.encode(TextDelta("r", "ab", 1)).replace(b"ab", b"\xff\xfe"), id="text that is not UTF-8"),
    ],
)
async def test_garbage_on_the_wire_is_a_failure_and_never_a_guess(
    frames: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_engine, "CLOSE_SECONDS", 0.3)
    engine = child_of(f"import os, time; os.write(1, {frames!r}); os.close(1); time.sleep(60)")
    with pytest.raises(TurbodeskError) as caught:
        await load(engine)
    assert caught.value.failure.code is FailureCode.ENGINE_BROKE_PROTOCOL
    assert gone(engine.pid)


async def test_cancelling_a_load_ends_the_child() -> None:
    engine = scripted(load_seconds=60)
    loading = asyncio.create_task(load(engine))
    while engine.pid is None:
        await asyncio.sleep(0.01)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert gone(engine.pid)


async def test_close_kills_a_child_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_engine, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(process_engine, "TERMINATE_SECONDS", 0.2)
    engine = scripted(block_after=3)
    await load(engine)
    reading = asyncio.create_task(run(engine))
    await asyncio.sleep(0.2)
    await engine.close()
    assert gone(engine.pid)
    assert isinstance((await reading)[-1], GenerationFailed | GenerationFinished)
    assert await engine.wait_stopped() is None


async def test_close_also_ends_what_the_engine_had_started() -> None:
    source = """
import subprocess, sys, os, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("grandchild", grandchild.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""
    engine = child_of(source)
    loading = asyncio.create_task(load(engine))
    while not engine.log:
        await asyncio.sleep(0.01)
    grandchild = int(engine.log[0].split()[1])
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert gone(grandchild)


@pytest.mark.parametrize("script", [{"tokens_per_second": 10}, {"block_after": 2}], ids=["streaming", "hanging"])
def test_no_child_outlives_a_window_that_is_killed(script: dict[str, int]) -> None:
    source = f"""
import asyncio, json
from desktop.engine.process_engine import ProcessEngine
from tests.engine.test_process_engine import REQUEST, load, run, scripted

async def main():
    engine = scripted(**json.loads({json.dumps(json.dumps(script))}))
    await load(engine)
    print(engine.pid, flush=True)
    await run(engine)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=root) as window:
        pid = int(window.stdout.readline())
        time.sleep(0.3)
        window.kill()
    assert gone(pid)


async def test_a_library_that_asks_on_stdin_finds_nobody() -> None:
    """The frames stay ours: whatever reads standard input in the child gets its end, not a message."""
    source = """
import sys
sys.argv = ["child", "scripted"]
from desktop.engine import child
make = child.make_engine
def asking(name):
    print("answer:", repr(sys.stdin.read()), file=sys.stderr, flush=True)
    print("this goes to the log")
    return make(name)
child.make_engine = asking
child.main()
"""
    engine = child_of(source)
    await load(engine)
    assert engine.log == ["answer: ''", "this goes to the log"]
    assert isinstance((await run(engine))[-1], GenerationFinished)
    await engine.close()


async def test_a_message_that_is_too_large_fails_its_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scripted(tokens=3)
    await load(engine)
    monkeypatch.setattr("desktop.engine.framing.MAX_FRAME_BYTES", 10_000)
    huge = GenerationRequest(request_id="huge", messages=(ChatMessage("user", "x" * 20_000),))
    (event,) = [event async for event in engine.generate(huge)]
    assert event.failure.code is FailureCode.REQUEST_INVALID
    assert isinstance((await run(engine))[-1], GenerationFinished)
    await engine.close()


async def test_a_crash_in_the_middle_of_a_frame_is_told_as_a_crash() -> None:
    words = "CUDA runtime error: out of memory"
    engine = child_of(f"import os, sys; print({words!r}, file=sys.stderr); os.write(1, bytes(2)); os.abort()")
    with pytest.raises(TurbodeskError) as caught:
        await load(engine)
    assert caught.value.failure.code is FailureCode.VIDEO_MEMORY_EXHAUSTED


async def test_frames_stay_whole_when_the_child_is_stopped_and_goes_on() -> None:
    """A full pipe and a stop signal make a write take a part of the data only."""
    engine = scripted(tokens=60_000)
    await load(engine)
    assert engine.pid is not None
    events = []
    async for event in engine.generate(REQUEST):
        events.append(event)
        if len(events) % 20 == 1:
            time.sleep(0.02)  # noqa: ASYNC251  # the reader stands still, so that the pipe fills up
            os.kill(engine.pid, signal.SIGSTOP)
            os.kill(engine.pid, signal.SIGCONT)
    assert isinstance(events[-1], GenerationFinished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "".join(f"token{i} " for i in range(60_000))
    await engine.close()


async def test_a_flood_of_log_lines_is_thinned_out() -> None:
    lines: list[str] = []
    source = (
        "import sys, time; [print('line', i, file=sys.stderr) for i in range(20_000)]; time.sleep(1.2); print('end')"
    )
    engine = child_of(source.replace("print('end')", "print('end', file=sys.stderr)"))
    engine._log = ChildLog(lines.append)
    with pytest.raises(TurbodeskError):
        await load(engine)
    assert lines[-1] == "end"
    assert any("lines left out" in line for line in lines)
    assert len(lines) < 5 * child_log.LOG_LINES_A_SECOND
    assert engine.log[-1] == "end"
    assert engine.log[-2] == "line 19999"


async def test_counts_that_are_open_end_with_the_child() -> None:
    engine = scripted(tokens=10, block_after=0)
    await load(engine)
    replying = asyncio.create_task(run(engine))
    await asyncio.sleep(0.3)  # the child stands still now, and answers nothing
    counting = [asyncio.create_task(engine.count_tokens(REQUEST)) for _ in range(3)]
    counting[0].cancel()
    await asyncio.sleep(0)
    assert engine.pid is not None
    os.killpg(engine.pid, signal.SIGKILL)
    for count in counting[1:]:
        with pytest.raises(TurbodeskError) as caught:
            await count
        assert caught.value.failure.code is FailureCode.ENGINE_NOT_READY
    assert isinstance((await replying)[-1], GenerationFailed)
    with pytest.raises(TurbodeskError):
        await engine.count_tokens(REQUEST)
    await engine.close()


async def test_the_child_sees_the_chosen_cards_from_its_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # by the user, for this program
    for config, seen in (
        (EngineConfig(), "3"),
        (EngineConfig(devices=(1,), card_uuids=("MIG-fake-0-4",)), "MIG-fake-0-4"),
        (EngineConfig(tp=2, devices=(2, 0), card_uuids=("GPU-c", "GPU-a")), "GPU-c,GPU-a"),
    ):
        engine = scripted()
        await engine.load("/model", config, lambda progress: None)
        assert variables(engine)["CUDA_VISIBLE_DEVICES"] == seen
        await engine.close()


async def test_no_child_is_started_for_a_model_split_over_instances() -> None:
    engine = scripted()
    config = EngineConfig(tp=2, devices=(0, 1), card_uuids=("MIG-a", "MIG-b"))
    with pytest.raises(TurbodeskError) as caught:
        await engine.load("/model", config, lambda progress: None)
    assert "one MIG instance only" in caught.value.failure.message
    assert engine.pid is None
