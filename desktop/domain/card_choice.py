"""Which cards a load is to see, under the names by which CUDA finds each: no number reaches a second MIG instance."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory_reading import CardReading


def with_uuids(config: EngineConfig, cards: Sequence[CardReading]) -> EngineConfig:
    """The same setting with card_uuids as the cards are now.

    Without named devices CUDA's own choice stands, and so does whatever the user has set for it; but a model that is
    to be split where there are only instances gets their names, for EngineConfig.problems() to refuse.
    """
    chosen: tuple[str, ...] = ()
    if config.backend is not Backend.CPU and cards:
        uuids = {card.index: card.uuid for card in cards}
        if config.devices is not None:
            chosen = tuple(uuids.get(index, "") for index in config.devices)
            if any(uuids.get(index) == "" for index in config.devices):  # the driver does not tell
                chosen = ()
        elif config.tp > 1 and any(card.is_instance for card in cards[: config.tp]):
            chosen = tuple(card.uuid for card in cards[: config.tp])
    return msgspec.structs.replace(config, card_uuids=chosen)


def card_environment(config: EngineConfig) -> dict[str, str]:
    """What a process with this setting is to see of the cards, which CUDA reads once, when it starts."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(config.card_uuids)} if config.card_uuids else {}


def card_of(cards: Sequence[CardReading], config: EngineConfig) -> CardReading | None:
    """The card for a job that uses one: the first that the setting names and that is there, else the first of all."""
    named = [card for card in cards if card.index in (config.devices or ())]
    return next(iter((*named, *cards)), None)


def usable_together(cards: Sequence[CardReading], config: EngineConfig) -> tuple[CardReading, ...]:
    """The cards among which one load may be planned: an instance that is named alone, else all whole cards.

    Without a whole card the first instance. A process of CUDA's uses one instance, and no card beside it (MIG User
    Guide, "CUDA Device Enumeration").
    """
    named = [card for card in cards if card.is_instance and card.index in (config.devices or ())]
    whole = [card for card in cards if not card.is_instance]
    return tuple(named[:1] or whole or cards[:1])
