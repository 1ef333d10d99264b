"""Fetches one file of a model into a part on disk: goes on where it stopped, and checks size and hash.

huggingface_hub's own downloader was looked at first: since 2.x it writes into a file of a random name that it deletes
on any failure, so nothing survives a restart; it compares sizes, never hashes; and it cannot be paused.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from desktop.domain.errors import FailureCode, TurbodeskError, error, failure
from desktop.domain.hub import HubFile
from desktop.storage.errors import storage_errors
from desktop.storage.hub_digest import Digest
from desktop.storage.hub_http import Answer, HubConnection, Unsteady

_PIECE = 2 << 20  # bytes, the largest
_FIRST_PIECE = 1 << 16
_LEAST_PIECE = 1 << 12
_STRIDE = 32 << 20  # bytes, after which the disk is seen to
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Report = Callable[[int, bool], None]
"""Called with the bytes that are there now, below 0 when some are thrown away; and whether they came from the hub."""


class Room:
    """Keeps a reserve free on the file system of a folder. model: for the sentence. reserve: bytes."""

    def __init__(self, folder: Path, model: str, reserve: int) -> None:
        self._folder = folder
        self._model = model
        self._reserve = reserve

    def check(self, needed: int = 0) -> None:
        """Raises TurbodeskError (download_no_room) when so many bytes and the reserve are not free."""
        free = shutil.disk_usage(self._folder).free
        if free < needed + self._reserve:
            wanted = f"{_gb(needed)} and a reserve of {_gb(self._reserve)}" if needed else f"{_gb(self._reserve)}"
            raise self.missing(f"it needs {wanted}, and {_gb(free)} are free")

    def missing(self, reason: str) -> TurbodeskError:
        """The failure for a disk that is full."""
        return error(FailureCode.DOWNLOAD_NO_ROOM, model=self._model, reason=reason)


class FileTransfer:
    """One file on its way. part: where it is gathered; what is there already is hashed and kept.

    Use: fetch(), once, in a worker thread.
    """

    def __init__(
        self, connection: HubConnection, url: str, model_id: str, file: HubFile, part: Path, room: Room, report: Report
    ) -> None:
        self._connection = connection
        self._url = url
        self._model_id = model_id
        self._file = file
        self._part = part
        self._room = room
        self._report = report
        self._have = 0  # bytes on disk
        self._etag = ""
        self._digest: Digest

    def fetch(self) -> None:
        """Returns when the part is whole, on disk and its hash right.

        Raises TurbodeskError, or Cancelled after the connection's stop(); the part stays for the next time.
        """
        with storage_errors(self._part):
            try:
                with self._part.open("r+b" if self._part.exists() else "w+b", buffering=0) as part:
                    for _ in range(2):
                        if self._gather(part):
                            os.fsync(part.fileno())
                            return
                        part.truncate(0)
                        self._advance(-self._have, False)
            except OSError as problem:
                if problem.errno in _NO_ROOM:
                    large = (
                        "the file is too large for its file system" if problem.errno == errno.EFBIG else "it is full"
                    )
                    raise self._room.missing(f"the disk took no more of {self._file.path}, {large}") from problem
                raise
        raise error(FailureCode.DOWNLOAD_DAMAGED, file=self._file.path, hub=self._connection.address.name)

    def _gather(self, part: BinaryIO) -> bool:
        """Fetch what is missing; whether the whole then has the right hash."""
        self._digest = Digest(self._file)
        try:
            self._take_up(part)
            tries, furthest = 0, self._have
            while self._have < self._file.size:
                try:
                    self._receive(part)
                except Unsteady as trouble:
                    # Where a hub ignores ranges, bytes that came before are no progress.
                    tries = 0 if self._have > furthest else tries
                    furthest = max(furthest, self._have)
                    tries += 1
                    self._connection.wait_for_next(tries, trouble)
            return self._digest.matches()
        finally:
            self._digest.close()

    def _take_up(self, part: BinaryIO) -> None:
        """Hash what an earlier run left."""
        if os.fstat(part.fileno()).st_size > self._file.size:
            part.truncate(0)
        part.seek(0)
        self._have = 0
        while piece := part.read(_PIECE):
            self._connection.check()
            self._digest.update(piece)
            self._advance(len(piece), False)

    def _receive(self, part: BinaryIO) -> None:
        """One request; returns when its body ended as it should. Raises Unsteady where another may go on."""
        headers = {"Range": f"bytes={self._have}-"} if self._have else {}
        if self._have and self._etag and not (self._file.sha256 or self._file.git_sha1):
            headers["If-Range"] = self._etag  # nothing else would tell that the rest is another version's
        with self._connection.get(self._url, self._model_id, headers) as answer:
            self._check_head(answer)
            if self._have and answer.response.status == 200:  # the range was ignored
                self._start_over(part)
            etag = answer.response.headers.get("ETag", "")
            self._etag = "" if etag.startswith("W/") else etag
            seen_to, wanted = self._have, _FIRST_PIECE
            while self._have < self._file.size:
                started = time.monotonic()
                # Not read1: over TLS it would hand out 16 KB at a time, which takes twice the time.
                piece = answer.response.read(wanted, decode_content=False)
                if not piece:
                    break
                wanted = _next_piece(wanted, time.monotonic() - started)
                self._connection.check()
                piece = piece[: self._file.size - self._have]
                _write(part, piece)
                self._digest.update(piece)
                self._advance(len(piece), True)
                if self._have - seen_to >= _STRIDE:
                    self._room.check()
                    _begin_writing(part, seen_to, self._have)
                    seen_to = self._have
        if self._have < self._file.size:
            self._connection.check()
            raise self._unsteady(f"{self._file.path} ended early")

    def _check_head(self, answer: Answer) -> None:
        """Refuse an answer that cannot become the file. Raises TurbodeskError or Unsteady."""
        linked, wanted = answer.linked_hash, self._file.sha256
        if wanted and len(linked) == len(wanted) and linked != wanted:
            raise error(
                FailureCode.HUB_ANSWER_BROKEN,
                hub=self._connection.address.name,
                reason=f"{self._file.path} is not the file that it listed",
            )
        headers = answer.response.headers
        start = self._have if answer.response.status == 206 else 0
        if answer.response.status == 206 and not headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise self._unsteady(f"it sent another part of {self._file.path} than was asked for")
        length = headers.get("Content-Length", "")[:20]
        if length.isdecimal() and (end := start + int(length)) != self._file.size:
            raise self._unsteady(f"it listed {self._file.size} bytes of {self._file.path} and sends {end}")
        if headers.get("Content-Encoding", "identity") != "identity":
            raise self._unsteady(f"it sends {self._file.path} packed")

    def _start_over(self, part: BinaryIO) -> None:
        part.seek(0)
        part.truncate(0)
        self._advance(-self._have, False)
        self._etag = ""
        self._digest.close()
        self._digest = Digest(self._file)

    def _advance(self, count: int, came: bool) -> None:
        self._have += count
        self._report(count, came)

    def _unsteady(self, reason: str) -> Unsteady:
        return Unsteady(failure(FailureCode.HUB_ANSWER_BROKEN, hub=self._connection.address.name, reason=reason))


def _next_piece(wanted: int, seconds: float) -> int:
    """How many bytes to wait for next, when the last so many took so long: about what comes in a tenth of a second."""
    if seconds < 0.05:
        return min(wanted * 2, _PIECE)
    return max(wanted // 2, _LEAST_PIECE) if seconds > 0.2 else wanted


def _begin_writing(part: BinaryIO, start: int, end: int) -> None:
    """Let the kernel begin to put these bytes on the disk, so that the fsync at the end finds little to wait for.

    What Linux does first with dirty pages that it is told are not needed is to write them; it drops only clean ones.
    """
    os.posix_fadvise(part.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)


def _write(part: BinaryIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:  # a disk that is nearly full takes a part of it
        rest = rest[part.write(rest) :]


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
