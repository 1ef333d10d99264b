"""Reads what is shown of one model only: its card, its code, and what the user has allowed it; in a thread each."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.shelf import ShelfEntry
from desktop.storage.checkpoint_code import CodeReport, read_code
from desktop.storage.hub_holding import read_origin
from desktop.storage.model_card import read_card
from desktop.storage.trust_store import TrustStore


class CheckpointInspector(QObject):
    """Nobody waits for a thread at the end of the program.

    Signals:
        card_read: a model's path and its ModelCard.
        code_read: a CodeReport, and what the user said to it: True, False, or None when it was not asked.
        origin_read: a model's path, and the DownloadPlan by which it was fetched here, or None.
        forgotten: a model's path.
        failed: a model's path and the Failure.
    """

    card_read = Signal(str, object)
    code_read = Signal(object, object)
    origin_read = Signal(str, object)
    forgotten = Signal(str)
    failed = Signal(str, object)

    def __init__(self, trust: Path, parent: QObject | None = None) -> None:
        """trust: the file of the TrustStore."""
        super().__init__(parent)
        self._trust = TrustStore(trust)
        self._writing = threading.Lock()

    def read_card(self, path: str) -> None:
        """Answered by card_read."""
        self._start(path, lambda: self.card_read.emit(path, read_card(path)))

    def read_origin(self, path: str) -> None:
        """Answered by origin_read."""
        self._start(path, lambda: self.origin_read.emit(path, read_origin(Path(path))))

    def read_code(self, entry: ShelfEntry) -> None:
        """Answered by code_read, each time, for files can change. Whoever loads a model asks first."""
        self._start(entry.path, lambda: self._read_code(entry))

    def answer(self, report: CodeReport, allowed: bool) -> None:
        """What the user said to exactly these files. Answered by code_read when it is written down."""
        self._start(report.path, lambda: self._remember(report, allowed))

    def forget(self, path: str) -> None:
        """Take back what was said of a model. Answered by forgotten."""
        self._start(path, lambda: self._forget(path))

    def allows(self, entry: ShelfEntry) -> bool:
        """Whether the user has allowed exactly what it would run now; for threads, and raises as read_code()."""
        return self._trust.answer(read_code(entry)) is True

    def _remember(self, report: CodeReport, allowed: bool) -> None:
        with self._writing:
            self._trust.remember(report, allowed)
        self.code_read.emit(report, allowed)

    def _forget(self, path: str) -> None:
        with self._writing:
            self._trust.forget(path)
        self.forgotten.emit(path)

    def _read_code(self, entry: ShelfEntry) -> None:
        report = read_code(entry)
        self.code_read.emit(report, self._trust.answer(report))

    def _start(self, path: str, work: Callable[[], None]) -> None:
        threading.Thread(target=self._run, args=(path, work), name="model-details", daemon=True).start()

    def _run(self, path: str, work: Callable[[], None]) -> None:
        try:
            try:
                work()
            except TurbodeskError as problem:
                self.failed.emit(path, problem.failure)
            except OSError as problem:
                reason = failure(FailureCode.CHECKPOINT_NOT_READABLE, path=path, detail=str(problem))
                self.failed.emit(path, reason)
            except Exception as problem:
                detail = traceback.format_exc()
                self.failed.emit(path, failure(FailureCode.INTERNAL, reason=problem, detail=detail))
        except RuntimeError:  # the window has gone
            return
