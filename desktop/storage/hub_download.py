"""Fetches a whole model into its holding folder, several files at once, and lets it appear when it is whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from desktop.domain.hub import RESERVE, HubFile
from desktop.storage.cancelling import Cancelled
from desktop.storage.hub import Hub
from desktop.storage.hub_holding import Holding, is_whole
from desktop.storage.hub_transfer import FileTransfer, Room
from desktop.storage.hub_workers import work_through

FILES_AT_ONCE = 3


class Progress(msgspec.Struct, frozen=True):
    """How far a download is. Bytes: on disk and in all; received: from the hub in this run, for the speed."""

    on_disk: int
    total: int
    received: int


class Download:
    """One run of a download: run() in a worker thread, stop() from any other. For the next run make another.

    open_hub: called in the worker thread, since it may ask the keyring. reserve: bytes.
    """

    def __init__(self, holding: Holding, open_hub: Callable[[], Hub], reserve: int = RESERVE) -> None:
        self._holding = holding
        self._open_hub = open_hub
        self._hub: Hub | None = None
        self._room = Room(holding.folder, holding.plan.model_id, reserve)
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._on_disk = 0
        self._received = 0

    @property
    def progress(self) -> Progress:
        """How far it is now; from any thread."""
        return Progress(self._on_disk, self._holding.plan.size, self._received)

    def stop(self) -> None:
        """Let run() end soon with Cancelled; what was fetched stays."""
        self._leaving.set()
        if self._hub is not None:
            self._hub.connection.stop()

    def run(self) -> None:
        """Fetch what is missing and place the model. Raises TurbodeskError, Cancelled."""
        if self._holding.was_placed():
            self._holding.discard()
            return
        with self._holding.held():
            self._hub = hub = self._open_hub()
            self._check()
            try:
                missing = self._missing()
                self._room.check(self._holding.plan.size - self._on_disk - self._in_parts(missing))
                work_through(missing, self._fetch, FILES_AT_ONCE, hub.connection.stop)
                self._check()
                self._holding.place()
            finally:
                hub.connection.close()

    def _missing(self) -> list[HubFile]:
        """The files to fetch, small ones first: a model that is refused is refused at once."""
        plan, missing = self._holding.plan, []
        for file in sorted(plan.files, key=lambda file: file.size):
            self._check()
            there = plan.repair and is_whole(Path(plan.destination) / file.path, file, self._leaving.is_set)
            if there or self._holding.has(file):
                self._advance(file.size, False)
            else:
                missing.append(file)
        return missing

    def _in_parts(self, files: list[HubFile]) -> int:
        parts = (self._holding.part(file) for file in files)
        return sum(part.stat().st_size for part in parts if part.exists())

    def _fetch(self, file: HubFile) -> None:
        plan, hub = self._holding.plan, self._hub
        assert hub is not None
        url = hub.file_url(plan.model_id, plan.revision, file.path)
        part = self._holding.part(file)
        FileTransfer(hub.connection, url, plan.model_id, file, part, self._room, self._advance).fetch()
        self._holding.keep(file)

    def _advance(self, count: int, came: bool) -> None:
        with self._lock:
            self._on_disk += count
            self._received += count if came else 0

    def _check(self) -> None:
        if self._leaving.is_set():
            raise Cancelled
