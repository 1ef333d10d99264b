"""`make bench`: measure, print the table, write build/bench/*.json.

Every figure is a ratio within one run, or says so: the machine may be noisy, and absolute times are for reading only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
OUT = Path(__file__).parents[2] / "build" / "bench"


class Figure(NamedTuple):
    """One row of the table. key: into what the module's measure() returns. better: "<=" or ">="."""

    name: str
    module: str
    key: str
    better: str
    target: float
    unit: str = ""


FIGURES = (
    Figure("time to an interactive window ÷ a bare window", "bench_window", "start_ratio", "<=", 3.0),
    Figure("resident memory of the window's process ÷ the bare window's", "bench_window", "memory_ratio", "<=", 2.2),
    Figure("torch, transformers, lmdeploy modules in the window's process", "bench_window", "engine_modules", "<=", 0),
    Figure("16 chats, 20,000 tokens: time with ÷ without the window", "bench_streaming", "time_ratio", "<=", 1.05),
    Figure("the same: tokens lost or out of order", "bench_streaming", "wrong_tokens", "<=", 0),
    Figure("longest GUI-thread stall meanwhile", "bench_streaming", "stall_max_ms", "<=", 50.0, "ms"),
    Figure("p99 GUI-thread stall meanwhile", "bench_streaming", "stall_p99_ms", "<=", 16.0, "ms"),
    Figure("CPU backend ÷ transformers generate(), one stream", "bench_cpu_backend", "one_stream_ratio", ">=", 1.0),
    Figure("8 streams in all ÷ one stream of ours", "bench_cpu_backend", "eight_streams_ratio", ">=", 3.0),
    Figure("cancel: time to the last event", "bench_cancel", "cancel_max_ms", "<=", 100.0, "ms"),
    Figure(
        "a 100,000-token reply: cost a token ÷ in one of 1,000", "bench_markdown", "long_to_short_ratio", "<=", 1.25
    ),
    Figure("longest GUI-thread stall while it streams", "bench_markdown", "stall_max_ms", "<=", 50.0, "ms"),
    Figure("the same with a line of 20,000 characters", "bench_markdown", "stall_line_max_ms", "<=", 50.0, "ms"),
    Figure("10,000 tokens ÷ setMarkdown of all, each frame", "bench_markdown", "browser_ratio", "<=", 0.1),
    Figure("10,000 messages: first paint", "bench_long_conversation", "first_paint_ms", "<=", 100.0, "ms"),
    Figure("the same: the window's memory grows by", "bench_long_conversation", "growth_mb", "<=", 30.0, "MB"),
    Figure("longest stall while the bar is dragged", "bench_long_conversation", "scroll_stall_ms", "<=", 50.0, "ms"),
    Figure("hostile content: longest GUI-thread stall", "bench_hostile", "stall_max_ms", "<=", 200.0, "ms"),
    Figure("search in 1,000,000 messages: slowest of 25", "bench_storage", "search_worst_ms", "<=", 50.0, "ms"),
    Figure("app start with that database ÷ with an empty one", "bench_storage", "start_ratio", "<=", 1.2),
    Figure("1 GB from a local hub, SHA-256 and fsync included ÷ curl", "bench_download", "ratio", "<=", 1.2),
    Figure("gauge at 4 Hz on a busy card: share of a core", "bench_gauge", "gauge_cpu_1_cards_4hz_moving", "<=", 0.01),
    Figure("gauge at 10 Hz, window's process, share of a core", "bench_gauge", "gauge_cpu_window_10hz", "<=", 0.01),
    Figure("scan of 1,000 models that are known, warm page cache", "bench_scan", "warm_seconds", "<=", 1.0, "s"),
    Figure("the same with nothing known, cold page cache", "bench_scan", "cold_seconds", "<=", 5.0, "s"),
    Figure("longest GUI-thread stall meanwhile", "bench_scan", "cold_stall_max_ms", "<=", 50.0, "ms"),
    Figure("AWQ as a job ÷ LMDeploy's alone, demo model", "bench_quantize", "demo_ratio", "<=", 1.05),
    Figure("the same, 100 million weights", "bench_quantize", "large_ratio", "<=", 1.05),
    Figure("error of its time left at 25 %, demo model", "bench_quantize", "demo_left_error", "<=", 0.25),
    Figure("the same, 100 million weights", "bench_quantize", "large_left_error", "<=", 0.25),
    Figure("longest GUI-thread stall while a job runs", "bench_quantize_window", "stall_max_ms", "<=", 50.0, "ms"),
    Figure("the window's memory grows meanwhile by", "bench_quantize_window", "growth_mb", "<=", 10.0, "MB"),
    Figure("torch, … modules in the window then", "bench_quantize_window", "engine_modules", "<=", 0),
)


def main() -> int:
    """Measure what is asked for (all by default); exit code 1 when a target is missed."""
    names = sorted({figure.module for figure in FIGURES})
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of: {', '.join(names)}")
    wanted = parser.parse_args().modules or names
    if unknown := set(wanted) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    OUT.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in wanted:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        results[name] = importlib.import_module(f"tests.bench.{name}").measure()
        machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        record = {"measured_at": time.strftime("%Y-%m-%d %H:%M"), "machine": machine, "results": results[name]}
        (OUT / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    missed = 0
    print(f"{'figure':<66} {'measured':>10}  must reach")
    for figure in FIGURES:
        if figure.module not in results:
            continue
        value = results[figure.module].get(figure.key)
        if value is None:
            print(f"{figure.name:<66} {'not measured here':>10}")
            continue
        reached = value <= figure.target if figure.better == "<=" else value >= figure.target
        missed += not reached
        unit = f" {figure.unit}" if figure.unit else ""
        sign = "" if reached else "   MISSED"
        print(f"{figure.name:<66} {value:>10.3g}{unit:<3} {figure.better} {figure.target:g}{unit}{sign}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
