"""Why the memory ran out, in a sentence, and a setting that fits by its own forecast."""

from __future__ import annotations

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig, with_setting
from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.memory import CardMemory, forecast
from desktop.domain.memory_reading import CardReading, HostReading, MemoryReading, ProcessMemory
from desktop.domain.out_of_memory import Scene, explain
from tests.domain.memory_models import GIB, llama_shape

LLAMA = llama_shape()
CONFIG = EngineConfig(backend=Backend.TURBOMIND, session_len=8192, max_batch_size=4, max_prefill_token_num=2048)
LOADING = failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when="while the model was loading")


def reading(
    *programs: tuple[str, float], total: float = 24, host_used: float = 8, host_engine: float = 0
) -> MemoryReading:
    """One card with these programs on it, sizes in GiB; "engine" is ours, a negative size is not told."""
    processes = tuple(
        ProcessMemory(number, None if size < 0 else round(size * GIB), name, of_engine=name == "engine")
        for number, (name, size) in enumerate(programs)
    )
    card = CardReading(
        index=0,
        uuid="GPU-0",
        name="NVIDIA GeForce RTX 4090",
        total_bytes=round(total * GIB),
        used_bytes=sum(abs(round(size * GIB)) for _, size in programs),
        processes=processes,
    )
    host = HostReading(
        total=32 * GIB,
        used=round(host_used * GIB),
        available=round((32 - host_used) * GIB),
        engine_bytes=round(host_engine * GIB),
    )
    return MemoryReading(monotonic_time=1.0, cards=(card,), host=host)


def scene(**changes: object) -> Scene:
    usual = Scene(config=CONFIG, path="/models/llama", shape=LLAMA, cards=(0,), before=reading(), last=reading())
    return msgspec.structs.replace(usual, **changes)


def fits(problem: Failure, found: Scene, others: float) -> bool:
    """Whether the setting that is offered fits beside others (GiB), by its own forecast."""
    changed = with_setting(found.config, problem.setting)
    assert changed != found.config
    assert found.shape is not None
    return forecast(found.shape, changed, [CardMemory(total=24 * GIB, used=round(others * GIB))], found.residual).fits


def test_the_program_that_took_the_memory_meanwhile_is_named() -> None:
    tight = scene(
        before=reading(("Xorg", 1.0)),
        last=reading(("Xorg", 1.0), ("blender", 6.0), ("engine", 16.9)),
    )
    told = explain(LOADING, tight)
    assert told.message == (
        "There was not enough video memory while the model was loading: blender took 6.0 GB meanwhile."
    )
    assert told.next_step.startswith("This would have fitted (forecast): ")
    assert fits(told, tight, others=7.0)
    assert told.code is LOADING.code
    assert told.action is LOADING.action


def test_several_programs_that_grew_are_not_one() -> None:
    many = scene(
        before=reading(("a", 1.0), ("b", 1.0), ("c", 1.0)),
        last=reading(("a", 2.0), ("b", 2.0), ("c", 2.0), ("engine", 17.0)),
    )
    assert "other programs took 3.0 GB meanwhile" in explain(LOADING, many).message
    nameless = scene(before=reading(("", 1.0)), last=reading(("", 4.0), ("engine", 17.0)))
    assert "another program took 3.0 GB meanwhile" in explain(LOADING, nameless).message


def test_a_setting_that_could_not_fit_is_the_cause() -> None:
    greedy = scene(
        config=msgspec.structs.replace(CONFIG, cache_max_entry_count=0.99),
        before=reading(("Xorg", 5.0)),
        last=reading(("Xorg", 5.1), ("engine", 18.8)),
    )
    told = explain(LOADING, greedy)
    assert "with this setting the model needs " in told.message
    assert "(forecast), and 18.9 GB were there for it." in told.message
    assert fits(told, greedy, others=5.1)


def test_where_the_forecast_said_that_it_fits_something_smaller_is_offered() -> None:
    """Time and again: each offer asks for less than the one that failed."""
    small = scene(
        config=msgspec.structs.replace(CONFIG, cache_max_entry_count=0.5),
        before=reading(("Xorg", 0.5)),
        last=reading(("Xorg", 0.5), ("engine", 20.0)),
    )
    told = explain(LOADING, small)
    assert "the engine held 20.0 GB, and of the rest 3.5 GB were free a moment before" in told.message
    before = small.config
    for _ in range(3):
        offered = with_setting(small.config, explain(LOADING, small).setting)
        sizes = [forecast(LLAMA, one, [CardMemory(total=24 * GIB)]).engine for one in (before, offered)]
        assert sizes[1] < sizes[0]
        before = offered
        small = msgspec.structs.replace(small, config=offered)


