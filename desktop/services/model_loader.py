"""Loads a model of the shelf, after the user's consent where it brings a program of its own or pickle weights."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.errors import Failure
from desktop.domain.shelf import ShelfEntry
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.engine_host import EngineHost
from desktop.storage.checkpoint_code import CodeReport


class ModelLoader(QObject):
    """Consent is asked once for each revision of a model, and holds for exactly the files that were shown.

    Signals:
        consent_needed: a CodeReport; call answer() with it.
    """

    consent_needed = Signal(object)

    def __init__(self, host: EngineHost, inspector: CheckpointInspector, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._host = host
        self._inspector = inspector
        self._waiting = ""  # path of the model whose code is being read or judged
        inspector.code_read.connect(self._on_code_read)
        inspector.failed.connect(self._on_failed)

    @Slot(object)
    def load(self, entry: ShelfEntry) -> None:
        """Load it now, or once consent is given; a load asked for later takes the place of one that waits for that."""
        self._waiting = ""
        if entry.needs_consent:
            self._waiting = entry.path
            self._inspector.read_code(entry)
        else:
            self._host.load(entry.path)

    def answer(self, report: CodeReport, allowed: bool) -> None:
        """What the user said; it is written down either way."""
        if not allowed:
            self._waiting = ""
        self._inspector.answer(report, allowed)

    @Slot(object, object)
    def _on_code_read(self, report: CodeReport, said: bool | None) -> None:
        if report.path != self._waiting:
            return
        if said:
            self._waiting = ""
            self._host.load(report.path, trusted=True)
        else:
            self.consent_needed.emit(report)

    @Slot(str, object)
    def _on_failed(self, path: str, _problem: Failure) -> None:
        if path == self._waiting:
            self._waiting = ""
            self._host.load(path)  # which fails too, and says so where the user looks
