"""Whether a model on a hub fits, in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport, EngineVerdict
from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading
from desktop.domain.memory_shape import MemoryShape, read_shape
from desktop.services.memory_adviser import MemoryAdviser
from desktop.storage.checkpoint_reader import read_memory_shape
from desktop.storage.paths import app_paths, demo_checkpoint
from desktop.ui.models.memory_sentence import memory_sentence

GIB = 2**30


@pytest.fixture
def shape() -> MemoryShape:
    return read_memory_shape(demo_checkpoint())


def adviser(folder: Path, *names: str) -> MemoryAdviser:
    cards = tuple(
        CardReading(index=index, uuid=name, name=name, total_bytes=24 * GIB, used_bytes=0)
        for index, name in enumerate(names)
    )
    host = HostReading(total=32 * GIB, used=0, available=32 * GIB)
    made = MemoryAdviser(app_paths(folder), lambda path: None)
    made.show_reading(MemoryReading(monotonic_time=0.0, cards=cards, host=host))
    return made


def support(backend: Backend, runs: bool = True) -> EngineSupport:
    return EngineSupport(lmdeploy="1", verdicts=(EngineVerdict(backend=backend, runs=runs, reason="so"),))


def test_the_card_is_named(shape: MemoryShape, tmp_path: Path) -> None:
    words = memory_sentence(shape, EngineConfig(), adviser(tmp_path, "NVIDIA GeForce RTX 4090"), None)
    assert words.startswith("Fits: ")
    assert "Forecast for the RTX 4090 of 24.0 GB" in words


def test_an_estimate_says_so(tmp_path: Path) -> None:
    config = json.loads((demo_checkpoint() / "config.json").read_text())
    words = memory_sentence(read_shape(config), EngineConfig(), adviser(tmp_path, "NVIDIA GeForce RTX 4090"), None)
    assert "Estimate from config.json for the RTX 4090 of 24.0 GB" in words


@pytest.mark.parametrize("verdict", [None, Backend.CPU])
def test_without_a_card_it_is_the_machine(shape: MemoryShape, tmp_path: Path, verdict: Backend | None) -> None:
    judged = None if verdict is None else support(verdict)
    words = memory_sentence(shape, EngineConfig(tp=2), adviser(tmp_path), judged)
    assert "Forecast for this machine's memory of 32.0 GB" in words


def test_nothing_is_said_where_nothing_is_known(shape: MemoryShape, tmp_path: Path) -> None:
    assert memory_sentence(None, EngineConfig(), adviser(tmp_path), None) == ""
    unread = MemoryAdviser(app_paths(tmp_path), lambda path: None)
    assert memory_sentence(shape, EngineConfig(), unread, None) == ""
    with_card = adviser(tmp_path, "A")
    assert memory_sentence(shape, EngineConfig(), with_card, support(Backend.TURBOMIND, runs=False)) == ""
