"""Searches hubs and looks at models before they are fetched, in threads; the last question of each kind counts."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QObject, Signal, SignalInstance

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.hub import HubAddress
from desktop.storage.cancelling import Cancelled
from desktop.storage.hub import Hub
from desktop.storage.hub_preview import preview


class HubBrowser(QObject):
    """Answers to a question that was followed by another of its kind are dropped, and its requests ended.

    Signals:
        found: the text that was searched for, a list of HubHit.
        looked: a HubModel, its Preview.
        search_failed, look_failed: the Failure.
    """

    found = Signal(str, object)
    looked = Signal(object, object)
    search_failed = Signal(object)
    look_failed = Signal(object)

    def __init__(self, open_hub: Callable[[HubAddress], Hub], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open_hub = open_hub
        self._search = _Question(self.search_failed)
        self._look = _Question(self.look_failed)

    def search(self, address: HubAddress, text: str) -> None:
        """Search a hub; the answer comes with `found`."""
        self._search.ask(partial(self._open_hub, address), lambda hub: (text, hub.search(text)), self.found)

    def look(self, address: HubAddress, model_id: str, revision: str = "") -> None:
        """Read what a model is; the answer comes with `looked`. revision: "" for the newest."""

        def work(hub: Hub) -> tuple[object, ...]:
            model = hub.model(model_id, revision)
            return model, preview(hub, model)

        self._look.ask(partial(self._open_hub, address), work, self.looked)

    def close(self) -> None:
        """End what is under way."""
        self._search.end()
        self._look.end()


class _Question:
    """The last of the questions of one kind. failed: the signal for its Failure."""

    def __init__(self, failed: SignalInstance) -> None:
        self._failed = failed
        self._lock = threading.Lock()
        self._number = 0
        self._hub: Hub | None = None

    def ask(
        self, open_hub: Callable[[], Hub], work: Callable[[Hub], tuple[object, ...]], answered: SignalInstance
    ) -> None:
        """Do the work in a thread, with a hub of its own."""
        number = self.end()
        threading.Thread(
            target=self._run, args=(number, open_hub, work, answered), name="hub-browser", daemon=True
        ).start()

    def end(self) -> int:
        """Nobody waits for an answer any more; the number of the next question."""
        with self._lock:
            self._number += 1
            hub, self._hub = self._hub, None
            if hub is not None:
                hub.connection.stop()
            return self._number

    def _run(
        self,
        number: int,
        open_hub: Callable[[], Hub],
        work: Callable[[Hub], tuple[object, ...]],
        answered: SignalInstance,
    ) -> None:
        try:
            hub = open_hub()
            with self._lock:
                if number != self._number:
                    return
                self._hub = hub
            answer = work(hub)
        except Cancelled:
            return
        except TurbodeskError as problem:
            self._emit(number, self._failed, problem.failure)
        except Exception as problem:
            detail = traceback.format_exc()
            self._emit(
                number, self._failed, failure(FailureCode.INTERNAL, reason=type(problem).__name__, detail=detail)
            )
        else:
            self._emit(number, answered, *answer)

    def _emit(self, number: int, signal: SignalInstance, *values: object) -> None:
        with self._lock:
            if number != self._number:
                return
        try:
            signal.emit(*values)
        except RuntimeError:  # the window has gone
            return
