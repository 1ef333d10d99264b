"""The last ten minutes of readings: what the timeline shows, and what explains a failure afterwards."""

from __future__ import annotations

from collections import deque

from PySide6.QtCore import QObject, Slot

from desktop.domain.memory_reading import MemoryReading

KEPT_SECONDS = 600.0
_STEP_SECONDS = 1.0


class MemoryHistory(QObject):
    """Of each second the reading in which most was used, so that a short peak is not lost; and the newest of all."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: deque[MemoryReading] = deque()
        self._newest: MemoryReading | None = None

    @property
    def newest(self) -> MemoryReading | None:
        """None until the first one came."""
        return self._newest

    @property
    def readings(self) -> tuple[MemoryReading, ...]:
        """One a second, the oldest first."""
        return tuple(self._kept)

    def newest_of_engine(self, seconds: float) -> MemoryReading | None:
        """The newest of the last `seconds` in which the engine held something; else the newest."""
        newest = self._newest
        if newest is None:
            return None
        for reading in (newest, *reversed(self._kept)):
            if newest.monotonic_time - reading.monotonic_time > seconds:
                break
            if reading.host.engine_bytes or any(card.engine_bytes for card in reading.cards):
                return reading
        return newest

    @Slot(object)
    def add(self, reading: MemoryReading) -> None:
        """Keep it, and forget what is older than ten minutes."""
        self._newest = reading
        kept = self._kept
        if kept and reading.monotonic_time - kept[-1].monotonic_time < _STEP_SECONDS:
            if _used(reading) > _used(kept[-1]):
                # At the time of the one whose place it takes: else a steady rise would never end the second.
                kept[-1] = _at(reading, kept[-1].monotonic_time)
            return
        kept.append(reading)
        while kept[0].monotonic_time < reading.monotonic_time - KEPT_SECONDS:
            kept.popleft()


def _used(reading: MemoryReading) -> int:
    return sum(card.used_bytes for card in reading.cards) if reading.cards else reading.host.used


def _at(reading: MemoryReading, time: float) -> MemoryReading:
    return MemoryReading(monotonic_time=time, cards=reading.cards, host=reading.host, driver_note=reading.driver_note)
