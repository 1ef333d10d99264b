"""One look at the memory of the cards and of the machine: what is used, by whom, and how much there is."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec


class ProcessMemory(msgspec.Struct, frozen=True):
    """Video memory one process holds on one card. used_bytes None: the driver does not tell (WSL, some containers)."""

    pid: int
    used_bytes: int | None
    name: str = ""
    of_engine: bool = False


class CardReading(msgspec.Struct, frozen=True, kw_only=True):
    """One card at one moment.

    used_bytes holds what the driver reserves for itself too, so that total - used is what can still be allocated.
    total_bytes 0: the driver does not report memory for this card. processes None: it does not list processes.
    utilisation in percent, temperature in °C, power in watts; None where the card does not measure it.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int
    used_bytes: int
    processes: tuple[ProcessMemory, ...] | None = ()
    utilisation: int | None = None
    temperature: int | None = None
    power_watts: float | None = None

    @property
    def engine_bytes(self) -> int | None:
        """What the engine holds on this card; None when the driver does not tell."""
        if self.processes is None:
            return None
        total = 0
        for process in self.processes:
            if process.of_engine:
                if process.used_bytes is None:
                    return None
                total += process.used_bytes
        return total

    def with_engine(self, pids: AbstractSet[int]) -> CardReading:
        """The same reading with the processes in pids marked as the engine's."""
        if not any(process.pid in pids for process in self.processes or ()):
            return self
        marked = tuple(
            msgspec.structs.replace(process, of_engine=True) if process.pid in pids else process
            for process in self.processes or ()
        )
        return msgspec.structs.replace(self, processes=marked)


class HostReading(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's own memory in bytes. used + available = total; total 0: the system does not tell.

    engine_bytes: resident memory of the engine's process tree, 0 without an engine. Pages that processes share are
    counted once for each of them.
    """

    total: int
    used: int
    available: int
    engine_bytes: int = 0


class MemoryReading(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one sample saw.

    monotonic_time: seconds of time.monotonic(). driver_note: in plain words why there are no cards, or why one is
    missing; empty when all is well.
    """

    monotonic_time: float
    cards: tuple[CardReading, ...]
    host: HostReading
    driver_note: str = ""
