"""What a load would take here: real folders, cards as the driver tells them, and what loads taught."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport, EngineVerdict
from desktop.domain.errors import FailureCode
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import CardMemory, Confidence
from desktop.domain.memory_reading import JobKind, ProcessMemory
from desktop.services.memory_adviser import MemoryAdviser
from desktop.storage.paths import app_paths, demo_checkpoint
from tests.domain.memory_models import GIB, MIB, llama_shape
from tests.services.readings import CARD, reading

DEMO = str(demo_checkpoint())


@pytest.fixture
def adviser(tmp_path: Path, qtbot: QtBot) -> Iterator[MemoryAdviser]:
    made = MemoryAdviser(app_paths(tmp_path))
    yield made
    made.close()


def test_a_shape_is_read_and_kept_for_the_next_start(tmp_path: Path, qtbot: QtBot, adviser: MemoryAdviser) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEMO, model)
    with qtbot.waitSignal(adviser.shape_read, timeout=5000) as read:
        adviser.read_shape(str(model))
    path, shape = read.args
    assert path == str(model)
    assert shape.complete
    assert shape.weights.exact
    assert adviser.shape(path) == shape
    later = MemoryAdviser(app_paths(tmp_path))
    with qtbot.waitSignal(later.shape_read, timeout=5000) as again:
        later.read_shape(str(model))
    assert again.args[1] == shape
    (model / "config.json").write_text("{")
    with qtbot.waitSignal(later.shape_failed, timeout=5000) as failed:
        later.read_shape(str(model))
    assert failed.args[1].code is FailureCode.CONFIG_BROKEN
    with qtbot.waitSignal(later.shape_failed, timeout=5000) as failed:
        later.read_shape(str(tmp_path / "nowhere"))
    assert failed.args[1].code is FailureCode.CHECKPOINT_NOT_READABLE
    later.close()


def test_what_the_engine_holds_will_be_free(adviser: MemoryAdviser) -> None:
    assert adviser.obstacle(EngineConfig()) == "The memory is being read …"
    adviser.show_reading(reading(cards=1, used=20.0, engine=17.0, host_engine=3.0))
    assert adviser.cards(Backend.TURBOMIND) == (CardMemory(total=24 * GIB, used=3 * GIB, index=0),)
    (host,) = adviser.cards(Backend.CPU)
    assert (host.total, host.used) == (64 * GIB, 5 * GIB)
    config = EngineConfig(backend=Backend.TURBOMIND)
    found = adviser.forecast(llama_shape(), config)
    assert found is not None
    assert found.others == 3 * GIB
    assert adviser.measured(Backend.TURBOMIND) == 17 * GIB
    assert adviser.measured(Backend.CPU) == 3 * GIB
    assert adviser.device(config) == CARD


def test_what_a_running_job_holds_is_taken(adviser: MemoryAdviser) -> None:
    now = reading(cards=1, used=20.0, engine=6.0, host_engine=3.0)
    job = ProcessMemory(20, 5 * GIB, "python3", of_job=JobKind.QUANTIZATION)
    card = msgspec.structs.replace(now.cards[0], processes=(*now.cards[0].processes, job))
    host = msgspec.structs.replace(now.host, job=JobKind.QUANTIZATION, job_bytes=GIB)
    adviser.show_reading(msgspec.structs.replace(now, cards=(card,), host=host))
    assert adviser.cards(Backend.TURBOMIND) == (CardMemory(total=24 * GIB, used=14 * GIB, index=0),)
    assert adviser.cards(Backend.CPU)[0].used == 5 * GIB
    assert adviser.measured(Backend.TURBOMIND) == 6 * GIB


def test_without_a_card_the_cpu_is_forecast(adviser: MemoryAdviser) -> None:
    adviser.show_reading(reading(cards=0))
    config = adviser.resolved("/m", EngineConfig())
    assert config.backend is Backend.CPU
    found = adviser.forecast(llama_shape(), config)
    assert found is not None
    assert found.total == 64 * GIB
    wanted = EngineConfig(backend=Backend.TURBOMIND)
    assert adviser.resolved("/m", wanted) == wanted
    assert adviser.forecast(llama_shape(), wanted) is None
    assert adviser.obstacle(wanted).startswith("This backend cannot run here, only the CPU can.")


def test_auto_is_what_lmdeploy_would_choose(tmp_path: Path, qtbot: QtBot) -> None:
    verdicts = (
        EngineVerdict(backend=Backend.TURBOMIND, runs=False, reason=""),
        EngineVerdict(backend=Backend.PYTORCH, runs=True, reason=""),
    )
    adviser = MemoryAdviser(app_paths(tmp_path), lambda path: EngineSupport(lmdeploy="1", verdicts=verdicts))
    adviser.show_reading(reading(cards=1))
    assert adviser.resolved("/m", EngineConfig()).backend is Backend.PYTORCH


def test_the_cards_that_a_setting_names(adviser: MemoryAdviser) -> None:
    adviser.show_reading(reading(cards=2))
    config = EngineConfig(backend=Backend.TURBOMIND)
    assert [card.index for card in adviser.cards_used(config)] == [0]
    named = EngineConfig(backend=Backend.TURBOMIND, tp=2, devices=(0, 1))
    assert [card.index for card in adviser.cards_used(named)] == [0, 1]
    gone = EngineConfig(backend=Backend.TURBOMIND, devices=(7,))
    assert adviser.forecast(llama_shape(), gone) is None
    assert "not there" in adviser.obstacle(gone)


def test_a_driver_that_does_not_tell(adviser: MemoryAdviser) -> None:
    adviser.show_reading(reading(cards=1, engine=None))
    assert adviser.measured(Backend.TURBOMIND) is None
    (card,) = adviser.cards(Backend.TURBOMIND)
    assert card.used == 2 * GIB


def test_what_loads_taught_corrects_the_next_forecast(adviser: MemoryAdviser) -> None:
    adviser.show_reading(reading(cards=1))
    config = EngineConfig(backend=Backend.TURBOMIND)
    before = adviser.forecast(llama_shape(), config)
    assert before is not None
    run = LoadRun(
        id=1,
        path="/m",
        name="m",
        backend=Backend.TURBOMIND,
        device=CARD,
        config=config,
        forecast=before,
        measured=before.engine + 200 * MIB,
    )
    adviser.learn([run])
    after = adviser.forecast(llama_shape(), config)
    assert after is not None
    assert (after.residual, after.confidence) == (200 * MIB, Confidence.LEARNED)


def with_instances(adviser: MemoryAdviser, *uuids: str) -> None:
    """Cards and instances of other sizes each."""
    whole = reading(cards=len(uuids))
    cards = tuple(
        msgspec.structs.replace(card, uuid=uuid, name=f"{CARD} {uuid}", total_bytes=(24 - card.index) * GIB)
        for card, uuid in zip(whole.cards, uuids, strict=True)
    )
    adviser.show_reading(msgspec.structs.replace(whole, cards=cards))


def test_a_load_runs_on_the_instance_that_is_chosen(adviser: MemoryAdviser) -> None:
    with_instances(adviser, "GPU-0", "MIG-a", "MIG-b")
    usual = EngineConfig(backend=Backend.TURBOMIND)
    assert [card.index for card in adviser.cards(Backend.TURBOMIND)] == [0, 1, 2]
    assert [card.index for card in adviser.cards_used(usual)] == [0]
    assert [card.index for card in adviser.cards_for(usual)] == [0], "nothing is planned over an instance and a card"
    second = msgspec.structs.replace(usual, devices=(2,))
    assert [card.index for card in adviser.cards_used(second)] == [2]
    assert [card.index for card in adviser.cards_for(second)] == [2]
    assert adviser.device(second) == f"{CARD} MIG-b"
    found = adviser.forecast(llama_shape(), second)
    assert found is not None
    assert found.total == 22 * GIB
    assert adviser.named(second).card_uuids == ("MIG-b",)


def test_without_a_whole_card_a_load_sees_the_first_instance(adviser: MemoryAdviser) -> None:
    with_instances(adviser, "MIG-a", "MIG-b")
    usual = EngineConfig(backend=Backend.TURBOMIND, tp=2)
    assert [card.index for card in adviser.cards_for(usual)] == [0]
    assert [card.index for card in adviser.cards_used(usual)] == [0]
    assert "one MIG instance only" in adviser.named(usual).problems()[0]
