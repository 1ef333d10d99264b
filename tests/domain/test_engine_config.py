"""Load settings are checked before anything is started."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError


def test_the_defaults_are_fine() -> None:
    EngineConfig().check()


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_max_entry_count": 0.01},
        {"cache_max_entry_count": 0.999},
        {"tp": 4},
        {"tp": 2, "devices": (3, 1)},
        {"session_len": 1},
        {"max_batch_size": 1024},
        {"cache_block_seq_len": 128},
        {"quant_policy": 8},
        {"rope_scaling_factor": 2.5},
    ],
)
def test_what_can_work(fields: dict[str, Any]) -> None:
    assert EngineConfig(**fields).problems() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"backend": Backend.SERVER}, "not by a server"),
        ({"cache_max_entry_count": 0.0}, "cache ratio"),
        ({"cache_max_entry_count": 1.0}, "cache ratio"),
        ({"cache_max_entry_count": float("nan")}, "cache ratio"),
        ({"tp": 0}, "tensor parallelism"),
        ({"tp": 3}, "tensor parallelism"),
        ({"tp": -4}, "tensor parallelism"),
        ({"tp": 2, "devices": (0, 0)}, "named once"),
        ({"devices": (-1,)}, "by its number"),
        ({"tp": 2, "devices": (0,)}, "2 cards must be named, not 1"),
        ({"session_len": 0}, "session length"),
        ({"max_batch_size": 0}, "batch size"),
        ({"max_batch_size": 1025}, "batch size"),
        ({"cache_block_seq_len": 8}, "KV block"),
        ({"cache_block_seq_len": 65}, "KV block"),
        ({"quant_policy": 5}, "KV cache"),
        ({"max_prefill_token_num": 0}, "prefill step"),
        ({"rope_scaling_factor": -0.5}, "rope scaling"),
    ],
)
def test_what_cannot_work_is_named(fields: dict[str, Any], words: str) -> None:
    (problem,) = EngineConfig(**fields).problems()
    assert words in problem


def test_check_names_every_problem() -> None:
    with pytest.raises(TurbodeskError) as caught:
        EngineConfig(cache_max_entry_count=2.0, session_len=0).check()
    assert caught.value.failure.code is FailureCode.ENGINE_CONFIG_INVALID
    assert "cache ratio" in caught.value.failure.message
    assert "session length" in caught.value.failure.message


def test_it_crosses_a_process_border_unchanged() -> None:
    config = EngineConfig(backend=Backend.TURBOMIND, tp=2, devices=(0, 1), hf_overrides={"rope": {"type": "yarn"}})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=EngineConfig) == config
