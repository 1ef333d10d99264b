"""Whether a model that is not here yet fits this machine, in a sentence that says it is a forecast."""

from __future__ import annotations

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport
from desktop.domain.memory import Confidence
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.memory_words import outlook
from desktop.services.memory_adviser import MemoryAdviser
from desktop.ui.format import card_label, format_bytes


def memory_sentence(
    shape: MemoryShape | None, config: EngineConfig, adviser: MemoryAdviser, support: EngineSupport | None
) -> str:
    """ "" where it cannot be said. support: LMDeploy's verdicts, None while they are not there."""
    if shape is None:
        return ""
    has_card = bool(adviser.cards(Backend.TURBOMIND))
    verdict = support.chosen(has_card) if support is not None else None
    if support is not None and support.verdicts and verdict is None:
        return ""
    backend = config.backend
    if verdict is not None:
        backend = verdict.backend
    elif backend is Backend.AUTO:
        backend = Backend.TURBOMIND if has_card else Backend.CPU
    config = msgspec.structs.replace(config, backend=backend, tp=config.tp if has_card else 1)
    found = adviser.forecast(shape, config)
    if found is None:
        return ""
    place = "this machine's memory" if backend is Backend.CPU else f"the {card_label(adviser.device(config))}"
    kind = "Estimate from config.json" if found.confidence is Confidence.ESTIMATED else "Forecast"
    return f"{outlook(found)} {kind} for {place} of {format_bytes(found.total)} with the settings of now."
