"""Searches all conversations, in a thread with its own view of the database."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from desktop.domain.errors import TurbodeskError
from desktop.storage.cancelling import Cancelled
from desktop.storage.conversations import ConversationStore

MOST_HITS = 50
MOST_TITLES = 10


class Searcher(QObject):
    """The last search counts: one that still runs is interrupted by the next.

    Signals:
        found: the text that was searched for, a list of TitleHit, and a list of SearchHit; both newest first.
        search_failed: the Failure.
    """

    found = Signal(str, object, object)
    search_failed = Signal(object)

    def __init__(self, open_store: Callable[[], ConversationStore], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open_store = open_store
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._store: ConversationStore | None = None
        self._thread: threading.Thread | None = None

    def search(self, text: str) -> None:
        """Search for this; the answer comes with `found`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="searcher", daemon=True)
            self._thread.start()
        self._queue.put(text)
        if (store := self._store) is not None:
            store.interrupt()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._queue.put(None)
            if (store := self._store) is not None:
                store.interrupt()
            self._thread.join(timeout=2)

    def _work(self) -> None:
        try:
            self._store = store = self._open_store()
        except TurbodeskError as problem:
            self.search_failed.emit(problem.failure)
            return
        while (text := self._queue.get()) is not None:
            if not self._queue.empty():
                continue  # a newer one waits
            try:
                titles = store.search_titles(text, MOST_TITLES)
                hits = store.search(text, MOST_HITS)
            except Cancelled:
                continue
            except TurbodeskError as problem:
                self.search_failed.emit(problem.failure)
            else:
                self.found.emit(text, titles, hits)
        self._store = None
        store.close()
