"""The forecast against what a card measures, the cache's region as TurboMind names it, and the window's own share."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory, forecast
from desktop.domain.memory_reading import CardReading, with_engine
from desktop.engine.process_engine import ProcessEngine
from desktop.hardware.host import process_tree
from desktop.hardware.nvml import NvmlReader
from desktop.storage.checkpoint_reader import read_memory_shape
from desktop.storage.paths import demo_checkpoint

pytestmark = pytest.mark.gpu
DEMO = str(demo_checkpoint())
MIB = 2**20
# What TurboMind 0.18 says of its cache when it is allocated; the level at which it does so is that of its log.
BUDGET = re.compile(r"Object cache budget: ([\d.]+) MB from free ([\d.]+) MB and ratio ([\d.]+)")
Record = Callable[[str, object], None]


def first_card(reader: NvmlReader) -> CardReading:
    cards, note = reader.read()
    assert cards, note
    return cards[0]


@pytest.mark.parametrize(("ratio", "bits"), [(0.05, 0), (0.2, 0), (0.2, 8), (0.2, 4)])
async def test_the_forecast_against_the_card(
    ratio: float, bits: int, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TM_LOG_LEVEL", "INFO")
    reader = NvmlReader()
    before = first_card(reader)
    config = EngineConfig(
        backend=Backend.TURBOMIND,
        cache_max_entry_count=ratio,
        quant_policy=bits,
        session_len=2048,
        max_batch_size=4,
        max_prefill_token_num=2048,
    )
    found = forecast(read_memory_shape(DEMO), config, [CardMemory(total=before.total_bytes, used=before.used_bytes)])
    lines: list[str] = []
    engine = ProcessEngine(on_log=lines.append)
    info = await engine.load(DEMO, config, lambda progress: None)
    try:
        await asyncio.sleep(2)
        after = first_card(reader)
        held = with_engine((after,), process_tree(info.pid))[0].engine_bytes
        taken = after.used_bytes - before.used_bytes
        named = next((match for line in lines if (match := BUDGET.search(line))), None)
        record(
            f"forecast ratio {ratio} kv {bits or 16}",
            {
                "forecast_mib": round(found.engine / MIB),
                "process_mib": None if held is None else round(held / MIB),
                "card_mib": round(taken / MIB),
                "kv_forecast_mib": round(found.kv / MIB),
                "kv_turbomind_mb": None if named is None else float(named[1]),
                "free_before_cache_turbomind_mb": None if named is None else float(named[2]),
                "free_before_cache_forecast_mib": round(found.before_cache / MIB),
            },
        )
        # Two per cent, and for a model of 15 MB the context's own spread.
        assert abs(taken - found.engine) <= max(0.02 * taken, 300 * MIB)
        if named is not None:
            assert float(named[1]) == pytest.approx(found.kv / MIB, rel=0.02)
    finally:
        await engine.close()


def test_the_window_itself_holds_no_video_memory(tmp_path: Path, record: Record) -> None:
    """The real window chats with the demo model; its own process is never among those that the driver lists."""
    import subprocess

    command = [sys.executable, "-m", "desktop", "--ask", "What is the KV cache?", "--data-dir", str(tmp_path)]
    window = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    seen: set[int] = set()
    while window.poll() is None:
        for listed in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
            seen |= {process.pid for process in listed(handle)}
        time.sleep(0.1)
    assert window.returncode == 0
    record("processes seen on the card beside the window", sorted(seen - {window.pid}))
    assert window.pid not in seen
