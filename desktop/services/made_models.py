"""What is known of the models that were made here: of what, how, and how good they are. Read beside the window."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.evaluation import Grade
from desktop.domain.shelf import ShelfEntry
from desktop.domain.versions import MadeModel, Version, versions
from desktop.jobs.made_model import read_made
from desktop.services.checkpoint_shelf import CheckpointShelf


class MadeModels(QObject):
    """Follows the shelf: a new verdict changes a model's folder, and so it is read again.

    Signals:
        made_changed: a set of paths of which something else is known now.
    """

    made_changed = Signal(object)

    _read = Signal(object)

    def __init__(self, shelf: CheckpointShelf, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._shelf = shelf
        self._known: dict[str, MadeModel] = {}
        self._waiting: set[str] = set()
        self._reading = False
        shelf.entries_changed.connect(self._on_entries_changed)
        self._read.connect(self._on_read)
        self._on_entries_changed(list(shelf.entries.values()), [])

    def made(self, path: str) -> MadeModel | None:
        """None for a model that was not made here, or of which that is not known yet."""
        return self._known.get(path)

    def grade(self, path: str) -> Grade | None:
        """Its verdict, where it has one."""
        known = self._known.get(path)
        return None if known is None or known.evaluation is None else known.evaluation.grade

    def source_of(self, path: str) -> str:
        """The folder of the original: of the model itself, if it was not made here."""
        known = self._known.get(path)
        return path if known is None else known.source

    def versions(self, path: str) -> list[Version]:
        """The original of this model and all that was made of it here; just one row where there is nothing of that."""
        source, entries = self.source_of(path), self._shelf.entries
        made = [
            (entries[known.path].title, entries[known.path].disk_bytes, known)
            for known in self._known.values()
            if known.path in entries
        ]
        entry = entries.get(source)
        if entry is not None:
            return versions(source, (entry.title, entry.disk_bytes), made)
        name = next((known.source_name for _, _, known in made if known.source == source), "")
        return versions(source, (name, None), made)

    @Slot(object, object)
    def _on_entries_changed(self, changed: list[ShelfEntry], gone: list[str]) -> None:
        if lost := {path for path in gone if self._known.pop(path, None) is not None}:
            self.made_changed.emit(lost)
        self._waiting |= {entry.path for entry in changed}
        self._read_next()

    def _read_next(self) -> None:
        """One thread at a time, or an older answer might come after a newer one."""
        if self._waiting and not self._reading:
            self._reading = True
            paths, self._waiting = self._waiting, set()
            threading.Thread(target=self._work, args=(paths,), name="made-models", daemon=True).start()

    def _work(self, paths: set[str]) -> None:
        found = {path: read_made(path) for path in paths}
        try:
            self._read.emit(found)
        except RuntimeError:  # the window has gone
            return

    @Slot(object)
    def _on_read(self, found: Mapping[str, MadeModel | None]) -> None:
        self._reading = False
        changed = {path for path, made in found.items() if made != self._known.get(path)}
        for path in changed:
            made = found[path]
            if made is None or path not in self._shelf.entries:
                self._known.pop(path, None)
            else:
                self._known[path] = made
        if changed:
            self.made_changed.emit(changed)
        self._read_next()
