"""What the memory gauge costs the window's process in processor time, with one and eight cards of the fake driver.

Run as `python -m tests.bench.bench_gauge`.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hardware import fake_nvml as fake
from tests.hardware.fake_nvml import GIB, FakeNvml

SECONDS = 5.0


def measure(seconds: float = SECONDS) -> dict[str, float]:
    """Shares of one core (0 to 1) by case, and what the gauge adds to resident memory in MB.

    'still': nothing on the cards changes. 'moving': all cards change with every sample, so everything is painted.
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
    return found


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
    monitor = GpuMonitor(NvmlReader(), interval=1 / rate)
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


def _resident() -> int:
    from desktop.hardware.host import resident_bytes

    return resident_bytes([os.getpid()])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _child(float(sys.argv[1]), float(sys.argv[2]))
    else:
        for name, value in measure().items():
            print(f"{name:32} {value:8.2f}" if name.endswith("mb") else f"{name:32} {value:8.2%}")
