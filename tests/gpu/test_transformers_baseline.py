"""The engine over Transformers on a card: the baseline that TurboMind is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from desktop.storage.paths import demo_checkpoint
from tests.gpu.conftest import ROOT

pytestmark = pytest.mark.gpu

# In a child, so that the process of the tests never holds video memory.
SOURCE = """
import asyncio, json, sys, time
import torch
from lmdeploy.messages import GenerationConfig, TurbomindEngineConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from desktop.engine.cpu_backend import CpuBackend

path, tokens = sys.argv[1], 128
tokenizer = AutoTokenizer.from_pretrained(path)
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": "What is the KV cache?"}], add_generation_prompt=True, return_dict=True
)["input_ids"]
model = AutoModelForCausalLM.from_pretrained(path, dtype="auto").to("cuda")
ids = torch.tensor([prompt], device="cuda")
settings = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": None, "pad_token_id": 0}
theirs = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt):].tolist()
started = time.perf_counter()
model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
generate_speed = tokens / (time.perf_counter() - started)

async def run(engine):
    config = GenerationConfig(max_new_tokens=tokens, top_k=1, temperature=1.0, ignore_eos=True)
    found = []
    async for out in engine.create_instance().async_stream_infer(0, prompt, gen_config=config, stream_output=True):
        found += out.token_ids
    return found

async def main():
    engine = CpuBackend(path, TurbomindEngineConfig(max_batch_size=8), device="cuda")
    ours = await run(engine)
    started = time.perf_counter()
    await run(engine)
    one = tokens / (time.perf_counter() - started)
    started = time.perf_counter()
    await asyncio.gather(*(run(engine) for _ in range(8)))
    eight = 8 * tokens / (time.perf_counter() - started)
    engine.close()
    print(json.dumps({"same": sum(a == b for a, b in zip(ours, theirs)) / tokens, "generate": generate_speed,
                      "one": one, "eight": eight}))

asyncio.run(main())
"""


def test_it_writes_what_generate_writes(record: Callable[[str, object], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOURCE, str(demo_checkpoint())], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    for name, value in found.items():
        record(f"Transformers baseline: {name}", value)
    assert found["same"] == 1.0
