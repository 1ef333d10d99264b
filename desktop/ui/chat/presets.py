"""The presets of a conversation's settings: the built-in ones, and those of the user."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from desktop.domain.conversation import ChatSettings
from desktop.domain.generation import SamplingParams

# These change how words are chosen, and nothing else.
BUILT_IN: Mapping[str, SamplingParams] = {
    "Precise": SamplingParams(temperature=0.0),
    "Creative": SamplingParams(temperature=1.1, top_p=1.0, top_k=0, min_p=0.05),
}
_CHOOSING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def names(presets: Mapping[str, ChatSettings]) -> tuple[str, ...]:
    """All there are. presets: the user's own."""
    return tuple({**BUILT_IN, **presets})


def chosen(name: str, presets: Mapping[str, ChatSettings], now: ChatSettings) -> ChatSettings | None:
    """What the settings of now become with the preset of this name; None when there is none."""
    if name in presets or name not in BUILT_IN:
        return presets.get(name)
    params = msgspec.structs.replace(now.params, **{field: getattr(BUILT_IN[name], field) for field in _CHOOSING})
    return msgspec.structs.replace(now, preset=name, as_recommended=False, params=params)
