"""Kills (-9) of the window and of the engine at random moments of streaming, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from desktop.domain.conversation import MessageState
from desktop.domain.engine_config import EngineConfig
from desktop.domain.generation import ChatMessage, GenerationFailed, GenerationRequest, ReasoningDelta, TextDelta
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.conversations import ConversationStore
from desktop.storage.paths import app_paths, demo_checkpoint

ROOT = Path(__file__).parents[2]
ALLOWED_LOSS_SECONDS = 0.5
CHILD_GONE_SECONDS = 10.0


def kill_window(rounds: int, seed: int = 0) -> dict[str, float]:
    """Kill the window while it streams; raises AssertionError on the first broken promise.

    No child survives, the database is sound, at most 0.5 s of shown text is missing, the reply is interrupted.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        kills = [_kill_window_once(data, chance.uniform(0.05, 1.5), number + 1) for number in range(rounds)]
    losses = [loss for loss, _ in kills]
    return {
        "rounds": rounds,
        "while_thinking": sum(thinking for _, thinking in kills),
        "lost_text_max_s": max(losses),
        "lost_text_mean_s": sum(losses) / rounds,
    }


def _kill_window_once(data: Path, seconds: float, conversations: int) -> tuple[float, bool]:
    """Seconds of text that are missing, and whether the model still thought."""
    window = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.window_child", str(data)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert window.stdout is not None
    shown: list[tuple[float, int]] = []  # when, and how many tokens were on screen then
    word, _, pid = window.stdout.readline().strip().partition(" ")
    assert word == "pid", word
    count = 0
    stop_at = None
    with window:
        for line in window.stdout:
            now = time.monotonic()
            stop_at = stop_at or now + seconds
            count += len(line.split()) - 1
            shown.append((now, count))
            if now >= stop_at:
                window.kill()
                break
        killed_at = time.monotonic()
    deadline = time.monotonic() + CHILD_GONE_SECONDS
    while psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the engine's process outlived the window"
        time.sleep(0.02)
    path = app_paths(data).conversations
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with contextlib.closing(ConversationStore(path)) as store:
        assert store.recover() == 1
        found = store.conversations()
        assert len(found) == conversations
        question, reply = store.messages(found[0].id).values()
    assert question.content == "a question"
    assert reply.state is MessageState.INTERRUPTED
    thoughts, words = reply.reasoning.split(), reply.content.split()
    assert thoughts == [f"thought{i}" for i in range(len(thoughts))]
    assert words == [f"token{i}" for i in range(len(words))]
    saved = thoughts + words
    # The first text on screen that was not saved was shown so long before the kill.
    unsaved = [when for when, tokens in shown if tokens > len(saved)]
    loss = killed_at - unsaved[0] if unsaved else 0.0
    assert loss <= ALLOWED_LOSS_SECONDS, f"{loss:.2f} s of text is missing"
    return loss, not words


def kill_engine(rounds: int, seed: int = 0) -> dict[str, float]:
    """Kill the engine's process while it loads or streams; every request ends with a failure and keeps its text."""
    return asyncio.run(_kill_engine(rounds, random.Random(seed)))


async def _kill_engine(rounds: int, chance: random.Random) -> dict[str, float]:
    tokens = 0
    for number in range(rounds):
        thoughts = " ".join(f"thought{i}" for i in range(200)) + " "
        script = {"reasoning": thoughts, "tokens": 100_000, "tokens_per_second": 2000, "load_seconds": 0.0}
        engine = ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(script)})
        await engine.load(str(demo_checkpoint()), EngineConfig(), lambda progress: None)
        assert engine.pid is not None
        asyncio.get_running_loop().call_later(chance.uniform(0.0, 0.3), os.kill, engine.pid, signal.SIGKILL)
        replies = await asyncio.gather(*(_read(engine, f"{number}.{i}") for i in range(4)))
        for thought, words, failed in replies:
            assert failed
            assert thought == [f"thought{i}" for i in range(len(thought))]
            assert not words or len(thought) == 200
            assert words == [f"token{i}" for i in range(len(words))]
            tokens += len(thought) + len(words)
        assert await engine.wait_stopped() is not None
        await engine.close()
        assert not psutil.pid_exists(engine.pid)
    return {"rounds": rounds, "tokens_kept": tokens}


async def _read(engine: ProcessEngine, request_id: str) -> tuple[list[str], list[str], bool]:
    """What it thought, what it wrote, and whether it ended with a failure."""
    request = GenerationRequest(request_id=request_id, messages=(ChatMessage("user", "hi"),))
    events = [event async for event in engine.generate(request)]
    thought, text = (
        "".join(event.text for event in events if isinstance(event, kind)) for kind in (ReasoningDelta, TextDelta)
    )
    return thought.split(), text.split(), isinstance(events[-1], GenerationFailed)
