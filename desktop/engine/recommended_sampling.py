"""The sampling that a checkpoint's own generation_config.json asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.generation import SamplingParams

_NAMES = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def read_recommended(folder: str) -> SamplingParams | None:
    """What the folder recommends, in range; what it does not name stays at our default. None: nothing at all."""
    try:
        asked = json.loads((Path(folder) / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    params = SamplingParams()
    found = False
    for name in _NAMES:
        changed = _with(params, name, asked.get(name))
        if changed is not None:
            params, found = changed, True
    if asked.get("do_sample") is False:
        params, found = msgspec.structs.replace(params, temperature=0.0), True
    return params if found else None


def _with(params: SamplingParams, name: str, value: Any) -> SamplingParams | None:
    """The parameters with one of them changed; None when it is not there or out of range."""
    if isinstance(value, bool) or not isinstance(value, int if name == "top_k" else int | float):
        return None
    changed = msgspec.structs.replace(params, **{name: value if name == "top_k" else float(value)})
    return None if changed.problems() else changed
