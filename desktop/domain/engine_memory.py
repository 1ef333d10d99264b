"""What of the memory that the engine holds is what: the whole is measured, its parts are reckoned."""

from __future__ import annotations

import msgspec

from desktop.domain.engine_config import Backend
from desktop.domain.memory import Forecast


class EngineShares(msgspec.Struct, frozen=True):
    """Bytes; together what the engine holds. kv_used and kv_reserved: the region of the KV cache, filled and not.

    rest: workspace, driver and kernels; on the CPU also libraries and the cache, which has no region of its own.
    """

    weights: int
    kv_used: int
    kv_reserved: int
    rest: int


class EngineMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A load as it was forecast when it began. cards: the numbers of those it runs on, () for the machine's memory.

    cache_usage: share of the KV cache in use, 0 to 1; None where the engine has not told.
    """

    forecast: Forecast
    cards: tuple[int, ...] = ()
    cache_usage: float | None = None

    def shares(self, held: int) -> EngineShares:
        """The parts of the `held` bytes that the engine holds on one card, or of the machine's memory.

        The weights are counted in the files, so they are right as soon as they are loaded. Context and workspace are
        taken as forecast, the KV region is what is left up to its forecast size, and what is beyond goes to the rest:
        a forecast that is a little off shows there, and no part is ever larger than what was measured.
        """
        found = self.forecast
        weights = min(found.weights, held)
        beside = max(0, found.context + found.workspace + found.residual)
        region = 0 if found.backend is Backend.CPU else min(found.kv, max(0, held - weights - beside))
        used = round(region * min(max(self.cache_usage or 0.0, 0.0), 1.0))
        return EngineShares(weights=weights, kv_used=used, kv_reserved=region - used, rest=held - weights - region)
