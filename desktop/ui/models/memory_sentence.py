"""Whether a model that is not here yet fits this machine, in a sentence that says it is a forecast."""

from __future__ import annotations

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport
from desktop.domain.memory_fit import forecast_here
from desktop.domain.memory_reading import MemoryReading
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.memory_words import outlook
from desktop.ui.format import card_label, format_bytes


def memory_sentence(
    shape: MemoryShape | None, config: EngineConfig, reading: MemoryReading | None, support: EngineSupport | None
) -> str:
    """ "" where it cannot be said. support: LMDeploy's verdicts, None while they are not there."""
    if shape is None or reading is None:
        return ""
    cards = {card.index: card for card in reading.cards if card.total_bytes}
    verdict = support.chosen(bool(cards)) if support is not None else None
    if support is not None and support.verdicts and verdict is None:
        return ""
    found = forecast_here(shape, config, reading, verdict.backend if verdict is not None else None)
    if found is None:
        return ""
    place = "this machine's memory"
    if found.backend is not Backend.CPU:
        names = {card_label(card.name) for card in cards.values() if card.total_bytes == found.total}
        place = f"the {names.pop()}" if len(names) == 1 else "a card"
    return f"{outlook(found)} Forecast for {place} of {format_bytes(found.total)} with the settings of now."
