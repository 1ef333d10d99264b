"""Exports and imports conversations, in a thread with its own view of the database."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.services.library import Library
from desktop.storage.cancelling import Cancelled
from desktop.storage.conversations import ConversationStore

if TYPE_CHECKING:
    from desktop.storage.transfer import Counts

MARKDOWN_SUFFIXES = (".md", ".markdown")


class Transfers(QObject):
    """Each file has a thread of its own.

    Signals:
        exported: the path of a file that is whole now.
        imported: how many conversations and messages were added.
        transfer_failed: the Failure; nothing was changed.
    """

    exported = Signal(str)
    imported = Signal(int, int)
    transfer_failed = Signal(object)
    _inspected = Signal(str, object)
    _added = Signal(object)

    def __init__(
        self, library: Library, open_store: Callable[[], ConversationStore], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._open_store = open_store
        self._leaving = threading.Event()
        self._inspected.connect(self._on_inspected)
        self._added.connect(self._on_added)

    def export(self, path: str, conversation_ids: Collection[int] | None = None) -> None:
        """Write these conversations (None: all) to a file: Markdown when its name says so, else JSON Lines."""
        from desktop.storage.transfer import export_json_lines, export_markdown  # seldom wanted, and slow to import

        write = export_markdown if Path(path).suffix.lower() in MARKDOWN_SUFFIXES else export_json_lines

        def work() -> None:
            store = self._open_store()
            try:
                write(store, Path(path), conversation_ids, self._leaving.is_set)
            finally:
                store.close()
            self.exported.emit(path)

        # Once everything asked for before is written.
        self._library.write(lambda _store: self._start(work))

    def import_file(self, path: str) -> None:
        """Add the conversations of a file; see import_file() of the storage."""
        from desktop.storage.transfer import inspect_import

        self._start(lambda: self._inspected.emit(path, inspect_import(Path(path), self._leaving.is_set)))

    def close(self) -> None:
        """What is under way gives up and leaves nothing behind."""
        self._leaving.set()

    @Slot(str, object)
    def _on_inspected(self, path: str, room: Counts) -> None:
        from desktop.storage.transfer import FirstIds, import_file

        first = FirstIds(*self._library.reserve(room.folders, room.conversations, room.messages))

        def add(store: ConversationStore) -> None:
            self._added.emit(import_file(store, Path(path), first, room, self._leaving.is_set))

        # The writer does it, so that it need not wait for the database; what streams meanwhile waits in its queue.
        self._library.write(lambda store: self._run(partial(add, store)))

    @Slot(object)
    def _on_added(self, added: Counts) -> None:
        self._library.read_again()
        self.imported.emit(added.conversations, added.messages)

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=self._run, args=(work,), name="transfer", daemon=True).start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            try:
                work()
            except Cancelled:
                return
            except TurbodeskError as problem:
                self.transfer_failed.emit(problem.failure)
            except Exception as problem:
                detail = traceback.format_exc()
                self.transfer_failed.emit(failure(FailureCode.INTERNAL, reason=problem, detail=detail))
        except RuntimeError:  # the window has gone
            return
