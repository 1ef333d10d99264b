"""Loads a model of the shelf, after the user's consent where it brings a program of its own or pickle weights."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.shelf import ShelfEntry
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.engine_host import EngineHost
from desktop.storage.checkpoint_code import CodeReport


class ModelLoader(QObject):
    """Consent is asked once for each revision of a model, and holds for exactly the files that were shown.

    That is looked at before each load: also before the host loads a trusted model again, whoever asks for it.

    Signals:
        consent_needed: a CodeReport; call answer() or dismiss().
    """

    consent_needed = Signal(object)

    def __init__(
        self,
        host: EngineHost,
        inspector: CheckpointInspector,
        known: Callable[[str], ShelfEntry | None] = lambda path: None,
        parent: QObject | None = None,
    ) -> None:
        """known: the shelf's entry of a path, where it has one."""
        super().__init__(parent)
        self._host = host
        self._inspector = inspector
        self._known = known
        self._waiting = ""  # path of the model whose code is being read or judged
        self._again = False  # it was loaded before, and others may wait for it
        self._trusted: dict[str, ShelfEntry] = {}  # what was loaded with consent, as it was then
        inspector.code_read.connect(self._on_code_read)
        inspector.failed.connect(self._on_failed)
        host.load_trusted = self.load_again

    @Slot(object)
    def load(self, entry: ShelfEntry) -> None:
        """Load it now, or once consent is given; a load asked for later takes the place of one that waits for that."""
        self._waiting, self._again = "", False
        if entry.needs_consent:
            self._waiting = entry.path
            self._trusted[entry.path] = entry
            self._inspector.read_code(entry)
        else:
            self._host.load(entry.path)

    def load_again(self, path: str) -> None:
        """Load a model that was trusted; what it would run now is read and judged anew."""
        entry = self._known(path) or self._trusted.get(path)
        if entry is None:
            self._host.load(path)  # without trust
        else:
            self.load(entry)
            self._again = True

    def answer(self, report: CodeReport, allowed: bool) -> None:
        """What the user said; it is written down either way."""
        if not allowed:
            self.dismiss()
        self._inspector.answer(report, allowed)

    @Slot()
    def dismiss(self) -> None:
        """The user was asked and did not answer: it is not loaded."""
        waiting, self._waiting = self._waiting, ""
        if waiting and self._again:
            self._host.refuse(failure(FailureCode.NOT_TRUSTED_AGAIN, path=waiting))

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
