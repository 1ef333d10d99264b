"""What a model takes on the machine of a reading, before it is loaded."""

from __future__ import annotations

import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.memory_fit import forecast_here
from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading, ProcessMemory
from desktop.domain.memory_shape import MemoryShape, read_shape

GIB = 2**30

HOST = HostReading(total=64 * GIB, used=24 * GIB, available=40 * GIB, engine_bytes=8 * GIB)


@pytest.fixture
def shape() -> MemoryShape:
    return read_shape(
        {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "num_hidden_layers": 36,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
        }
    )


def reading(*cards: CardReading) -> MemoryReading:
    return MemoryReading(monotonic_time=0.0, cards=cards, host=HOST)


def card(index: int, total: int, used: int, engine: int = 0) -> CardReading:
    processes = (ProcessMemory(1, engine, of_engine=True),)
    return CardReading(
        index=index, uuid=str(index), name="card", total_bytes=total, used_bytes=used, processes=processes
    )


def test_the_emptiest_card_counts_and_the_engine_there_will_be_gone(shape: MemoryShape) -> None:
    cards = card(0, 24 * GIB, 12 * GIB), card(1, 24 * GIB, 20 * GIB, 19 * GIB)
    found = forecast_here(shape, EngineConfig(), reading(*cards))
    assert found is not None
    assert (found.total, found.others) == (24 * GIB, GIB)
    assert found.loads


def test_what_is_too_large_does_not_load(shape: MemoryShape) -> None:
    found = forecast_here(shape, EngineConfig(), reading(card(0, 12 * GIB, 0)))
    assert found is not None
    assert not found.loads


@pytest.mark.parametrize("cards", [(), (card(0, 0, 0),)])
def test_without_a_card_it_is_the_machines_memory(shape: MemoryShape, cards: tuple[CardReading, ...]) -> None:
    found = forecast_here(shape, EngineConfig(tp=2), reading(*cards))
    assert found is not None
    assert (found.backend, found.total, found.others) == (Backend.CPU, 64 * GIB, 16 * GIB)


def test_what_is_known_to_run_it_counts(shape: MemoryShape) -> None:
    here = reading(card(0, 48 * GIB, 0))
    assert forecast_here(shape, EngineConfig(), here, Backend.PYTORCH).backend is Backend.PYTORCH  # type: ignore[union-attr]
    assert forecast_here(shape, EngineConfig(), here, Backend.CPU).total == 64 * GIB  # type: ignore[union-attr]


def test_more_cards_than_there_are_count_as_those_that_are(shape: MemoryShape) -> None:
    found = forecast_here(shape, EngineConfig(tp=4), reading(card(0, 24 * GIB, 0)))
    assert found is not None
    assert found.cards == 1


def test_a_machine_that_does_not_tell(shape: MemoryShape) -> None:
    silent = MemoryReading(monotonic_time=0.0, cards=(), host=HostReading(total=0, used=0, available=0))
    assert forecast_here(shape, EngineConfig(), silent) is None
