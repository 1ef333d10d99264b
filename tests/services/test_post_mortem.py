"""An engine that really dies of memory: the reply, the engine's state and the next load all know why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.conversation import MessageState
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode
from desktop.domain.memory_reading import MemoryReading
from desktop.services.engine_status import EngineState
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.memory_history import KEPT_SECONDS, MemoryHistory
from desktop.services.post_mortem import PostMortem
from desktop.storage.paths import app_paths
from tests.services.conftest import DEMO, Desk
from tests.services.readings import reading

OUT_OF_MEMORY = "[TM][FATAL] core/logger.cc(286): CUDA error: out of memory"


def at(time: float, found: MemoryReading) -> MemoryReading:
    return msgspec.structs.replace(found, monotonic_time=time)


@pytest.fixture
def history() -> MemoryHistory:
    made = MemoryHistory()
    made.add(at(0.0, reading(cards=1, used=1.0)))
    return made


@pytest.fixture
def dying(make_desk: Callable[..., Desk], history: MemoryHistory, tmp_path: Path, qtbot: QtBot) -> Desk:
    """A desk whose failures are explained; its engine lives in a child."""
    desk = make_desk(in_child=True)
    adviser = MemoryAdviser(app_paths(tmp_path), parent=desk.host)
    adviser.show_reading(history.newest)
    PostMortem(desk.host, adviser, history, lambda: desk.chats.generating_count, parent=desk.host)
    with qtbot.waitSignal(adviser.shape_read, timeout=5000):
        adviser.read_shape(DEMO)
    adviser.close()
    desk.host.set_config(EngineConfig(backend=Backend.TURBOMIND))
    return desk


def test_a_reply_that_was_cut_says_why_and_what_would_have_fitted(dying: Desk, history: MemoryHistory) -> None:
    dying.load(tokens=50, exit_after=5, tokens_per_second=100.0, last_words=OUT_OF_MEMORY)
    history.add(at(9.0, reading(cards=1, used=23.0, engine=20.0, host_engine=1.0)))
    history.add(at(9.5, reading(cards=1, used=3.0)))  # the driver has taken back what the dead engine held
    conversation = dying.chats.send(None, "go")
    dying.until(lambda: dying.host.status.state is EngineState.FAILED)
    (end,) = dying.ends
    assert end.state is MessageState.INTERRUPTED
    assert end.content.startswith("token0 ")
    assert end.failure == dying.host.status.failure
    assert end.failure is not None
    assert end.failure.code is FailureCode.VIDEO_MEMORY_EXHAUSTED
    assert end.failure.message == (
        "There was not enough video memory while it was running: other programs took 2.0 GB meanwhile."
    )
    assert end.failure.next_step.startswith("This would have fitted (forecast): ")
    assert end.failure.setting
    saved = dying.saved(conversation)[-1]
    assert saved.failure == end.failure


def test_going_on_after_a_load_with_another_setting(dying: Desk) -> None:
    """Also where the model is still loaded, as when one reply filled the cache: nothing more is sent to it."""
    dying.load(tokens=50, tokens_per_second=100.0, exit_after=5, last_words=OUT_OF_MEMORY)
    conversation = dying.chats.send(None, "go")
    dying.until(lambda: dying.host.status.state is EngineState.FAILED)
    cut = dying.ends[-1]
    dying.script = {"tokens": 50}
    dying.chats.continue_reply(conversation, cut.id, reload=True)
    dying.until(lambda: len(dying.ends) == 2)
    assert dying.ends[-1].state is MessageState.COMPLETE
    assert dying.ends[-1].content.startswith(cut.content)

    loaded = dying.host.status.info
    dying.chats.continue_reply(conversation, cut.id, reload=True)
    dying.until(lambda: len(dying.ends) == 3)
    assert dying.ends[-1].state is MessageState.COMPLETE
    assert dying.host.status.info.pid != loaded.pid


def test_a_reload_that_is_refused_goes_on_with_what_is_loaded(dying: Desk) -> None:
    dying.load(tokens=5)
    conversation = dying.chats.send(None, "go")
    dying.until(lambda: len(dying.ends) == 1)
    dying.host.set_config(msgspec.structs.replace(dying.host.status.config, cache_max_entry_count=2.0))
    dying.chats.continue_reply(conversation, dying.ends[0].id, reload=True)
    dying.until(lambda: len(dying.ends) == 2)
    assert dying.ends[-1].state is MessageState.COMPLETE


def test_the_history_keeps_the_peak_of_each_second_for_ten_minutes() -> None:
    history = MemoryHistory()
    assert history.newest is None
    assert history.newest_of_engine(60.0) is None
    for tick in range(100):
        history.add(at(tick / 10, reading(cards=1, used=2.0 + (tick == 34))))
    kept = history.readings
    assert [found.monotonic_time for found in kept] == [float(second) for second in range(10)]
    assert [round(found.cards[0].used_bytes / 2**30) for found in kept] == [2, 2, 2, 3, 2, 2, 2, 2, 2, 2]
    assert history.newest.monotonic_time == pytest.approx(9.9)
    history.add(at(KEPT_SECONDS + 5, reading(cards=1)))
    assert [found.monotonic_time for found in history.readings] == [5.0, 6.0, 7.0, 8.0, 9.0, KEPT_SECONDS + 5]


def test_what_the_engine_held_is_found_after_its_end() -> None:
    history = MemoryHistory()
    history.add(at(0.0, reading(cards=1, used=20.0, engine=18.0)))
    history.add(at(2.0, reading(cards=1, used=2.0)))
    assert history.newest_of_engine(60.0).cards[0].engine_bytes == 18 * 2**30
    assert history.newest_of_engine(1.0).cards[0].engine_bytes == 0
