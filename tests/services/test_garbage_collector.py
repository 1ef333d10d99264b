"""Garbage is collected in the GUI thread and nowhere else."""

from __future__ import annotations

import gc
import threading

from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from desktop.services.garbage_collector import GarbageCollector


def test_a_worker_thread_destroys_nothing_of_the_window(qtbot: QtBot) -> None:
    gc.enable()
    collector = GarbageCollector()
    destroyed_in: list[threading.Thread] = []

    class Page:
        def __init__(self) -> None:
            self.itself = self  # as a lambda that closes over its page
            self.part = QObject()

        def __del__(self) -> None:
            destroyed_in.append(threading.current_thread())

    def allocate() -> None:
        kept = [[number] for number in range(200_000)]
        assert len(kept) == 200_000

    for _ in range(10):
        Page()
    worker = threading.Thread(target=allocate)
    worker.start()
    worker.join()
    assert destroyed_in == []

    try:
        collector.start()
        Page()
        gc.collect(0)  # the ten were frozen with all else; this one was not
        assert destroyed_in == [threading.main_thread()]
        for _ in range(10):
            Page()
        kept = [[number] for number in range(10_000)]
        qtbot.waitUntil(lambda: len(destroyed_in) == 11, timeout=5_000)
        assert set(destroyed_in) == {threading.main_thread()}
        assert kept
    finally:
        gc.unfreeze()
