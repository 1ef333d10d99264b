"""Whether a model that is not loaded yet fits this machine, from one reading of its memory."""

from __future__ import annotations

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import CardMemory, Forecast, forecast
from desktop.domain.memory_reading import CardReading, MemoryReading
from desktop.domain.memory_shape import MemoryShape


def forecast_here(
    shape: MemoryShape, config: EngineConfig, reading: MemoryReading, backend: Backend | None = None
) -> Forecast | None:
    """Forecast a load with these settings; None where the reading does not know the memory.

    What the engine holds now counts as free, because the next load ends it. backend: what will run the model where
    that is known; else TurboMind on the cards with the most room, or the CPU where there is no card.
    """
    cards = sorted((_card(card) for card in reading.cards if card.total_bytes), key=_available, reverse=True)
    wanted = backend or config.backend
    if not cards or wanted is Backend.CPU:
        host = reading.host
        if not host.total:
            return None
        memory = CardMemory(host.total, max(0, host.used - host.engine_bytes))
        return forecast(shape, msgspec.structs.replace(config, backend=Backend.CPU, tp=1), [memory])
    used = cards[: config.tp]
    return forecast(shape, msgspec.structs.replace(config, backend=wanted, tp=len(used)), used)


def _card(card: CardReading) -> CardMemory:
    return CardMemory(card.total_bytes, max(0, card.used_bytes - (card.engine_bytes or 0)), card.index)


def _available(card: CardMemory) -> int:
    return card.available
