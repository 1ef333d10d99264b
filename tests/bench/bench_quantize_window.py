"""What the window feels of a job: its stalls and its memory while the demo model is quantized and compared.

The whole program in a process of its own, with the Quantize page open, and real job processes beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTLE_SECONDS = 3.0
_TICK_MILLISECONDS = 2
_ENGINE = ("torch", "transformers", "lmdeploy")


def measure() -> dict[str, float]:
    """Milliseconds of the longest turn that the GUI thread did not get, before and meanwhile; MB of growth."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HF_HUB_CACHE": folder, "MODELSCOPE_CACHE": folder}
        command = [sys.executable, "-m", "tests.bench.bench_quantize_window", folder]
        found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return figures


def _child(folder: Path) -> None:
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    from desktop import startup
    from desktop.app import App
    from desktop.domain.calibration import TextFile
    from desktop.domain.engine_config import EngineConfig
    from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
    from desktop.jobs.job_record import ENDED, JobStatus
    from desktop.jobs.messages import QuantizeJob
    from desktop.storage.paths import app_paths, demo_checkpoint
    from tests.jobs.running import guide_text

    startup.use_pythons_own_import()  # as the program does
    app = App(app_paths(folder / "data"))
    app.window.show()
    desk = app.models().quantizer
    desk.runner.start()
    app.window.show_page("Quantize")
    stalls: list[float] = []
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        now = time.monotonic()
        stalls.append(now - last - _TICK_MILLISECONDS / 1000)
        last = now

    timer = QTimer()
    timer.setInterval(_TICK_MILLISECONDS)
    timer.timeout.connect(tick)
    timer.start()

    def run(until: object, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():  # type: ignore[operator]
            application.processEvents()
            time.sleep(0.001)

    run(lambda: False, SETTLE_SECONDS)
    stalls.clear()
    run(lambda: False, SETTLE_SECONDS)
    idle, before = max(stalls), _resident()
    stalls.clear()
    plan = QuantizationPlan(
        source=str(demo_checkpoint()),
        target=str(folder / "made"),
        method=QuantizationMethod.AWQ,
        samples=16,
        sequence_length=128,
        device="cpu",
    )
    text = TextFile(str(guide_text(folder)))
    number = desk.start(
        QuantizeJob(plan=plan, calibration=(text,)), "bench", unload_chat=False, compare_with=EngineConfig()
    )
    page = app.window._pages.page("Quantize")
    page._show_job(number)
    most = before

    def ended() -> bool:
        nonlocal most
        most = max(most, _resident())
        jobs = desk.runner.jobs
        return len(jobs) == 2 and all(job.status in ENDED for job in jobs)

    run(ended, 300)
    assert all(job.status is JobStatus.DONE for job in desk.runner.jobs), desk.runner.jobs
    page._show_job(desk.runner.jobs[0].id)
    run(lambda: False, 1.0)
    most = max(most, _resident())
    figures = {
        "idle_stall_max_ms": idle * 1000,
        "stall_max_ms": max(stalls) * 1000,
        "growth_mb": (most - before) / 1e6,
        "engine_modules": float(
            sum(name.split(".")[0] in ("torch", "transformers", "lmdeploy") for name in sys.modules)
        ),
    }
    print(json.dumps(figures), flush=True)
    os._exit(0)


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _child(Path(sys.argv[1]))
    else:
        print(json.dumps(measure(), indent=2))
