"""Finds out what models a server has, and keeps its key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QObject, Signal

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.engine.server_models import list_models
from desktop.storage.secrets import Secrets


class Servers(QObject):
    """Signals:
    found: an address that was given to find(), and its ServedModels.
    failed: such an address, and the Failure.
    key_not_kept: a Failure; the key is used until the program ends.
    """

    found = Signal(str, object)
    failed = Signal(str, object)
    key_not_kept = Signal(object)

    def __init__(self, secrets: Secrets, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._secrets = secrets

    def find(self, address: str, key: str = "") -> None:
        """Ask the server at `address` (see read_address) for its models.

        key: "" for the one that is kept. Another one is kept once the server has accepted it.
        """
        threading.Thread(target=self._find, args=(address, key), name="server-models", daemon=True).start()

    def _find(self, address: str, key: str) -> None:
        try:
            models = list_models(address, key or self._secrets.get(address) or "")
            refused = self._secrets.keep(address, key, "key") if key else None
        except TurbodeskError as problem:
            say = partial(self.failed.emit, address, problem.failure)
        except Exception as problem:
            say = partial(self.failed.emit, address, failure(FailureCode.INTERNAL, reason=problem))
        else:
            say = partial(self.found.emit, address, models)
            if refused is not None:
                _unless_gone(partial(self.key_not_kept.emit, refused))
        _unless_gone(say)


def _unless_gone(say: Callable[[], None]) -> None:
    try:
        say()
    except RuntimeError:  # the window has closed meanwhile
        return
