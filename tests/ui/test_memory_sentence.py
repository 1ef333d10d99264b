"""Whether a model on a hub fits, in a sentence."""

from __future__ import annotations

import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport, EngineVerdict
from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading
from desktop.domain.memory_shape import MemoryShape
from desktop.storage.checkpoint_reader import read_memory_shape
from desktop.storage.paths import demo_checkpoint
from desktop.ui.models.memory_sentence import memory_sentence

GIB = 2**30


@pytest.fixture
def shape() -> MemoryShape:
    return read_memory_shape(demo_checkpoint())


def reading(*names: str) -> MemoryReading:
    cards = tuple(
        CardReading(index=index, uuid=name, name=name, total_bytes=24 * GIB, used_bytes=0)
        for index, name in enumerate(names)
    )
    return MemoryReading(monotonic_time=0.0, cards=cards, host=HostReading(total=32 * GIB, used=0, available=32 * GIB))


def support(backend: Backend, runs: bool = True) -> EngineSupport:
    return EngineSupport(lmdeploy="1", verdicts=(EngineVerdict(backend=backend, runs=runs, reason="so"),))


def test_the_card_is_named(shape: MemoryShape) -> None:
    words = memory_sentence(shape, EngineConfig(), reading("NVIDIA GeForce RTX 4090"), None)
    assert words.startswith("Fits: ")
    assert "Forecast for the RTX 4090 of 24.0 GB" in words


def test_without_a_card_it_is_the_machine(shape: MemoryShape) -> None:
    assert "Forecast for this machine's memory of 32.0 GB" in memory_sentence(
        shape, EngineConfig(), reading(), support(Backend.CPU)
    )


def test_nothing_is_said_where_nothing_is_known(shape: MemoryShape) -> None:
    assert memory_sentence(None, EngineConfig(), reading(), None) == ""
    assert memory_sentence(shape, EngineConfig(), None, None) == ""
    assert memory_sentence(shape, EngineConfig(), reading("A"), support(Backend.TURBOMIND, runs=False)) == ""
