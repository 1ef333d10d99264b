"""The models on disk, as the window sees them: found and watched in one thread, judged by LMDeploy through another."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.shelf import ScanReport, ShelfEntry
from desktop.engine.support_asker import SupportAsker
from desktop.services.support_desk import SupportDesk
from desktop.storage.cancelling import Cancelled
from desktop.storage.checkpoint_roots import scan_roots
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.paths import AppPaths, demo_checkpoint

POLL_SECONDS = 5.0
POLL_SHARE = 0.02  # of a core, at most, goes into watching
_BATCH_SECONDS = 0.1


class CheckpointShelf(QObject):
    """Every model folder by its path. Nothing here waits for the disk; what is not known yet is simply not there yet.

    Watching means scanning again, which reads names, sizes and times only where nothing changed: that survives folders
    and disks that vanish, works on network disks, and cannot stall the window.

    Signals:
        scan_started: a scan that was asked for; watching is silent.
        entries_changed: a list of the ShelfEntry that are new or different, and a list of paths that are gone.
        scan_finished: the ScanReport of a scan that was asked for.
        scan_failed: the Failure.
        support_changed: a list of paths whose support() is new.
        support_failed: the Failure; LMDeploy could not be asked.
    """

    scan_started = Signal()
    entries_changed = Signal(object, object)
    scan_finished = Signal(object)
    scan_failed = Signal(object)
    support_changed = Signal(object)
    support_failed = Signal(object)

    _found = Signal(object)
    _scanned = Signal(object, bool)
    _failed = Signal(object)

    def __init__(
        self,
        paths: AppPaths,
        asker: SupportAsker | None = None,
        poll_seconds: float = POLL_SECONDS,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._paths = paths
        self._poll_seconds = poll_seconds
        self._entries: dict[str, ShelfEntry] = {}
        self._report = ScanReport()
        self._folders: tuple[str, ...] = ()
        self._watching = False
        self._stopping = threading.Event()
        self._wanted = False  # a scan is asked for
        self._nudge = threading.Event()
        self._thread: threading.Thread | None = None
        self._support = SupportDesk(paths.cache, asker, self)
        self._support.answered.connect(self._on_support)
        self._support.asking_failed.connect(self.support_failed)
        self._found.connect(self._on_found)
        self._scanned.connect(self._on_scanned)
        self._failed.connect(self.scan_failed)

    @property
    def entries(self) -> Mapping[str, ShelfEntry]:
        """All that are known now, by path."""
        return MappingProxyType(self._entries)

    @property
    def report(self) -> ScanReport:
        """Of the last scan; empty before the first."""
        return self._report

    @property
    def kept_folders(self) -> tuple[str, ...]:
        """What no removal may take: the folders that are searched, our own data, what the program came with."""
        roots = scan_roots(self._paths, self._folders)
        return (*(root.path for root in roots), str(self._paths.data), str(demo_checkpoint()))

    def support(self, path: str) -> EngineSupport | None:
        """Which engine runs it; None while that is not known."""
        entry = self._entries.get(path)
        return None if entry is None else self._support.answer(entry)

    def set_folders(self, folders: Iterable[str]) -> None:
        """The folders that the user named; takes effect with the next scan()."""
        self._folders = tuple(folders)

    @Slot()
    def scan(self) -> None:
        """Look through everything; a scan that runs is given up for this one."""
        if self._stopping.is_set():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoint-scan", daemon=True)
            self._thread.start()
        self.scan_started.emit()
        self._wanted = True
        self._nudge.set()

    @Slot(bool)
    def watch(self, on: bool) -> None:
        """Whether to look for changes by itself, after the first scan."""
        self._watching = on
        self._nudge.set()

    def close(self) -> None:
        """End the threads and LMDeploy's child."""
        self._stopping.set()
        self._nudge.set()
        self._support.close()
        if self._thread is not None:
            self._thread.join(timeout=2)

    @Slot(object)
    def _on_found(self, entries: list[ShelfEntry]) -> None:
        changed = [entry for entry in entries if self._entries.get(entry.path) != entry]
        self._entries.update((entry.path, entry) for entry in changed)
        if changed:
            self.entries_changed.emit(changed, [])

    @Slot(object, bool)
    def _on_scanned(self, report: ScanReport, asked: bool) -> None:
        self._report = report
        gone = sorted(self._entries.keys() - {entry.path for entry in report.entries})
        for path in gone:
            del self._entries[path]
        if gone:
            self.entries_changed.emit([], gone)
        self._support.ask(entry for entry in report.entries if entry.checkpoint is not None)
        if asked:
            self.scan_finished.emit(report)

    @Slot(object)
    def _on_support(self, paths: list[str]) -> None:
        if known := [path for path in paths if self.support(path) is not None]:
            self.support_changed.emit(known)

    def _work(self) -> None:
        cache = open_cache(self._paths.cache)
        pause = self._poll_seconds
        try:
            while True:
                due = not self._nudge.wait(pause if self._watching else None)
                self._nudge.clear()
                if self._stopping.is_set():
                    return
                asked, self._wanted = self._wanted, False
                if not asked and not due:
                    continue
                batch = _Batch(self._found)
                try:
                    roots = scan_roots(self._paths, self._folders)
                    report = scan(roots, cache, batch.add, self._is_overtaken)
                    batch.send()
                    self._scanned.emit(report, asked)
                    pause = max(self._poll_seconds, report.seconds / POLL_SHARE)
                except Cancelled:
                    continue
                except TurbodeskError as problem:
                    self._failed.emit(problem.failure)
                except Exception as problem:
                    detail = traceback.format_exc()
                    self._failed.emit(failure(FailureCode.INTERNAL, reason=problem, detail=detail))
        except RuntimeError:  # the window has gone
            return

    def _is_overtaken(self) -> bool:
        return self._stopping.is_set() or self._wanted


class _Batch:
    """Entries on their way to the window, a few times a second, for a thousand signals would hold it up."""

    def __init__(self, signal: object) -> None:
        self._signal = signal
        self._entries: list[ShelfEntry] = []
        self._sent_at = time.monotonic()

    def add(self, entry: ShelfEntry) -> None:
        self._entries.append(entry)
        if time.monotonic() - self._sent_at > _BATCH_SECONDS:
            self.send()

    def send(self) -> None:
        entries, self._entries, self._sent_at = self._entries, [], time.monotonic()
        if entries:
            self._signal.emit(entries)  # type: ignore[attr-defined]
