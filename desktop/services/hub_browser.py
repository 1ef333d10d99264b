"""Searches hubs and looks at models before they are fetched, in threads; the last question of each kind counts."""

from __future__ import annotations

import shutil
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal, SignalInstance

from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.hub import HubAddress
from desktop.engine.support_asker import SupportAsker
from desktop.engine.support_check import lmdeploy_version
from desktop.storage.cancelling import Cancelled
from desktop.storage.hub import Hub
from desktop.storage.hub_preview import Preview, download_size, preview_of, skeleton

_CLOSE_SECONDS = 1.0
_NEEDS_TOKEN = (FailureCode.MODEL_GATED, FailureCode.TOKEN_REFUSED)

_Said = tuple[SignalInstance, tuple[object, ...]]


class HubBrowser(QObject):
    """Answers to a question that was followed by another of its kind are dropped, and its requests ended.

    Signals:
        found: the text that was searched for, a list of HubHit.
        looked: a HubModel, its Preview, and the bytes that are free where it would go, None where that is not known.
            The files of a gated model cannot be read without a token: then the Preview has that as its problem.
        judged: the HubModel that was looked at, and its EngineSupport: it comes some seconds later.
        search_failed, look_failed: the Failure.
        token_kept: a token is used from now on. token_forgotten: the Failure that says why only until the end.
    """

    found = Signal(str, object)
    looked = Signal(object, object, object)
    judged = Signal(object, object)
    search_failed = Signal(object)
    look_failed = Signal(object)
    token_kept = Signal()
    token_forgotten = Signal(object)

    def __init__(
        self,
        open_hub: Callable[[HubAddress], Hub],
        keep_token: Callable[[HubAddress, str], Failure | None],
        asker: SupportAsker | None = None,
        parent: QObject | None = None,
    ) -> None:
        """asker: has LMDeploy judge a model that is looked at."""
        super().__init__(parent)
        self._open_hub = open_hub
        self._keep_token = keep_token
        self._asker = asker
        self._search = _Question(self.search_failed)
        self._look = _Question(self.look_failed)

    def search(self, address: HubAddress, text: str) -> None:
        """Search a hub; the answer comes with `found`."""
        self._search.ask(partial(self._open_hub, address), partial(self._find, text))

    def look(self, address: HubAddress, model_id: str, revision: str = "", folder: Path | None = None) -> None:
        """Read what a model is: `looked`, then `judged`. revision: "" for the newest. folder: where it would go."""
        self._look.ask(partial(self._open_hub, address), partial(self._read, model_id, revision, folder))

    def keep_token(self, address: HubAddress, token: str) -> None:
        """Use this token from now on; answered by token_kept, for the keyring may have to be unlocked."""
        threading.Thread(target=self._keep, args=(address, token), name="hub-token", daemon=True).start()

    def stop_looking(self) -> None:
        """Nobody waits for `looked` or `judged` any more."""
        self._look.end()

    def close(self) -> None:
        """End what is under way."""
        self._search.end()
        self._look.end()
        self._search.join()
        self._look.join()

    # In threads.

    def _find(self, text: str, hub: Hub, _is_over: Callable[[], bool]) -> Iterator[_Said]:
        yield self.found, (text, hub.search(text))

    def _read(
        self, model_id: str, revision: str, folder: Path | None, hub: Hub, is_over: Callable[[], bool]
    ) -> Iterator[_Said]:
        model = hub.model(model_id, revision)
        free = _free_bytes(folder)
        try:
            with skeleton(hub, model) as files:
                found = preview_of(hub, model, files)
                yield self.looked, (model, found, free)
                if found.checkpoint is not None:
                    yield self.judged, (model, self._judge(files, is_over))
        except TurbodeskError as problem:
            if problem.failure.code not in _NEEDS_TOKEN:
                raise
            yield self.looked, (model, Preview(None, problem.failure, "", download_size(model)), free)

    def _judge(self, folder: Path, is_over: Callable[[], bool]) -> EngineSupport:
        version = lmdeploy_version()
        try:
            for _, support in (self._asker or SupportAsker(version)).ask([str(folder)], is_over):
                return support
        except TurbodeskError as problem:
            return EngineSupport(lmdeploy=version, failure=problem.failure.message)
        raise Cancelled

    def _keep(self, address: HubAddress, token: str) -> None:
        problem = self._keep_token(address, token)
        _emit(self.token_kept)
        if problem is not None:
            _emit(self.token_forgotten, problem)


class _Question:
    """The last of the questions of one kind. failed: the signal for its Failure."""

    def __init__(self, failed: SignalInstance) -> None:
        self._failed = failed
        self._lock = threading.Lock()
        self._number = 0
        self._hub: Hub | None = None
        self._thread: threading.Thread | None = None

    def ask(self, open_hub: Callable[[], Hub], work: Callable[[Hub, Callable[[], bool]], Iterator[_Said]]) -> None:
        """Do the work in a thread, with a hub of its own, and say what it yields."""
        number = self.end()
        self._thread = threading.Thread(
            target=self._run, args=(number, open_hub, work), name="hub-browser", daemon=True
        )
        self._thread.start()

    def end(self) -> int:
        """Nobody waits for an answer any more; the number of the next question."""
        with self._lock:
            self._number += 1
            hub, self._hub = self._hub, None
            if hub is not None:
                hub.connection.stop()
            return self._number

    def join(self) -> None:
        """Give the last thread a moment to clean up after itself."""
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(
        self,
        number: int,
        open_hub: Callable[[], Hub],
        work: Callable[[Hub, Callable[[], bool]], Iterator[_Said]],
    ) -> None:
        try:
            hub = open_hub()
            with self._lock:
                if number != self._number:
                    return
                self._hub = hub
            for signal, values in work(hub, partial(self._is_over, number)):
                self._say(number, signal, *values)
        except Cancelled:
            return
        except TurbodeskError as problem:
            self._say(number, self._failed, problem.failure)
        except Exception as problem:
            detail = traceback.format_exc()
            self._say(number, self._failed, failure(FailureCode.INTERNAL, reason=type(problem).__name__, detail=detail))

    def _is_over(self, number: int) -> bool:
        return number != self._number

    def _say(self, number: int, signal: SignalInstance, *values: object) -> None:
        with self._lock:
            if number != self._number:
                return
        _emit(signal, *values)


def _emit(signal: SignalInstance, *values: object) -> None:
    try:
        signal.emit(*values)
    except RuntimeError:  # the window has gone
        return


def _free_bytes(folder: Path | None) -> int | None:
    """On the disk that a folder is on or will be made on."""
    if folder is None:
        return None
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None
