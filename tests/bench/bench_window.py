"""Start-up time and resident memory of the window, against a bare PySide6 main window, in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 7


def probe(kind: str) -> dict[str, float]:
    """One start; see window_probe."""
    out = subprocess.run(
        [sys.executable, "-m", "tests.bench.window_probe", kind, repr(time.time())],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    ).stdout
    found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return found


def measure() -> dict[str, float]:
    """Medians of ROUNDS pairs, after one pair that warms the disk cache."""
    pairs = [(probe("bare"), probe("turbodesk")) for _ in range(ROUNDS + 1)][1:]
    return {
        "start_ratio": statistics.median(ours["seconds"] / bare["seconds"] for bare, ours in pairs),
        "memory_ratio": statistics.median(ours["resident"] / bare["resident"] for bare, ours in pairs),
        "start_s": statistics.median(ours["seconds"] for _, ours in pairs),
        "bare_start_s": statistics.median(bare["seconds"] for bare, _ in pairs),
        "resident_mb": statistics.median(ours["resident"] for _, ours in pairs) / 1e6,
        "bare_resident_mb": statistics.median(bare["resident"] for bare, _ in pairs) / 1e6,
        "engine_modules": max(ours["engine_modules"] for _, ours in pairs),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
