"""Says of an engine that ran out of memory why, and what would have fitted."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, Slot

from desktop.domain.errors import Failure
from desktop.domain.memory_reading import MemoryReading
from desktop.domain.out_of_memory import Scene, explain
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.memory_history import MemoryHistory

_LAST_SECONDS = 60.0


class PostMortem(QObject):
    """Every failure of the host passes through it before anybody hears of it."""

    def __init__(
        self,
        host: EngineHost,
        adviser: MemoryAdviser,
        history: MemoryHistory,
        count_replies: Callable[[], int] = lambda: 0,
        parent: QObject | None = None,
    ) -> None:
        """count_replies: how many are being written."""
        super().__init__(parent)
        self._host = host
        self._adviser = adviser
        self._history = history
        self._count_replies = count_replies
        self._before: MemoryReading | None = history.newest
        self._loading = host.status.state is EngineState.LOADING
        # The same failure comes once for each reply and once for the engine, and must say the same each time.
        self._last: tuple[Failure, Failure] | None = None
        host.status_changed.connect(self._on_status_changed)
        host.explain = self.explain

    def explain(self, problem: Failure) -> Failure:
        """See out_of_memory.explain()."""
        if self._last is None or self._last[0] != problem:
            self._last = problem, explain(problem, self._scene())
        return self._last[1]

    def _scene(self) -> Scene:
        status, adviser = self._host.status, self._adviser
        config = adviser.resolved(status.path, status.config)
        if status.info is not None:
            config = msgspec.structs.replace(config, backend=status.info.backend)
        return Scene(
            config=config,
            path=status.path,
            shape=adviser.shape(status.path),
            residual=adviser.residual(config),
            before=self._before,
            last=self._history.newest_of_engine(_LAST_SECONDS),
            cards=tuple(card.index for card in adviser.cards_used(config)),
            replies=self._count_replies(),
        )

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        loading = status.state is EngineState.LOADING
        if loading and not self._loading:
            self._before, self._last = self._history.newest, None
        self._loading = loading
