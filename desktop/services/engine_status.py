"""The engine's state as one value; EngineWorker owns it, everyone else reads it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.engine.base import EngineInfo, LoadProgress


class EngineState(StrEnum):
    """Where the engine is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. path and config: what was asked for last. checkpoint: what the folder holds, once it was read.

    progress is set while loading, info when ready, failure when failed.
    """

    state: EngineState = EngineState.UNLOADED
    path: str = ""
    config: EngineConfig = EngineConfig()
    checkpoint: Checkpoint | None = None
    progress: LoadProgress | None = None
    info: EngineInfo | None = None
    failure: Failure | None = None
