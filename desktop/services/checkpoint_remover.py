"""Removes models to the desktop's trash, with undo, in a thread."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from PySide6.QtCore import QFile, QObject, Signal

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.shelf import ShelfEntry
from desktop.storage.checkpoint_removal import (
    RemovalPlan,
    Removed,
    delete_for_good,
    plan_removal,
    put_back,
    set_aside,
)

# Two removals must not plan with the same shared files.
_ONE_AT_A_TIME = threading.Lock()


class CheckpointRemover(QObject):
    """Each call returns at once; what became of it comes as a signal.

    Signals:
        planned: a RemovalPlan, what remove() would do.
        removed: a Removed, which put_back() takes. Without a trash it waits in a hidden folder beside.
        restored: the path of a model that is there again.
        deleted: the path of a model that is gone for good.
        refused: the path, and the Failure; nothing has changed.
    """

    planned = Signal(object)
    removed = Signal(object)
    restored = Signal(str)
    deleted = Signal(str)
    refused = Signal(str, object)

    def __init__(self, to_trash: Callable[[str], str] | None = None, parent: QObject | None = None) -> None:
        """to_trash: moves a folder to the trash and returns where it lies there, "" where that cannot be done."""
        super().__init__(parent)
        self._to_trash = to_trash or _to_trash

    def plan(
        self, entry: ShelfEntry, kept: Iterable[str] = (), in_use: Iterable[str] = (), models: Iterable[str] = ()
    ) -> None:
        """Find out what removing this would do; the arguments are those of plan_removal()."""
        self._start(entry.path, self._plan, entry, tuple(kept), tuple(in_use), tuple(models))

    def remove(self, plan: RemovalPlan) -> None:
        """Do it."""
        self._start(plan.path, self._remove, plan)

    def put_back(self, removed: Removed) -> None:
        """Undo it."""
        self._start(removed.plan.path, self._put_back, removed)

    def delete_for_good(self, removed: Removed) -> None:
        """Free the space of a model that the trash did not take."""
        self._start(removed.plan.path, self._delete, removed)

    def _plan(self, entry: ShelfEntry, *folders: tuple[str, ...]) -> None:
        self.planned.emit(plan_removal(entry, *folders))

    def _remove(self, plan: RemovalPlan) -> None:
        # A folder goes to the trash as it is, so that the desktop's own undo works too.
        if len(plan.moved) == 1 and (trashed := self._to_trash(plan.moved[0])):
            self.removed.emit(Removed(plan=plan, trashed=trashed))
            return
        removed = set_aside(plan)
        trashed = self._to_trash(removed.aside) if len(plan.moved) > 1 else ""
        self.removed.emit(msgspec.structs.replace(removed, trashed=trashed))

    def _put_back(self, removed: Removed) -> None:
        put_back(removed)
        self.restored.emit(removed.plan.path)

    def _delete(self, removed: Removed) -> None:
        delete_for_good(removed)
        self.deleted.emit(removed.plan.path)

    def _start(self, path: str, work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=self._run, args=(path, work, arguments), name="remove-model", daemon=True).start()

    def _run(self, path: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            try:
                with _ONE_AT_A_TIME:
                    work(*arguments)
            except TurbodeskError as problem:
                self.refused.emit(path, problem.failure)
            except Exception as problem:
                detail = traceback.format_exc()
                self.refused.emit(path, failure(FailureCode.INTERNAL, reason=problem, detail=detail))
        except RuntimeError:  # the window has gone
            return


def _to_trash(path: str) -> str:
    file = QFile(path)
    return file.fileName() if file.moveToTrash() else ""
