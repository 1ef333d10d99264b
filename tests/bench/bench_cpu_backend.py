"""Tokens a second of the CPU engine, one stream and eight, beside Transformers' generate() in the same run."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lmdeploy.messages import GenerationConfig, TurbomindEngineConfig
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from desktop.engine.cpu_backend import CpuBackend
from desktop.storage.paths import demo_checkpoint

PROMPT = 24
TOKENS = 128
STREAMS = 8
ROUNDS = 7


def generate(model: Any, prompt: list[int], threads: int) -> float:
    """Tokens a second of generate(), greedy."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    ids = torch.tensor([prompt])
    settings = {"do_sample": False, "max_new_tokens": TOKENS, "eos_token_id": None, "pad_token_id": 0}
    start = time.perf_counter()
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    took = time.perf_counter() - start
    torch.set_num_threads(before)
    assert found.shape[1] == PROMPT + TOKENS
    return TOKENS / took


async def stream(backend: CpuBackend, prompt: list[int], **sampling: Any) -> int:
    """One streamed reply; its number of tokens."""
    config = GenerationConfig(max_new_tokens=TOKENS, ignore_eos=True, **(sampling or {"top_k": 1}))
    count = 0
    async for output in backend.create_instance().async_stream_infer(0, prompt, gen_config=config, stream_output=True):
        count += len(output.token_ids)
    return count


async def ours(backend: CpuBackend, prompts: list[list[int]], **sampling: Any) -> float:
    """Tokens a second of all streams together."""
    start = time.perf_counter()
    counts = await asyncio.gather(*[stream(backend, prompt, **sampling) for prompt in prompts])
    took = time.perf_counter() - start
    assert counts == [TOKENS] * len(prompts)
    return sum(counts) / took


def measure(model_path: Path | None = None) -> dict[str, Any]:
    """Medians of ROUNDS rounds, each of which measures everything once, in turn; both sides compute in float32.

    generate() is measured with one thread and with all, and the better median counts: on a busy machine more threads
    make a small model slower.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    path = model_path or demo_checkpoint()
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    backend = CpuBackend(str(path), TurbomindEngineConfig(max_batch_size=STREAMS))
    random = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().num_embeddings
    prompts = torch.randint(3, vocabulary, (STREAMS, PROMPT), generator=random).tolist()
    sampling = {"do_sample": True, "temperature": 0.7, "top_k": 40, "top_p": 0.95, "random_seed": 1}
    threads = torch.get_num_threads()
    speeds: dict[str, list[float]] = {}

    async def round_of_all() -> None:
        for name, speed in (
            ("generate, 1 thread", lambda: generate(model, prompts[0], 1)),
            (f"generate, {threads} threads", lambda: generate(model, prompts[0], threads)),
        ):
            speeds.setdefault(name, []).append(speed())
        speeds.setdefault("one stream", []).append(await ours(backend, prompts[:1]))
        speeds.setdefault("eight streams", []).append(await ours(backend, prompts))
        speeds.setdefault("one stream, sampled", []).append(await ours(backend, prompts[:1], **sampling))
        speeds.setdefault("eight streams, sampled", []).append(await ours(backend, prompts, **sampling))

    try:
        asyncio.run(round_of_all())
        speeds.clear()  # the first round warms everything up
        for _ in range(ROUNDS):
            asyncio.run(round_of_all())
    finally:
        backend.close()
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best = max(value for name, value in medians.items() if name.startswith("generate"))
    return {
        "one_stream_ratio": medians["one stream"] / best,
        "eight_streams_ratio": medians["eight streams"] / medians["one stream"],
        "eight_streams_sampled_ratio": medians["eight streams, sampled"] / medians["one stream, sampled"],
        "tokens_per_second": medians,
        "weights": sum(parameter.numel() for parameter in model.parameters()),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None), indent=2))
