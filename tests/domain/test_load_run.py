"""What loads teach: by device and backend, from what was forecast without correction, and how far off it was."""

from __future__ import annotations

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.load_run import LEARNED_FROM, LoadRun, past_errors, residual
from desktop.domain.memory import CardMemory, Confidence, forecast
from tests.domain.memory_models import GIB, MIB, card, llama_shape

CARD = "NVIDIA GeForce RTX 4090"


def made(number: int, excess: int | None, backend: Backend = Backend.TURBOMIND, taught: int = 0) -> LoadRun:
    """A load that took `excess` bytes more than the forecast without what was taught by then."""
    config = EngineConfig(backend=backend)
    memory: CardMemory = card(64) if backend is Backend.CPU else card(24)
    found = forecast(llama_shape(), config, [memory], taught)
    run = LoadRun(id=number, path="/m", name="m", backend=backend, device=CARD, config=config, forecast=found)
    if excess is None or run.expected is None:
        return run
    return LoadRun(
        **{name: getattr(run, name) for name in run.__struct_fields__} | {"measured": run.expected - taught + excess}
    )


def test_the_median_is_taught_and_not_twice() -> None:
    runs = [made(3, 90 * MIB, taught=50 * MIB), made(2, None), made(1, 110 * MIB), made(0, 5 * GIB)]
    assert residual(runs, Backend.TURBOMIND, CARD) == 110 * MIB
    config = EngineConfig(backend=Backend.TURBOMIND)
    corrected = forecast(llama_shape(), config, [card(24)], 110 * MIB)
    assert corrected.engine == forecast(llama_shape(), config, [card(24)]).engine + 110 * MIB


def test_other_cards_and_backends_teach_nothing() -> None:
    runs = [made(1, 100 * MIB)]
    assert residual(runs, Backend.PYTORCH, CARD) == 0
    assert residual(runs, Backend.TURBOMIND, "NVIDIA H100") == 0
    assert residual([], Backend.TURBOMIND, CARD) == 0


def test_an_estimate_of_the_weights_teaches_nothing() -> None:
    counted, estimated = made(1, 100 * MIB), made(2, 700 * MIB)
    assert estimated.forecast is not None
    found = msgspec.structs.replace(estimated.forecast, confidence=Confidence.ESTIMATED)
    estimated = msgspec.structs.replace(estimated, forecast=found)
    assert residual([estimated, counted], Backend.TURBOMIND, CARD) == 100 * MIB


def test_only_the_newest_teach() -> None:
    old = [made(number, 900 * MIB) for number in range(LEARNED_FROM * 2)]
    new = [made(100 + number, -20 * MIB) for number in range(LEARNED_FROM)]
    assert residual([*new, *old], Backend.TURBOMIND, CARD) == -20 * MIB


def test_on_the_cpu_the_cache_is_not_there_after_loading() -> None:
    run = made(1, 30 * MIB, Backend.CPU)
    assert run.forecast is not None
    assert run.forecast.kv > 0
    assert run.expected == run.forecast.context + run.forecast.weights
    assert residual([run], Backend.CPU, CARD) == 30 * MIB


def test_errors_of_the_past() -> None:
    runs = [made(1, 100 * MIB), made(2, -300 * MIB), made(3, None)]
    count, mean, largest = past_errors(runs)
    first, second = runs[0].error, runs[1].error
    assert first is not None
    assert second is not None
    assert runs[0].measured is not None
    assert first == pytest.approx(100 * MIB / runs[0].measured)
    assert second < 0
    assert (count, mean, largest) == (2, pytest.approx((first - second) / 2), pytest.approx(-second))
    assert past_errors([made(3, None)]) == (0, 0.0, 0.0)
