"""Readings of cards and of a machine that are not there."""

from __future__ import annotations

from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading, ProcessMemory
from tests.domain.memory_models import GIB

CARD = "NVIDIA GeForce RTX 4090"


def reading(
    *, cards: int, used: float = 2.0, engine: float | None = 0.0, host_engine: float = 0.0, total: int = 24
) -> MemoryReading:
    """Sizes in GiB. Each of the cards has `total`, with `used` in use, of it `engine` by the engine; None: not told.

    The machine has 64, of which 5 are used by others.
    """
    size = None if engine is None else round(engine * GIB)
    return MemoryReading(
        monotonic_time=1.0,
        cards=tuple(
            CardReading(
                index=index,
                uuid=f"GPU-{index}",
                name=CARD,
                total_bytes=total * GIB,
                used_bytes=round(used * GIB),
                processes=(ProcessMemory(10, size, "python3", of_engine=True),) if size != 0 else (),
            )
            for index in range(cards)
        ),
        host=HostReading(
            total=64 * GIB,
            used=round((5 + host_engine) * GIB),
            available=64 * GIB - round((5 + host_engine) * GIB),
            engine_bytes=round(host_engine * GIB),
        ),
        driver_note="" if cards else "No NVIDIA card",
    )
