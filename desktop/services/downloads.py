"""The queue of downloads: some run, each in a thread, the others wait; what an earlier run left is taken up."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, SignalInstance, Slot

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.hub import RESERVE, DownloadPlan, HubAddress, HubModel, wanted_files
from desktop.services.download_status import DownloadState, DownloadStatus, Pace
from desktop.storage.cancelling import Cancelled
from desktop.storage.hub import Hub
from desktop.storage.hub_holding import Holding, read_origin, unfinished

if TYPE_CHECKING:
    from desktop.storage.hub_download import Download

AT_ONCE = 2
REPORTED_EVERY = 250  # milliseconds
_CLOSE_SECONDS = 3.0


class _Entry:
    """One download of the list. stopping: why its thread is asked to end, or None; finished: that came too late."""

    def __init__(self, holding: Holding, status: DownloadStatus) -> None:
        self.holding = holding
        self.status = status
        self.stopping: str | None = None
        self.finished = False
        self.download: Download | None = None
        self.thread: threading.Thread | None = None
        self.pace = Pace()


class Downloads(QObject):
    """All downloads, each named by the folder that it becomes. No method waits for the disk or the network.

    Signals:
        changed: a DownloadStatus: of a new download, when its state changes, and at most four times a second meanwhile.
        removed: the key of a download that is no longer listed.
        model_appeared: the folder of a model that is whole now, new or mended.
        refused: the Failure; what was asked for was not begun.
    """

    changed = Signal(object)
    removed = Signal(str)
    model_appeared = Signal(str)
    refused = Signal(object)
    _opened = Signal(object, object)
    _ended = Signal(str, object)

    def __init__(
        self, open_hub: Callable[[HubAddress], Hub], reserve: int = RESERVE, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._open_hub = open_hub
        self._reserve = reserve
        self._entries: dict[str, _Entry] = {}
        self._closing = False
        self._disk_work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._disk_thread: threading.Thread | None = None
        self._timer = QTimer(self, interval=REPORTED_EVERY)
        self._timer.timeout.connect(self._on_tick)
        self._opened.connect(self._on_opened)
        self._ended.connect(self._on_ended)

    @property
    def all(self) -> tuple[DownloadStatus, ...]:
        """Every download of the list, in its order."""
        return tuple(entry.status for entry in self._entries.values())

    def take_up(self, folders: Iterable[Path]) -> None:
        """Go on with what an earlier run left beside the models in these folders; what was paused stays paused."""
        for folder in () if self._closing else folders:
            self._on_disk(partial(self._find, folder))

    def add(self, model: HubModel, folder: Path) -> str:
        """Fetch a model into a folder of its own in this folder; returns the key."""
        plan = DownloadPlan(
            address=model.address,
            model_id=model.model_id,
            revision=model.revision,
            files=wanted_files(model.files),
            destination=str(folder / model.folder_name),
            licence=model.licence,
        )
        known = self._entries.get(plan.destination)
        if known is not None and known.status.plan != plan and known.status.state is not DownloadState.FINISHED:
            self.refused.emit(
                failure(FailureCode.DOWNLOAD_RUNS_ELSEWHERE, model=f"another version of {model.model_id}")
            )
        else:
            self._on_disk(partial(self._create, plan))
        return plan.destination

    def repair(self, folder: Path) -> None:
        """Check every file of a model that was fetched before, and fetch those that are broken or missing."""
        self._on_disk(partial(self._create_repair, folder))

    def pause(self, key: str) -> None:
        """Stop it for now; it stays paused over restarts."""
        entry = self._entries[key]
        if entry.status.state is DownloadState.RUNNING:
            self._stop(entry, "pause")
        elif entry.status.state is DownloadState.WAITING:
            self._on_disk(partial(entry.holding.save, paused=True))
            self._show(entry, DownloadState.PAUSED)

    def resume(self, key: str) -> None:
        """Go on with what was paused, or try again what failed."""
        entry = self._entries[key]
        if entry.status.state in (DownloadState.PAUSED, DownloadState.FAILED):
            self._show(entry, DownloadState.WAITING)
            self._start_next()

    def cancel(self, key: str) -> None:
        """Take it off the list; what was fetched of a model that is not whole is deleted."""
        entry = self._entries[key]
        if entry.status.state is DownloadState.RUNNING:
            self._stop(entry, "cancel")
            return
        if entry.status.state is not DownloadState.FINISHED:
            self._on_disk(entry.holding.discard)
        self._remove(key)

    def close(self) -> None:
        """Stop everything; what runs or waits goes on at the next start."""
        self._closing = True
        self._timer.stop()
        for entry in self._entries.values():
            if entry.thread is not None:
                self._stop(entry, "close")
        deadline = time.monotonic() + _CLOSE_SECONDS
        for entry in self._entries.values():
            if entry.thread is not None:
                entry.thread.join(max(0.0, deadline - time.monotonic()))
            elif entry.status.state is DownloadState.WAITING:
                self._on_disk(entry.holding.save)  # it may have been paused before
        if self._disk_thread is not None:
            self._disk_work.put(None)
            self._disk_thread.join(max(0.0, deadline - time.monotonic()))

    # In the thread for the disk.

    def _find(self, folder: Path) -> None:
        for holding in unfinished(folder):
            _emit(self._opened, holding, holding.bytes_on_disk())

    def _create(self, plan: DownloadPlan) -> None:
        holding = Holding.create(plan)
        _emit(self._opened, holding, holding.bytes_on_disk())

    def _create_repair(self, folder: Path) -> None:
        origin = read_origin(folder)
        if origin is None:
            reason = "Turbodesk did not fetch it, so it is not known what its files should be"
            raise TurbodeskError(failure(FailureCode.NOT_A_CHECKPOINT, path=folder, reason=reason))
        # The folder may have been moved since.
        self._create(msgspec.structs.replace(origin, destination=str(folder), repair=True))

    def _finish(self, entry: _Entry, problem: Failure | None) -> None:
        """The thread of a download has ended: write down why."""
        if not entry.finished:
            if entry.stopping == "cancel":
                problem = _problem_of(entry.holding.discard)
            elif entry.stopping == "pause":
                problem = _problem_of(partial(entry.holding.save, paused=True))
            elif problem is not None:
                # Should even this fail, the next start will try once more and say so.
                _problem_of(partial(entry.holding.save, failure=problem))
        _emit(self._ended, entry.status.key, problem)

    def _work_on_disk(self) -> None:
        while (work := self._disk_work.get()) is not None:
            problem = _problem_of(work)
            if problem is not None:
                _emit(self.refused, problem)

    # In the thread of a download.

    def _run(self, entry: _Entry) -> None:
        problem = _problem_of(partial(self._run_to_end, entry))
        self._disk_work.put(partial(self._finish, entry, problem))

    def _run_to_end(self, entry: _Entry) -> None:
        from desktop.storage.hub_download import Download  # the libraries of the network are not loaded before

        download = Download(entry.holding, partial(self._open_hub, entry.holding.plan.address), self._reserve)
        entry.download = download
        if entry.stopping is not None:
            raise Cancelled
        if entry.holding.record.paused or entry.holding.record.failure is not None:
            entry.holding.save()
        download.run()
        entry.finished = True

    # In the window's thread.

    def _on_disk(self, work: Callable[[], object]) -> None:
        if self._disk_thread is None:
            self._disk_thread = threading.Thread(target=self._work_on_disk, name="downloads-disk", daemon=True)
            self._disk_thread.start()
        self._disk_work.put(work)

    @Slot(object, object)
    def _on_opened(self, holding: Holding, on_disk: int) -> None:
        key, record = holding.plan.destination, holding.record
        known = self._entries.get(key)
        if self._closing or (known is not None and known.status.state is not DownloadState.FINISHED):
            if known is not None:
                self.resume(key)
            return
        state = DownloadState.WAITING
        if record.failure is not None:
            state = DownloadState.FAILED
        elif record.paused:
            state = DownloadState.PAUSED
        status = DownloadStatus(
            plan=holding.plan,
            state=state,
            on_disk=on_disk,
            total=holding.plan.size,
            failure=record.failure,
        )
        self._entries[key] = _Entry(holding, status)
        self.changed.emit(status)
        self._start_next()

    def _start_next(self) -> None:
        running = sum(entry.status.state is DownloadState.RUNNING for entry in self._entries.values())
        for entry in list(self._entries.values()):
            if running >= AT_ONCE or self._closing:
                return
            if entry.status.state is DownloadState.WAITING:
                running += 1
                entry.stopping, entry.finished, entry.download, entry.pace = None, False, None, Pace()
                entry.thread = threading.Thread(target=self._run, args=(entry,), name="download", daemon=True)
                self._show(entry, DownloadState.RUNNING)
                entry.thread.start()
                self._timer.start()

    def _stop(self, entry: _Entry, why: str) -> None:
        entry.stopping = why
        if entry.download is not None:
            entry.download.stop()

    @Slot(str, object)
    def _on_ended(self, key: str, problem: Failure | None) -> None:
        entry = self._entries[key]
        entry.thread = None
        self._measure(entry)
        if entry.finished:
            self._show(entry, DownloadState.FINISHED)
            self.model_appeared.emit(key)
        elif problem is not None:
            self._show(entry, DownloadState.FAILED, problem)
        elif entry.stopping == "cancel":
            self._remove(key)
        else:
            self._show(entry, DownloadState.PAUSED)
        self._start_next()

    @Slot()
    def _on_tick(self) -> None:
        running = [entry for entry in self._entries.values() if entry.status.state is DownloadState.RUNNING]
        if not running:
            self._timer.stop()
        for entry in running:
            before = entry.status
            self._measure(entry)
            if entry.status != before:
                self.changed.emit(entry.status)

    def _measure(self, entry: _Entry) -> None:
        if entry.download is None:
            return
        progress = entry.download.progress
        entry.pace.add(time.monotonic(), progress.received)
        speed = entry.pace.speed
        entry.status = msgspec.structs.replace(
            entry.status,
            on_disk=progress.on_disk,
            speed=speed,
            seconds_left=(progress.total - progress.on_disk) / speed if speed >= 1 else None,
        )

    def _show(self, entry: _Entry, state: DownloadState, problem: Failure | None = None) -> None:
        entry.status = msgspec.structs.replace(entry.status, state=state, failure=problem, speed=0.0, seconds_left=None)
        self.changed.emit(entry.status)

    def _remove(self, key: str) -> None:
        del self._entries[key]
        self.removed.emit(key)


def _problem_of(work: Callable[[], object]) -> Failure | None:
    """Do it; the failure, if it failed. That it was given up is none."""
    try:
        work()
    except Cancelled:
        return None
    except TurbodeskError as problem:
        return problem.failure
    except Exception as problem:
        return failure(FailureCode.INTERNAL, reason=type(problem).__name__, detail=traceback.format_exc())
    return None


def _emit(signal: SignalInstance, *values: object) -> None:
    try:
        signal.emit(*values)
    except RuntimeError:  # the window has gone
        return
