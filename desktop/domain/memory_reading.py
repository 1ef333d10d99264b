"""One look at the memory of the cards and of the machine: what is used, by whom, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum

import msgspec

_NOBODY: frozenset[int] = frozenset()


class JobKind(StrEnum):
    """What a job of ours is, in a word for the screen."""

    QUANTIZATION = "quantization"
    COMPARISON = "comparison"


class RunningJob(msgspec.Struct, frozen=True):
    """A job's process, which has descendants of its own."""

    pid: int
    kind: JobKind


class ProcessMemory(msgspec.Struct, frozen=True):
    """Video memory one process holds on one card. used_bytes None: the driver does not tell (WSL, some containers).

    of_engine: it is the engine's. of_job: it is that of a job.
    """

    pid: int
    used_bytes: int | None
    name: str = ""
    of_engine: bool = False
    of_job: JobKind | None = None


class CardReading(msgspec.Struct, frozen=True, kw_only=True):
    """One card at one moment, or one of the instances that MIG makes of a card (its uuid begins with "MIG-").

    index: as CUDA numbers them; instances that CUDA gives no number follow after those that have one.
    used_bytes holds what the driver reserves for itself too, so that total - used is what can still be allocated.
    total_bytes 0: the driver does not report memory for this card. processes None: it does not list processes.
    utilisation in percent, temperature in °C, power in watts; None where the card does not measure it. An instance has
    the temperature of its card, and the first one of a card its power, so that sums are right.
    engine_hidden: an engine or a job runs, and the driver's process numbers do not tell which of them it is.
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
    def is_instance(self) -> bool:
        """Whether it is a part that MIG made of a card."""
        return self.uuid.startswith("MIG-")

    @property
    def engine_bytes(self) -> int | None:
        """What the engine holds on this card; None when the driver does not tell."""
        return self._held_by([process for process in self.processes or () if process.of_engine])

    @property
    def job(self) -> JobKind | None:
        """The job that holds something here."""
        return next((process.of_job for process in self.processes or () if process.of_job is not None), None)

    @property
    def job_bytes(self) -> int | None:
        """What a job holds on this card; None when the driver does not tell."""
        return self._held_by([process for process in self.processes or () if process.of_job is not None])

    def _held_by(self, processes: Sequence[ProcessMemory]) -> int | None:
        if self.processes is None or self.engine_hidden:
            return None
        known = [process.used_bytes for process in processes if process.used_bytes is not None]
        return sum(known) if len(known) == len(processes) else None


def with_engine(
    cards: Sequence[CardReading],
    pids: AbstractSet[int],
    job_pids: AbstractSet[int] = _NOBODY,
    kind: JobKind | None = None,
) -> tuple[CardReading, ...]:
    """The same readings with the processes in pids marked as the engine's, and those in job_pids as that of a job.

    pids, job_pids: empty while no engine or no job runs. In a container the driver may list processes by their numbers
    outside it, where ours have others. That is so when none of ours is on a card and none of the listed processes
    exists here, that is, has a name.
    """
    listed = [process for card in cards for process in card.processes or ()]
    ours = pids | job_pids
    if not ours or not listed:
        return tuple(cards)
    if any(process.pid in ours for process in listed):
        return tuple(_marked(card, pids, job_pids, kind) for card in cards)
    if any(process.name for process in listed):
        return tuple(cards)
    return tuple(msgspec.structs.replace(card, engine_hidden=True) if card.processes else card for card in cards)


def _marked(card: CardReading, pids: AbstractSet[int], job_pids: AbstractSet[int], kind: JobKind | None) -> CardReading:
    if not any(process.pid in pids or process.pid in job_pids for process in card.processes or ()):
        return card
    marked = tuple(
        msgspec.structs.replace(
            process, of_engine=process.pid in pids, of_job=kind if process.pid in job_pids else None
        )
        for process in card.processes or ()
    )
    return msgspec.structs.replace(card, processes=marked)


class HostReading(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's own memory in bytes. used + available = total; total 0: the system does not tell.

    engine_bytes: resident memory of the engine's process tree, 0 without an engine. job_bytes: the same of the job,
    where one runs. Pages that processes share are counted once for each of them.
    """

    total: int
    used: int
    available: int
    engine_bytes: int = 0
    job: JobKind | None = None
    job_bytes: int = 0


class MemoryReading(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one sample saw.

    monotonic_time: seconds of time.monotonic(). driver_note: in plain words why there are no cards, or why one is
    missing; empty when all is well.
    """

    monotonic_time: float
    cards: tuple[CardReading, ...]
    host: HostReading
    driver_note: str = ""
