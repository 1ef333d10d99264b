"""The parts of what the engine holds: together always the measured whole."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_memory import EngineMemory
from desktop.domain.memory import forecast
from tests.domain.memory_models import GIB, card, llama_shape

CONFIG = EngineConfig(backend=Backend.TURBOMIND, session_len=8192, max_batch_size=4)
FOUND = forecast(llama_shape(), CONFIG, [card(24, 1.0)])


@given(held=st.integers(0, 30 * GIB), usage=st.none() | st.floats(-1, 2))
def test_the_parts_are_the_whole_and_none_is_negative(held: int, usage: float | None) -> None:
    parts = EngineMemory(forecast=FOUND, cards=(0,), cache_usage=usage).shares(held)
    assert parts.weights + parts.kv_used + parts.kv_reserved + parts.rest == held
    assert min(parts.weights, parts.kv_used, parts.kv_reserved, parts.rest) >= 0
    assert parts.kv_used + parts.kv_reserved <= FOUND.kv
    assert parts.weights <= FOUND.weights


def test_a_load_as_it_was_forecast_has_the_forecast_parts() -> None:
    parts = EngineMemory(forecast=FOUND, cards=(0,), cache_usage=0.5).shares(FOUND.engine)
    assert parts.weights == FOUND.weights
    assert parts.kv_used + parts.kv_reserved == FOUND.kv
    assert parts.kv_used == round(FOUND.kv / 2)
    assert parts.rest == FOUND.context + FOUND.workspace


def test_while_it_loads_weights_come_first_and_the_cache_last() -> None:
    loading = EngineMemory(forecast=FOUND, cards=(0,))
    early = loading.shares(FOUND.weights // 2)
    assert (early.kv_used, early.kv_reserved, early.rest) == (0, 0, 0)
    later = loading.shares(FOUND.weights + FOUND.context)
    assert (later.weights, later.kv_reserved) == (FOUND.weights, 0)


def test_what_is_more_than_forecast_is_not_called_cache() -> None:
    parts = EngineMemory(forecast=FOUND, cards=(0,)).shares(FOUND.engine + GIB)
    assert parts.kv_reserved == FOUND.kv
    assert parts.rest == FOUND.context + FOUND.workspace + GIB


def test_the_processor_has_no_region_for_the_cache() -> None:
    on_cpu = msgspec.structs.replace(FOUND, backend=Backend.CPU)
    parts = EngineMemory(forecast=on_cpu, cache_usage=0.5).shares(on_cpu.weights + GIB)
    assert (parts.kv_used, parts.kv_reserved, parts.rest) == (0, 0, GIB)
