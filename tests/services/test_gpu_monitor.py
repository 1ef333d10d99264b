"""The monitor's thread: it samples, it stops, and neither a hanging driver nor a slow window can hold the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from PySide6.QtCore import QObject, QThread, Slot

from desktop.domain.memory_reading import CardReading, HostReading, JobKind, MemoryReading, RunningJob
from desktop.hardware.host import process_tree, read_host
from desktop.hardware.nvml import NvmlReader
from desktop.services.gpu_monitor import GpuMonitor
from tests.hardware import fake_nvml as fake
from tests.hardware.fake_nvml import GIB


class Listener(QObject):
    """Stands for the window: notes what arrives, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: list[MemoryReading] = []
        self.threads: set[QThread] = set()

    @Slot(object)
    def _on_reading(self, reading: MemoryReading) -> None:
        self.readings.append(reading)
        self.threads.add(QThread.currentThread())


class HangingReader(NvmlReader):
    """A driver that does not come back until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def read(self) -> tuple[tuple[CardReading, ...], str]:
        self.entered.set()
        assert self.let_go.wait(30)
        return (), "let go"


@pytest.fixture
def listener(qapp) -> Listener:
    return Listener()


def test_readings_arrive_in_the_windows_thread(qtbot, listener):
    monitor = GpuMonitor(NvmlReader, interval=0.02)
    monitor.reading_changed.connect(listener._on_reading)
    monitor.start()
    monitor.start()
    qtbot.waitUntil(lambda: len(listener.readings) >= 3, timeout=10_000)
    monitor.stop()
    monitor.stop()
    assert listener.threads == {listener.thread()}
    times = [reading.monotonic_time for reading in listener.readings]
    assert times == sorted(times)
    assert listener.readings[0].host.total > 0


def test_four_readings_a_second_by_default(qtbot, listener):
    monitor = GpuMonitor(NvmlReader)
    monitor.reading_changed.connect(listener._on_reading)
    monitor.start()
    qtbot.waitUntil(lambda: len(listener.readings) >= 5, timeout=10_000)
    monitor.stop()
    first, last = listener.readings[0], listener.readings[4]
    assert 0.9 < last.monotonic_time - first.monotonic_time < 3


def test_it_can_be_started_again(qtbot, listener):
    monitor = GpuMonitor(NvmlReader, interval=0.02)
    monitor.reading_changed.connect(listener._on_reading)
    for _ in range(3):
        monitor.start()
        seen = len(listener.readings)
        qtbot.waitUntil(lambda: len(listener.readings) > seen, timeout=10_000)  # noqa: B023
        monitor.stop()


def test_stop_before_start_and_stop_at_once(qapp):
    monitor = GpuMonitor(NvmlReader)
    monitor.stop()
    monitor.start()
    monitor.stop()


def test_a_hanging_driver_holds_neither_the_window_nor_stop(qtbot, listener):
    reader = HangingReader()
    monitor = GpuMonitor(lambda: reader, interval=0.02, stop_timeout=0.2)
    monitor.reading_changed.connect(listener._on_reading)
    monitor.start()
    assert reader.entered.wait(10)
    started = time.monotonic()
    monitor.stop()
    assert time.monotonic() - started < 1.2
    reader.let_go.set()
    qtbot.wait(100)
    assert listener.readings == [], "nothing is emitted after stop()"
    monitor.stop()


def test_the_engines_memory_in_this_machine(qtbot, listener):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitor = GpuMonitor(NvmlReader, interval=0.02)
    monitor.reading_changed.connect(listener._on_reading)
    try:
        monitor.set_engine_pid(child.pid)
        monitor.start()
        qtbot.waitUntil(
            lambda: bool(listener.readings) and listener.readings[-1].host.engine_bytes > 2**20, timeout=10_000
        )
        monitor.set_engine_pid(None)
        qtbot.waitUntil(lambda: listener.readings[-1].host.engine_bytes == 0, timeout=10_000)
    finally:
        monitor.stop()
        child.communicate(b"\n")


class OneCard(NvmlReader):
    def read(self) -> tuple[tuple[CardReading, ...], str]:
        return (CardReading(index=0, uuid="GPU-0", name="a card", total_bytes=GIB, used_bytes=0),), ""


@pytest.mark.parametrize("reader", [OneCard(), NvmlReader()])
def test_beside_cards_the_machines_memory_is_read_once_a_second(qtbot, listener, monkeypatch, reader):
    asked = []

    def counting(pids: frozenset[int]) -> HostReading:
        asked.append(pids)
        return read_host(pids)

    monkeypatch.setattr("desktop.services.gpu_monitor.read_host", counting)
    monitor = GpuMonitor(lambda: reader, interval=0.02)
    monitor.reading_changed.connect(listener._on_reading)
    monitor.start()
    qtbot.waitUntil(lambda: len(listener.readings) >= 10, timeout=10_000)
    monitor.stop()
    seconds = listener.readings[-1].monotonic_time - listener.readings[0].monotonic_time
    assert all(reading.host.total > 0 for reading in listener.readings)
    if listener.readings[0].cards:
        assert len(asked) <= 2 + seconds
    else:
        assert len(asked) >= len(listener.readings)


def test_a_jobs_memory_in_this_machine_is_not_the_engines(qtbot, listener):
    """Here the engine is in the window's own process, whose descendant the job is."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitor = GpuMonitor(NvmlReader, interval=0.02)
    monitor.reading_changed.connect(listener._on_reading)
    try:
        monitor.set_engine_pid(os.getpid())
        monitor.set_job(RunningJob(child.pid, JobKind.QUANTIZATION))
        monitor.start()
        qtbot.waitUntil(
            lambda: bool(listener.readings) and listener.readings[-1].host.job_bytes > 2**20, timeout=10_000
        )
        host = listener.readings[-1].host
        assert host.job is JobKind.QUANTIZATION
        tree = process_tree(os.getpid())
        assert child.pid in tree
        assert monitor._engine_pids == tree - {child.pid}
        monitor.set_job(None)
        qtbot.waitUntil(lambda: listener.readings[-1].host.job is None, timeout=10_000)
        assert listener.readings[-1].host.job_bytes == 0
    finally:
        monitor.stop()
        child.communicate(b"\n")


