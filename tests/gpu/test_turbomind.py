"""TurboMind for real: 16 bit, AWQ, int4 and int8 KV cache, two chats, cancel, a killed child, memory given back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationEvent,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    SamplingParams,
    TextDelta,
)
from desktop.engine.base import EngineInfo
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.paths import demo_checkpoint
from tests.gpu.conftest import used_bytes

pytestmark = pytest.mark.gpu
DEMO = str(demo_checkpoint())
QUESTION = "What is the KV cache?"
SMALL = {"cache_max_entry_count": 0.02, "max_batch_size": 4, "session_len": 2048}
MEBIBYTE = 2**20
Record = Callable[[str, object], None]


@asynccontextmanager
async def engine_for(path: str, **config: object) -> AsyncIterator[tuple[ProcessEngine, EngineInfo]]:
    engine = ProcessEngine(on_log=print)
    settings = EngineConfig(**{"backend": Backend.TURBOMIND, **SMALL, **config})
    info = await engine.load(path, settings, lambda progress: None)
    try:
        yield engine, info
    finally:
        await engine.close()


def ask(request_id: str = "r", text: str = QUESTION, **params: object) -> GenerationRequest:
    sampling = SamplingParams(**{"temperature": 0.0, "max_new_tokens": 300, **params})
    return GenerationRequest(request_id=request_id, messages=(ChatMessage("user", text),), params=sampling)


async def run(engine: ProcessEngine, request: GenerationRequest) -> tuple[str, GenerationEvent]:
    events = [event async for event in engine.generate(request)]
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


def memory_is_back(before: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if used_bytes() <= before + 2 * MEBIBYTE:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("fp16", {"dtype": "float16"}),
        ("bf16", {"dtype": "bfloat16"}),
        ("kv8", {"quant_policy": 8}),
        ("kv4", {"quant_policy": 4}),
        ("prefix caching", {"enable_prefix_caching": True}),
    ],
)
async def test_the_demo_model_answers(name: str, config: dict[str, object], record: Record) -> None:
    before = used_bytes()
    async with engine_for(DEMO, **config) as (engine, info):
        assert info.backend is Backend.TURBOMIND
        assert info.reason.startswith("TurboMind on ")
        text, end = await run(engine, ask())
        assert isinstance(end, GenerationFinished)
        assert end.reason is FinishReason.STOP
        assert "KV cache" in text
        record(f"{name}: load s", info.load_seconds)
        record(f"{name}: tokens/s", end.stats.tokens_per_second)
        record(f"{name}: first token s", end.stats.time_to_first_token)
        record(f"{name}: MiB while loaded", (used_bytes() - before) / MEBIBYTE)
        record(f"{name}: answer", text)
    assert memory_is_back(before)
    record(f"{name}: MiB left after unload", (used_bytes() - before) / MEBIBYTE)


@pytest.mark.parametrize("quant_policy", [0, 8, 4])
async def test_awq(awq_checkpoint: Path, quant_policy: int, record: Record) -> None:
    async with engine_for(str(awq_checkpoint), dtype="float16", quant_policy=quant_policy) as (engine, info):
        assert info.backend is Backend.TURBOMIND
        text, end = await run(engine, ask())
        assert isinstance(end, GenerationFinished)
        assert text.strip()
        record(f"awq, kv {quant_policy or 16}: tokens/s", end.stats.tokens_per_second)
        record(f"awq, kv {quant_policy or 16}: answer", text)


async def test_two_chats_at_once() -> None:
    async with engine_for(DEMO) as (engine, _):
        alone, _ = await run(engine, ask("alone"))
        (first, _), (second, _) = await asyncio.gather(run(engine, ask("1")), run(engine, ask("2", "What is AWQ?")))
        assert first == alone
        assert second.strip()
        assert second != first


async def test_cancel(record: Record) -> None:
    async with engine_for(DEMO) as (engine, _):
        asked, last, seen = 0.0, None, 0
        async for event in engine.generate(ask(max_new_tokens=1900, temperature=2.0, seed=3)):
            seen, last = seen + 1, event
            if seen == 3:
                asked = time.perf_counter()
                await engine.cancel("r")
        assert isinstance(last, GenerationFinished)
        assert last.reason is FinishReason.ABORT
        record("cancel ms", (time.perf_counter() - asked) * 1000)
        text, _ = await run(engine, ask("after"))
        assert text.strip()


async def test_a_killed_child_gives_its_memory_back(record: Record) -> None:
    before = used_bytes()
    async with engine_for(DEMO) as (engine, _):
        events = []
        async for event in engine.generate(ask(max_new_tokens=1900, temperature=2.0, seed=3)):
            events.append(event)
            if len(events) == 3:
                assert engine.pid is not None
                os.kill(engine.pid, signal.SIGKILL)
        assert isinstance(events[-1], GenerationFailed)
        assert events[-1].failure.code is FailureCode.ENGINE_DIED
    assert memory_is_back(before)
    record("killed: MiB left", (used_bytes() - before) / MEBIBYTE)


async def test_too_little_video_memory_is_said_in_a_sentence(record: Record) -> None:
    """A cache ratio that leaves nothing for what TurboMind allocates after the cache."""
    before = used_bytes()
    with pytest.raises(TurbodeskError) as caught:
        async with engine_for(DEMO, cache_max_entry_count=0.9999, max_batch_size=1024, max_prefill_token_num=65536):
            pass
    record("out of memory: failure", caught.value.failure.code)
    record("out of memory: last words", caught.value.failure.detail[-1500:])
    assert caught.value.failure.code is FailureCode.VIDEO_MEMORY_EXHAUSTED
    assert memory_is_back(before)
