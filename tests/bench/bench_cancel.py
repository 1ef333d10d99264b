"""How long a cancel takes: from the call to the reply's last event, on the demo model in a child process."""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.generation import ChatMessage, GenerationFinished, GenerationRequest, SamplingParams
from desktop.engine.process_engine import ProcessEngine
from desktop.storage.paths import demo_checkpoint

ROUNDS = 20


async def cancel_times() -> list[float]:
    """Milliseconds of ROUNDS cancels, each after the third delta."""
    engine = ProcessEngine()
    await engine.load(str(demo_checkpoint()), EngineConfig(backend=Backend.CPU), lambda progress: None)
    times = []
    for number in range(ROUNDS):
        request = GenerationRequest(
            request_id=str(number),
            messages=(ChatMessage("user", "What is the KV cache?"),),
            params=SamplingParams(temperature=2.0, seed=number, max_new_tokens=1900),
        )
        seen, asked = 0, 0.0
        async for event in engine.generate(request):
            seen += 1
            if seen == 3:
                asked = time.perf_counter()
                await engine.cancel(str(number))
            if isinstance(event, GenerationFinished) and asked:
                times.append((time.perf_counter() - asked) * 1000)
    await engine.close()
    return times


def measure() -> dict[str, float]:
    """The longest and the median of all rounds that were still running when cancelled."""
    times = asyncio.run(cancel_times())
    return {"cancel_max_ms": max(times), "cancel_p50_ms": statistics.median(times), "rounds": float(len(times))}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
