"""One look at the memory of the cards and of the machine: what is used, by whom, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec


class ProcessMemory(msgspec.Struct, frozen=True):
    """Video memory one process holds on one card. used_bytes None: the driver does not tell (WSL, some containers)."""

    pid: int
    used_bytes: int | None
    name: str = ""
    of_engine: bool = False


class CardReading(msgspec.Struct, frozen=True, kw_only=True):
    """One card at one moment, or one of the instances that MIG makes of a card (its uuid begins with "MIG-").

    index: as CUDA numbers them; instances that CUDA gives no number follow after those that have one.
    used_bytes holds what the driver reserves for itself too, so that total - used is what can still be allocated.
    total_bytes 0: the driver does not report memory for this card. processes None: it does not list processes.
    utilisation in percent, temperature in °C, power in watts; None where the card does not measure it. An instance has
    the temperature of its card, and the first one of a card its power, so that sums are right.
    engine_hidden: an engine runs, and the driver's process numbers do not tell which of them it is.
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
    engine_hidden: bool = False

    @property
    def engine_bytes(self) -> int | None:
        """What the engine holds on this card; None when the driver does not tell."""
        if self.processes is None or self.engine_hidden:
            return None
        total = 0
        for process in self.processes:
            if process.of_engine:
                if process.used_bytes is None:
                    return None
                total += process.used_bytes
        return total


def with_engine(cards: Sequence[CardReading], pids: AbstractSet[int]) -> tuple[CardReading, ...]:
    """The same readings with the processes in pids marked as the engine's. pids: empty while no engine runs.

    In a container the driver may list processes by their numbers outside it, where the engine has another one. That is
    so when the engine is on no card and none of the listed processes exists here, that is, has a name.
    """
    listed = [process for card in cards for process in card.processes or ()]
    if not pids or not listed:
        return tuple(cards)
    if any(process.pid in pids for process in listed):
        return tuple(_marked(card, pids) for card in cards)
    if any(process.name for process in listed):
        return tuple(cards)
    return tuple(msgspec.structs.replace(card, engine_hidden=True) if card.processes else card for card in cards)


def _marked(card: CardReading, pids: AbstractSet[int]) -> CardReading:
    if not any(process.pid in pids for process in card.processes or ()):
        return card
    marked = tuple(
        msgspec.structs.replace(process, of_engine=True) if process.pid in pids else process
        for process in card.processes or ()
    )
    return msgspec.structs.replace(card, processes=marked)


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