def test_what_torch_tried_to_get_is_kept_free() -> None:
    vision = failure(
        FailureCode.VIDEO_MEMORY_EXHAUSTED,
        when="while the message was being read",
        detail="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 5.50 GiB. GPU 0 has …",
    )
    found = scene(last=reading(("engine", 21.0)))
    told = explain(vision, found)
    changed = with_setting(found.config, told.setting)
    kept = forecast(LLAMA, changed, [CardMemory(total=24 * GIB)])
    assert kept.free >= 5.5 * GIB


def test_a_model_that_no_setting_fits_names_the_card() -> None:
    told = explain(LOADING, scene(before=reading(total=8), last=reading(("engine", 7.5), total=8)))
    assert told.next_step.startswith("No setting fits: it takes a card of ")
    assert told.setting == {}


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    assert explain(LOADING, scene(shape=None, before=None, last=None)) == LOADING
    assert explain(LOADING, scene(cards=(3,))) == LOADING
    other = failure(FailureCode.LOAD_FAILED, reason="no")
    assert explain(other, scene()) == other
    # A driver that does not say who holds what: only what was there before the load can be told.
    silent = scene(before=reading(("Xorg", -2.0)), last=reading(("Xorg", -2.0), ("engine", -21.0)))
    told = explain(LOADING, silent)
    assert "meanwhile" not in told.message
    assert fits(told, silent, others=2.0)


@pytest.mark.parametrize(("replies", "users"), [(0, "this reply was"), (1, "this reply was"), (3, "3 replies were")])
def test_a_full_cache_says_what_would_hold_more(replies: int, users: str) -> None:
    problem = failure(FailureCode.KV_CACHE_EXHAUSTED)
    full = scene(
        config=msgspec.structs.replace(CONFIG, cache_max_entry_count=0.05),
        last=reading(("engine", 16.9)),
        replies=replies,
    )
    now = forecast(LLAMA, full.config, [CardMemory(total=24 * GIB)])
    told = explain(problem, full)
    assert told.message == (
        f"The KV cache had no room left: it holds {now.tokens:,} tokens (forecast), and {users} using it."
    )
    changed = with_setting(full.config, told.setting)
    after = forecast(LLAMA, changed, [CardMemory(total=24 * GIB)])
    assert after.fits
    assert after.tokens >= max(1, replies) * 8192 > now.tokens
    assert f"This would hold {after.tokens:,} tokens (forecast): " in told.next_step


def test_the_machines_own_memory_is_told_the_same_way() -> None:
    problem = failure(FailureCode.HOST_MEMORY_EXHAUSTED, when="while the model was loading")
    cpu = scene(
        config=msgspec.structs.replace(CONFIG, backend=Backend.CPU),
        before=reading(host_used=4),
        last=reading(host_used=31, host_engine=20),
        cards=(),
    )
    assert "other programs took 7.0 GB meanwhile" in explain(problem, cpu).message


def test_an_engine_killed_for_memory_says_so() -> None:
    killed = failure(
        FailureCode.ENGINE_DIED, when="while it was running", reason="it was killed (SIGKILL), by another program …"
    )
    config = msgspec.structs.replace(CONFIG, backend=Backend.CPU)
    full = scene(config=config, before=reading(), last=reading(host_used=31.8, host_engine=20), cards=())
    told = explain(killed, full)
    assert told.code is FailureCode.HOST_MEMORY_EXHAUSTED
    assert told.message.startswith("The system ended the engine because this machine's memory was used up")
    roomy = msgspec.structs.replace(full, last=reading(host_used=20))
    assert explain(killed, roomy) == killed


def test_a_setting_that_is_not_understood_changes_nothing() -> None:
    assert with_setting(CONFIG, {"cache_max_entry_count": "much"}) == CONFIG
    assert with_setting(CONFIG, {"cache_max_entry_count": 1.5}) == CONFIG
    changed = with_setting(CONFIG, {"devices": [1], "quant_policy": 4})
    assert changed.devices == (1,)
    assert changed.quant_policy == 4
    assert changed.session_len == CONFIG.session_len
