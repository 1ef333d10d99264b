"""Python's garbage collection, kept on the GUI thread.

Python collects in whichever thread happens to pass a threshold. In a worker thread that destroys the QObjects of a
dropped window: Qt then holds a mutex that the GUI thread waits for, and waits for the interpreter that the GUI thread
holds. The window stands still for ever. (The same is known of PyQt and of other PySide programs.)
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

EVERY_MILLISECONDS = 1000


def collect_due() -> None:
    """Collect the oldest generation whose threshold is passed, as Python itself would, in the calling thread."""
    counts, thresholds = gc.get_count(), gc.get_threshold()
    for generation in (2, 1, 0):
        if counts[generation] > thresholds[generation]:
            gc.collect(generation)
            return


class GarbageCollector(QObject):
    """Collects from the thread it is made in, the GUI thread; automatic collection is off from then on."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MILLISECONDS)
        self._timer.timeout.connect(collect_due)

    def start(self) -> None:
        """Begin; what lives now (modules, above all) is never looked through again."""
        gc.freeze()
        self._timer.start()
