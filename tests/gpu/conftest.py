"""What needs a card: skipped with the reason where there is none; figures go to $OUT/gpu.json, or build/gpu.json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from desktop.storage.paths import demo_checkpoint

ROOT = Path(__file__).parents[2]


def _why_not() -> str:
    import pynvml

    try:
        pynvml.nvmlInit()
        if pynvml.nvmlDeviceGetCount() == 0:
            return "no NVIDIA card"
    except pynvml.NVMLError as problem:
        return f"no NVIDIA driver: {problem}"
    # Asked in a child, so that this process never holds video memory.
    found = subprocess.run(
        [sys.executable, "-c", "from lmdeploy import turbomind as t; print(t._import_error or '')"],
        capture_output=True,
        text=True,
    )
    words = (found.stdout + found.stderr[-500:]).strip()
    return f"TurboMind does not load: {words}" if words else ""


@pytest.fixture(scope="session", autouse=True)
def _needs_a_card() -> None:
    if reason := _why_not():
        pytest.skip(reason)


def used_bytes() -> int:
    """Video memory in use on the first card, by all programs."""
    import pynvml

    pynvml.nvmlInit()
    return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)


@pytest.fixture(scope="session")
def record() -> Iterator[Callable[[str, object], None]]:
    """record(name, value): a measured figure."""
    figures: dict[str, object] = {}
    yield figures.__setitem__
    if figures:
        import pynvml

        pynvml.nvmlInit()
        figures["card"] = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
        figures["driver"] = pynvml.nvmlSystemGetDriverVersion()
        folder = Path(os.environ.get("OUT") or ROOT / "build")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(json.dumps(figures, indent=2, default=str) + "\n")


@pytest.fixture(scope="session")
def awq_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model quantized to 4 bits by LMDeploy, round to nearest, on the CPU in a child."""
    out = tmp_path_factory.mktemp("awq") / "demo-awq"
    source = f"""
import torch
from lmdeploy.lite.apis import calibrate
from lmdeploy.lite.apis.auto_awq import auto_awq
torch.manual_seed(0)
calibrate.get_calib_loaders = lambda *a, **k: [torch.randint(0, 1000, (1, 128)) for _ in range(8)]
auto_awq({str(demo_checkpoint())!r}, work_dir={str(out)!r}, device="cpu", dtype="float16",
         calib_samples=8, calib_seqlen=128, batch_size=1)
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out
