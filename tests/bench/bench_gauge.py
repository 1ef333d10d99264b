"""What the memory gauge costs the window's process in processor time, on cards of the fake driver.

Run as `python -m tests.bench.bench_gauge`.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hardware import fake_nvml as fake
from tests.hardware.fake_nvml import GIB, FakeNvml

SECONDS = 5.0
ROUNDS = 3
DRIFT = 8 * 2**20  # bytes a sample: 80 MB/s, as when pages of a browser or a game come and go


def measure(seconds: float = SECONDS) -> dict[str, float]:
    """Shares of one core (0 to 1) by case, and what the gauge adds to resident memory in MB.

    'still': nothing on the cards changes. 'moving': all cards change with every sample, so everything is painted.
    'window': the whole program with nothing loaded and its own monitor ten times a second, less the same program whose
    monitor was never started, both in processor time of the process ÷ wall time, in turn; the median of ROUNDS pairs.
    One card, whose used memory grows by DRIFT with each sample, and five processes on it, one of them the engine's.

    Empty where there is no C compiler to build the fake driver with.
    """
    if fake.compiler() is None:
        return {}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = FakeNvml(fake.build(folder), folder / "state")
        for cards, rate, case in itertools.product((1, 8), (4, 10), ("still", "moving")):
            driver.set(*_state(cards, 0))
            child = subprocess.Popen(
                [sys.executable, __file__, str(rate), str(seconds)],
                env=driver.environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            step = 0
            while case == "moving":
                try:
                    child.wait(1 / rate)
                    break
                except subprocess.TimeoutExpired:
                    step += 1
                    driver.set(*_state(cards, step))
            result = json.loads(child.communicate()[0])
            found[f"gauge_cpu_{cards}_cards_{rate}hz_{case}"] = result["cpu_share"]
            found[f"gauge_resident_{cards}_cards_mb"] = result["resident_mb"]
        driver.set(
            fake.card(24 * GIB, 17 * GIB),
            fake.drift(DRIFT),
            fake.process(0, os.getpid(), 12 * GIB),
            *(fake.process(0, 1000 + number, GIB, "graphics") for number in range(4)),
        )
        pairs = [[_window(driver, rate, seconds) for rate in (10, 0)] for _ in range(ROUNDS)]
        found["gauge_cpu_window_10hz"] = statistics.median(with_it - without for with_it, without in pairs)
        found["idle_cpu_window"] = statistics.median(without for _, without in pairs)
    return found


def _window(driver: FakeNvml, rate: float, seconds: float) -> float:
    command = [sys.executable, __file__, str(rate), str(seconds), "window"]
    out = subprocess.run(command, env=driver.environment(), stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(json.loads(out.strip().splitlines()[-1])["cpu_share"])


def _state(cards: int, step: int) -> list[str]:
    lines = []
    for index in range(cards):
        used = (20 + index * 5 + step % 10) * GIB
        lines += [
            fake.card(80 * GIB, used, name="NVIDIA H100 80GB HBM3"),
            fake.process(index, 1000 + index, used - 5 * GIB),
            fake.process(index, 2000, 4 * GIB),
        ]
    return lines


def _child(rate: float, seconds: float) -> None:
    import time

    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication, QMainWindow, QVBoxLayout, QWidget

    from desktop.hardware.nvml import NvmlReader
    from desktop.services.gpu_monitor import GpuMonitor
    from desktop.ui.memory.gauge import MemoryGauge
    from desktop.ui.theme import apply_theme

    app = QApplication([])
    apply_theme(app)
    window = QMainWindow()
    window.resize(1280, 800)
    window.show()
    app.processEvents()
    resident = _resident()
    page = QWidget()
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addStretch(1)
    gauge = MemoryGauge()
    layout.addWidget(gauge)
    window.setCentralWidget(page)
    monitor = GpuMonitor(NvmlReader, interval=1 / rate)
    monitor.reading_changed.connect(gauge.show_reading)
    monitor.set_engine_pid(os.getppid())
    monitor.start()
    begun: list[float] = []

    def begin() -> None:
        begun.extend((time.process_time(), time.monotonic()))
        QTimer.singleShot(round(seconds * 1000), app.quit)

    # The first second loads the library and the fonts.
    QTimer.singleShot(1000, begin)
    app.exec()
    share = (time.process_time() - begun[0]) / (time.monotonic() - begun[1])
    monitor.stop()
    print(json.dumps({"cpu_share": share, "resident_mb": (_resident() - resident) / 1e6}))


def _window_child(rate: float, seconds: float) -> None:
    import argparse
    import tempfile
    import time

    from PySide6.QtCore import QTimer

    from desktop import app as program

    run_window = program.App.main
    begun: list[float] = []

    async def main(self: program.App, options: argparse.Namespace) -> int:
        def begin() -> None:
            begun.extend((time.process_time(), time.monotonic()))
            QTimer.singleShot(round(seconds * 1000), end)

        def end() -> None:
            share = (time.process_time() - begun[0]) / (time.monotonic() - begun[1])
            print(json.dumps({"cpu_share": share}), flush=True)
            self.window.close()

        if rate:
            self._monitor._interval = 1 / rate
            self._monitor.set_engine_pid(os.getppid())
        else:
            self._monitor.start = lambda: None  # type: ignore[method-assign]
        QTimer.singleShot(2000, begin)  # what a start does later is over by then
        return await run_window(self, options)

    program.App.main = main  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        program.run(argparse.Namespace(data_dir=Path(folder), ask=None, checkpoint=None))


def _resident() -> int:
    from desktop.hardware.host import resident_bytes

    return resident_bytes([os.getpid()])


if __name__ == "__main__":
    if sys.argv[3:] == ["window"]:
        _window_child(float(sys.argv[1]), float(sys.argv[2]))
    elif len(sys.argv) == 3:
        _child(float(sys.argv[1]), float(sys.argv[2]))
    else:
        for name, value in measure().items():
            print(f"{name:32} {value:8.2f}" if name.endswith("mb") else f"{name:32} {value:8.2%}")
