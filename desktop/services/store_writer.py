"""Writes conversations in a thread of its own, in order; what cannot be written now is kept and tried again."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.storage.conversations import ConversationStore

RETRY_SECONDS = 2.0
_RETRIED = (FailureCode.DISK_FULL, FailureCode.STORAGE_NOT_WRITABLE, FailureCode.DATABASE_BUSY)

Write = Callable[[ConversationStore], object]


class StoreWriter(QObject):
    """A queue of writes and the thread that does them. The window never waits for the disk.

    Signals:
        save_failed: a Failure, once per trouble; the write is kept and tried again every RETRY_SECONDS.
        saved_again: the trouble is over, everything that waited is written.
        write_lost: a Failure; a write that can never succeed was dropped.
    """

    save_failed = Signal(object)
    saved_again = Signal()
    write_lost = Signal(object)

    def __init__(self, open_store: Callable[[], ConversationStore], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open_store = open_store
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._nudge = threading.Event()
        self._closing = False
        self._troubled = False
        self._gave_up = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()
        self.post(ConversationStore.settle)

    @property
    def is_troubled(self) -> bool:
        """Whether text waits because it could not be written."""
        return self._troubled

    def post(self, write: Write) -> None:
        """Have `write` called with the store, after all that was posted before."""
        self._queue.put(write)

    @Slot()
    def retry(self) -> None:
        """Try at once what could not be written."""
        self._nudge.set()

    def close(self, seconds: float) -> bool:
        """Write what waits, then end the thread; False when something could not be written in time."""
        self._closing = True
        self._queue.put(None)
        self._nudge.set()
        self._thread.join(seconds)
        return not self._thread.is_alive() and not self._gave_up

    def _run(self) -> None:
        store: ConversationStore | None = None
        while (write := self._queue.get()) is not None and not self._gave_up:
            while True:
                try:
                    if store is None:
                        store = self._open_store()
                    write(store)
                except TurbodeskError as problem:
                    if problem.failure.code not in _RETRIED:
                        self.write_lost.emit(problem.failure)
                        break
                    self._report(problem.failure)
                    if self._closing and not self._nudge.is_set():
                        self._gave_up = True  # what comes after may build on this, so it ends here
                        break
                    self._nudge.clear()
                    self._nudge.wait(RETRY_SECONDS)
                except Exception as problem:
                    detail = traceback.format_exc()
                    self.write_lost.emit(failure(FailureCode.INTERNAL, reason=problem, detail=detail))
                    break
                else:
                    if self._troubled:
                        self._troubled = False
                        self.saved_again.emit()
                    break
        if store is not None:
            store.close()

    def _report(self, problem: Failure) -> None:
        if not self._troubled:
            self._troubled = True
            self.save_failed.emit(problem)
