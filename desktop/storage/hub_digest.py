"""Hashes a file's content while it arrives, in a thread beside the one that receives and writes."""

from __future__ import annotations

import hashlib
import queue
import threading

from desktop.domain.hub import HubFile

_THREAD_FROM = 4 << 20  # bytes; below, a thread costs more than it gives
_QUEUED = 8  # pieces that may wait, of 2 MB at most


class Digest:
    """The hash that a file publishes: SHA-256, or git's SHA-1 of a blob, or none. Must be closed.

    hashlib lets other threads run while it works, so that on two cores hashing costs almost no time of its own.
    """

    def __init__(self, file: HubFile) -> None:
        self._expected = file.sha256 or file.git_sha1
        self._queue: queue.Queue[bytes | None] | None = None
        self._thread: threading.Thread | None = None
        if file.sha256:
            self._hash = hashlib.sha256()
        else:
            # What git hashes: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
            self._hash = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        if self._expected and file.size >= _THREAD_FROM:
            self._queue = queue.Queue(_QUEUED)
            self._thread = threading.Thread(target=self._work, args=(self._queue,), name="hub-digest", daemon=True)
            self._thread.start()

    def update(self, piece: bytes) -> None:
        """The next piece. Waits when the hash is far behind."""
        if self._queue is not None:
            self._queue.put(piece)
        elif self._expected:
            self._hash.update(piece)

    def matches(self) -> bool:
        """Whether the whole content is what was published; True where no hash was. Nothing may be added afterwards."""
        self.close()
        return not self._expected or self._hash.hexdigest() == self._expected

    def close(self) -> None:
        """End the thread once it has hashed what waits. May be called more than once."""
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self, pieces: queue.Queue[bytes | None]) -> None:
        while (piece := pieces.get()) is not None:
            self._hash.update(piece)
