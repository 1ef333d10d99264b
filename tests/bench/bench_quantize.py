"""A quantization job beside LMDeploy's `auto_awq` alone with the same tensors, and how well it knew its own end.

Both are whole processes, from their start to their end, with the same settings of threads, one after the other in turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.quantization import python_script
from desktop.jobs.job_process import JobProcess
from desktop.jobs.messages import JobEvent, Progress, Quantized, QuantizeJob
from desktop.storage.paths import demo_checkpoint
from tests.jobs.running import demo_job, guide_text

ROUNDS = 3
ASKED_AT = 0.25
# Sequences of 128 tokens; enough that the text and not the loading of libraries takes the time.
SAMPLES = {"demo": 32, "100M": 16}


def write_large(folder: Path) -> Path:
    """A Qwen3 of 100 million random weights with the demo model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=3072,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=14,
        num_attention_heads=6,
        num_key_value_heads=6,
        head_dim=128,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(demo_checkpoint() / name, folder)
    return folder


async def run_job(job: QuantizeJob) -> dict[str, float]:
    """Seconds from start to end, of the process itself, and the forecast at a quarter."""
    told: list[tuple[float, Progress]] = []

    def take(event: JobEvent) -> None:
        if isinstance(event, Progress):
            told.append((time.perf_counter(), event))

    start, used = time.perf_counter(), cpu_seconds()
    result = await JobProcess(job, take).run()
    end = time.perf_counter()
    assert isinstance(result, Quantized)
    when, at_quarter = next((when, one) for when, one in told if one.fraction >= ASKED_AT)
    assert at_quarter.seconds_left is not None
    left = end - when
    return {
        "seconds": end - start,
        "cpu_seconds": cpu_seconds() - used,
        "left_error": abs(at_quarter.seconds_left - left) / left,
        "fraction": at_quarter.fraction,
        "peak_host": result.peak_host,
    }


def cpu_seconds() -> float:
    """Of all children that have ended: what other programs do meanwhile changes it little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_by_hand(script: Path) -> dict[str, float]:
    """Seconds of LMDeploy alone, in a process of its own."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    start, used = time.perf_counter(), cpu_seconds()
    # As nice as the job, or on a busy machine the comparison would be one of priorities.
    subprocess.run(["nice", "-n", "5", sys.executable, script], env=environment, capture_output=True, check=True)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": cpu_seconds() - used}


def compare(source: Path, samples: int, folder: Path, rounds: int) -> dict[str, Any]:
    """Medians of some rounds, after one that warms the page cache and leaves the tensors for the other side."""
    text = guide_text(folder)
    job = demo_job(folder / "ours", text, source=str(source), samples=samples, sequence_length=128)
    asyncio.run(run_job(job))
    tensors = folder / "tensors.jsonl"
    shutil.copy(next((folder / "ours").glob("calibration-*.jsonl")), tensors)
    weights = (folder / "ours" / "model.safetensors").read_bytes()
    plan = msgspec.structs.replace(job.plan, target=str(folder / "by-hand"))
    script = folder / "by_hand.py"
    script.write_text(python_script(plan, str(tensors)))
    ours, theirs = [], []
    for _ in range(rounds):
        for name in ("ours", "by-hand"):
            shutil.rmtree(folder / name, ignore_errors=True)
        theirs.append(run_by_hand(script))
        ours.append(asyncio.run(run_job(job)))
        assert (folder / "by-hand" / "model.safetensors").read_bytes() == weights
    return {
        "ratio": middle(ours, "seconds") / middle(theirs, "seconds"),
        "cpu_ratio": middle(ours, "cpu_seconds") / middle(theirs, "cpu_seconds"),
        "left_error": middle(ours, "left_error"),
        "left_error_worst": max(one["left_error"] for one in ours),
        "asked_at": [one["fraction"] for one in ours],
        "seconds": [one["seconds"] for one in ours],
        "by_hand_seconds": [one["seconds"] for one in theirs],
        "peak_host_mb": max(one["peak_host"] for one in ours) / 1e6,
    }


def middle(runs: Sequence[Mapping[str, float]], key: str) -> float:
    """The median of one figure."""
    return statistics.median(one[key] for one in runs)


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """The demo model of 4 million weights, and one of 100 million."""
    found: dict[str, Any] = {}
    for name, samples in SAMPLES.items():
        with tempfile.TemporaryDirectory() as folder:
            source = demo_checkpoint() if name == "demo" else write_large(Path(folder) / "large")
            found[name] = compare(source, samples, Path(folder), rounds)
    return {
        **found,
        "demo_ratio": found["demo"]["ratio"],
        "large_ratio": found["100M"]["ratio"],
        "demo_left_error": found["demo"]["left_error"],
        "large_left_error": found["100M"]["left_error"],
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS), indent=2))
