"""One load as it went: what was forecast, what was measured, how fast it replied; and what loads teach the next."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from statistics import fmean, median

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory import Confidence, Forecast

LEARNED_FROM = 8  # loads, the newest: drivers and LMDeploy change


class LoadRun(msgspec.Struct, frozen=True, kw_only=True):
    """One load. id: microseconds since the epoch when it began, no two the same.

    device: the name of the card, of the first of several, or "CPU". forecast: made when it began; None where it could
    not be. measured: bytes that the engine held on each card, of the card with the most, or of the machine's memory,
    seconds after it was ready; None while that is not known or where the driver does not tell. load_seconds: None where
    it never was ready. tokens_per_second, time_to_first_token (seconds): of its fastest reply. failure: the code of
    what ended it, "" while all is well.
    """

    id: int
    path: str
    name: str
    backend: Backend
    device: str
    config: EngineConfig
    forecast: Forecast | None = None
    measured: int | None = None
    load_seconds: float | None = None
    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    failure: str = ""

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        return self.id / 1e6

    @property
    def expected(self) -> int | None:
        """Bytes that were forecast to be held once it is loaded: what `measured` is compared with."""
        return None if self.forecast is None else self.forecast.loaded

    @property
    def error(self) -> float | None:
        """How far off the forecast was, as a share of what was measured; above 0: it took more than forecast."""
        expected = self.expected
        if expected is None or not self.measured:
            return None
        return (self.measured - expected) / self.measured


def residual(runs: Iterable[LoadRun], backend: Backend, device: str) -> int:
    """Bytes that loads on this device with this backend took more than forecast() says by itself; 0 without any.

    The median of the newest LEARNED_FROM, without those whose weights were only estimated. runs: the newest first.
    """
    excess = (
        run.measured - expected + run.forecast.residual
        for run in runs
        if run.backend is backend and run.device == device
        if run.measured and run.forecast is not None and (expected := run.expected) is not None
        if run.forecast.confidence is not Confidence.ESTIMATED
    )
    newest = list(islice(excess, LEARNED_FROM))
    return round(median(newest)) if newest else 0


def past_errors(runs: Iterable[LoadRun]) -> tuple[int, float, float]:
    """Of all runs whose forecast can be judged: how many, the mean size of the error, and the largest; as shares."""
    errors = [abs(run.error) for run in runs if run.error is not None]
    return (len(errors), fmean(errors), max(errors)) if errors else (0, 0.0, 0.0)
