"""What every test stands on: an offscreen Qt, no thread left behind, a driver that can be told what to say."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QT_API", "pyside6")

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from desktop import startup
from desktop.services.garbage_collector import collect_due
from tests.hardware import fake_nvml

# Whether a machine is busy is no property of the code.
hypothesis_settings.register_profile("turbodesk", deadline=None)
hypothesis_settings.load_profile("turbodesk")


startup.use_pythons_own_import()  # as the program does

# Tests collect between each other, in the main thread, for the reason that desktop/services/garbage_collector.py gives.
gc.disable()


def _running_threads() -> set[object]:
    """Python threads by name, and QThreads, that run now; the main thread apart."""
    import shiboken6
    from PySide6.QtCore import QThread

    # Python lists a QThread that it once met as a dummy for ever; the QThreads themselves are found below.
    found: set[object] = {t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}
    found.discard(threading.main_thread())
    current = QThread.currentThread()
    for thing in gc.get_objects():
        # Not isinstance: some objects answer it by code of their own.
        if issubclass(type(thing), QThread) and shiboken6.isValid(thing) and thing is not current and thing.isRunning():
            found.add(thing)
    return found


@pytest.fixture(autouse=True)
def _no_thread_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test with a window's parts that leaves a thread running; gives it a second to end."""
    if "qapp" not in request.fixturenames:
        yield
        return
    before = _running_threads()
    yield
    deadline = time.monotonic() + 1.0
    while (left := _running_threads() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        pytest.fail(f"threads left behind: {left}")


@pytest.fixture(autouse=True)
def _garbage_is_collected_here() -> Iterator[None]:
    yield
    collect_due()


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the fake libnvidia-ml.so.1."""
    if fake_nvml.compiler() is None:
        pytest.skip("no C compiler (cc) to build the fake driver library with")
    return fake_nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_driver(fake_nvml_library: Path, tmp_path: Path) -> fake_nvml.FakeNvml:
    """A driver, not loaded at first, for children started with its environment()."""
    return fake_nvml.FakeNvml(fake_nvml_library, tmp_path / "nvml-state")