MONITOR_CHILD = """
import json, subprocess, sys, msgspec
from PySide6.QtCore import QCoreApplication, QTimer, Slot, QObject
from desktop.domain.memory_reading import JobKind, RunningJob
from desktop.hardware.nvml import NvmlReader
from desktop.services.gpu_monitor import GpuMonitor

class Printer(QObject):
    @Slot(object)
    def _on_reading(self, reading):
        shares = [card.engine_bytes for card in reading.cards]
        jobs = [card.job_bytes for card in reading.cards]
        print(json.dumps({"shares": shares, "jobs": jobs, "note": reading.driver_note}), flush=True)

app = QCoreApplication([])
printer = Printer()
monitor = GpuMonitor(NvmlReader, interval=0.05)
monitor.reading_changed.connect(printer._on_reading)
if int(sys.argv[1]):
    monitor.set_engine_pid(int(sys.argv[1]))
if len(sys.argv) > 3:
    monitor.set_job(RunningJob(int(sys.argv[3]), JobKind.QUANTIZATION))
monitor.start()
app.aboutToQuit.connect(monitor.stop)
QTimer.singleShot(int(sys.argv[2]), app.quit)
app.exec()
"""


@pytest.mark.parametrize("job", [False, True], ids=["engine", "job"])
def test_the_share_is_that_of_a_process_and_its_descendants(fake_driver, job):
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    engine = subprocess.Popen([sys.executable, "-c", grandchild], stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while len(process_tree(engine.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        (worker,) = process_tree(engine.pid) - {engine.pid}
        fake_driver.set(
            fake.card(used=20 * GIB),
            fake.card(used=4 * GIB),
            fake.process(0, engine.pid, 1 * GIB),
            fake.process(0, worker, 8 * GIB),
            fake.process(0, os.getpid(), 2 * GIB),
            fake.process(1, os.getpid(), 3 * GIB),
        )
        result = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                MONITOR_CHILD,
                *(["0", "500", str(engine.pid)] if job else [str(engine.pid), "500"]),
            ],
            env=fake_driver.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        engine.communicate(b"\n")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) > 2
    held, nothing = [9 * GIB, 0], [0, 0]
    assert answers[-1] == {"shares": nothing if job else held, "jobs": held if job else nothing, "note": ""}
    assert result.stderr == ""


def test_in_a_container_the_engines_share_is_unknown_and_not_zero(fake_driver):
    # Numbers above the kernel's limit stand for processes of another PID namespace.
    fake_driver.set(fake.card(used=20 * GIB), fake.process(0, 5_000_000, 8 * GIB))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", MONITOR_CHILD, str(os.getpid()), "300"],
        env=fake_driver.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == {"shares": [None], "jobs": [None], "note": ""}


def test_a_driver_that_hangs_for_real_does_not_hold_the_end_of_the_program(fake_driver):
    fake_driver.set(fake.card(), "sleep 60000")
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", MONITOR_CHILD, "1", "300"],
        env=fake_driver.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert time.monotonic() - started < 20
    assert result.stderr == ""


CHOICE_CHILD = """
import asyncio, json, sys
from pathlib import Path
from desktop.domain.card_choice import with_uuids
from desktop.domain.engine_config import EngineConfig
from desktop.engine.process_engine import ProcessEngine
from desktop.hardware.nvml import NvmlReader

async def main():
    reader = NvmlReader()
    cards, _ = reader.read()
    reader.close()
    config = with_uuids(EngineConfig(devices=(int(sys.argv[1]),)), cards)
    engine = ProcessEngine("scripted")
    await engine.load("/model", config, lambda progress: None)
    variables = Path(f"/proc/{engine.pid}/environ").read_text().split(chr(0))
    print(json.dumps([line for line in variables if line.startswith("CUDA_VISIBLE_DEVICES=")]))
    await engine.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(("device", "uuid"), [(0, "GPU-fake-1"), (1, "MIG-fake-0-1"), (2, "MIG-fake-0-4")])
def test_the_engine_is_given_the_instance_that_the_gauge_shows_under_this_number(fake_driver, device, uuid):
    name = "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
    fake_driver.set(
        fake.card(name="NVIDIA A100-SXM4-80GB"),
        fake.card(),
        fake.mig(0),
        fake.instance(0, 1, 10 * GIB, GIB, name),
        fake.instance(0, 4, 40 * GIB, GIB, name),
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHOICE_CHILD, str(device)],
        env=fake_driver.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout) == [f"CUDA_VISIBLE_DEVICES={uuid}"]
