"""One road for messages to the user that belong to no page; kept until there is a window to show them."""

from __future__ import annotations

import logging

from PySide6.QtCore import QObject, Signal

from desktop.domain.errors import Failure, FailureCode

logger = logging.getLogger(__name__)


class Notices(QObject):
    """Holds the notices that are on show.

    Signals:
        changed: something was raised or taken back; read `current`.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._current: list[Failure] = []

    @property
    def current(self) -> tuple[Failure, ...]:
        """What is to be shown, the oldest first."""
        return tuple(self._current)

    def raise_notice(self, notice: Failure) -> None:
        """Show a failure; one with the same code takes the place of the one before."""
        logger.warning("%s: %s %s", notice.code, notice.message, notice.detail)
        self._current = [known for known in self._current if known.code != notice.code] + [notice]
        self.changed.emit()

    def dismiss(self, code: FailureCode) -> None:
        """Take back the notice with this code, if it is on show."""
        kept = [known for known in self._current if known.code != code]
        if len(kept) != len(self._current):
            self._current = kept
            self.changed.emit()
