"""Loads as they are written down: a scripted engine, readings by hand, a real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.generation import ChatMessage, GenerationRequest
from desktop.domain.load_run import LoadRun
from desktop.engine.base import EngineInfo, EngineStatistics, LoadProgress
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.run_recorder import RunRecorder
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.paths import app_paths, demo_checkpoint
from desktop.storage.run_log import RunLog
from tests.domain.memory_models import GIB
from tests.services.readings import CARD, reading

DEMO = str(demo_checkpoint())


class OnCard(ScriptedEngine):
    """Says that it runs on a card."""

    async def load(
        self, checkpoint: str, config: EngineConfig, on_progress: Callable[[LoadProgress], None]
    ) -> EngineInfo:
        info = await super().load(checkpoint, config, on_progress)
        return msgspec.structs.replace(info, backend=Backend.TURBOMIND, device=CARD)


class Bench:
    """A host, an adviser and a recorder."""

    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.paths = app_paths(folder)
        self.script = Script(tokens=40, tokens_per_second=2000)
        self.make: type[ScriptedEngine] = OnCard
        self.host = EngineHost(lambda on_log: self.make(self.script), read_checkpoint)
        self.adviser = MemoryAdviser(self.paths)
        self.recorder = RunRecorder(self.paths.runs, self.host, self.adviser, measure_seconds=0.05)

    def until(self, true: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(true, timeout=10_000)

    @property
    def run(self) -> LoadRun:
        return self.recorder.runs[0]

    def load(self) -> None:
        before = len(self.recorder.runs)
        self.host.load(DEMO)
        self.until(lambda: len(self.recorder.runs) > before)

    def close(self) -> None:
        with self.qtbot.waitSignal(self.host.stopped, timeout=10_000):
            self.host.shutdown()
        self.host.wait(1000)
        self.recorder.close()
        self.adviser.close()

    def saved(self) -> list[LoadRun]:
        log = RunLog(self.paths.runs)
        found = log.runs()
        log.close()
        return found


@pytest.fixture
def bench(tmp_path: Path, qtbot: QtBot) -> Iterator[Bench]:
    made = Bench(tmp_path, qtbot)
    with qtbot.waitSignal(made.recorder.runs_changed, timeout=5000):
        made.recorder.start()
    yield made
    made.close()


def test_a_load_is_forecast_measured_and_timed(bench: Bench) -> None:
    bench.adviser.show_reading(reading(cards=1))
    bench.load()
    bench.adviser.show_reading(reading(cards=1, used=20.0, engine=18.0))
    bench.until(lambda: bench.run.measured is not None and bench.run.forecast is not None)
    run = bench.run
    assert (run.path, run.name, run.device, run.backend) == (DEMO, "demo-checkpoint", CARD, Backend.TURBOMIND)
    assert run.measured == 18 * GIB
    assert run.forecast is not None
    assert run.forecast.others == 2 * GIB  # as it was when the load began
    assert run.load_seconds is not None
    messages = (ChatMessage(role="user", content="Hello"),)
    bench.host.generate(GenerationRequest(request_id="1", messages=messages))
    bench.until(lambda: bench.run.tokens_per_second is not None)
    assert bench.run.time_to_first_token is not None
    bench.until(lambda: bench.saved() == [bench.run])
    assert not bench.run.failure


def test_the_next_forecast_has_learned(bench: Bench) -> None:
    bench.adviser.show_reading(reading(cards=1))
    bench.load()
    bench.adviser.show_reading(reading(cards=1, used=20.0, engine=18.0))
    bench.until(lambda: bench.run.measured is not None and bench.run.forecast is not None)
    first = bench.run
    bench.load()
    bench.until(lambda: bench.run.forecast is not None)
    assert first.forecast is not None
    assert bench.run.forecast is not None
    assert bench.run.id > first.id
    assert bench.run.forecast.residual == 18 * GIB - first.forecast.engine
    bench.until(lambda: bench.saved() == list(bench.recorder.runs))
    later = MemoryAdviser(bench.paths)
    recorder = RunRecorder(bench.paths.runs, bench.host, later)
    recorder.start()
    bench.until(lambda: len(recorder.runs) == 2)
    later.show_reading(reading(cards=1))
    assert later.residual(EngineConfig(backend=Backend.TURBOMIND)) == bench.run.forecast.residual
    recorder.close()
    later.close()


def test_a_load_that_fails_is_written_down_too(bench: Bench) -> None:
    bench.adviser.show_reading(reading(cards=1))
    bench.script = Script(load_error="the script says so")
    bench.load()
    bench.until(lambda: bench.run.failure == "load_failed" and bench.run.forecast is not None)
    assert bench.run.load_seconds is None
    bench.until(lambda: bench.saved() == [bench.run])


def test_a_load_that_is_given_up_leaves_nothing(bench: Bench) -> None:
    bench.script = Script(load_seconds=60)
    bench.host.load(DEMO)
    bench.until(lambda: bench.host.status.progress is not None)
    bench.host.unload()
    bench.until(lambda: bench.host.status.state is EngineState.UNLOADED)
    assert bench.recorder.runs == ()
    assert bench.saved() == []


def test_on_the_cpu_the_window_itself_is_not_taken_for_the_model(bench: Bench) -> None:
    bench.make = ScriptedEngine  # in this process
    bench.adviser.show_reading(reading(cards=0, host_engine=1.0))
    bench.load()
    bench.qtbot.wait(150)
    assert bench.run.device == "CPU"
    assert bench.run.backend is Backend.CPU
    assert bench.run.measured is None


def test_a_log_that_cannot_be_used_is_said_once_and_loads_go_on(tmp_path: Path, qtbot: QtBot) -> None:
    paths = app_paths(tmp_path)
    paths.data.mkdir(exist_ok=True)
    paths.runs.write_bytes(b"not a database" * 100)
    made = Bench(tmp_path, qtbot)
    with qtbot.waitSignal(made.recorder.recording_failed, timeout=5000):
        made.recorder.start()
    made.load()
    assert len(made.recorder.runs) == 1
    made.close()


def test_what_the_engine_will_hold_is_known_while_it_loads_and_forgotten_afterwards(bench: Bench, qtbot: QtBot) -> None:
    bench.adviser.show_reading(reading(cards=2))
    bench.script = Script(load_seconds=1.0)
    bench.host.load(DEMO)
    bench.until(lambda: bench.recorder.engine_memory is not None)
    assert bench.host.status.state is EngineState.LOADING
    bench.until(lambda: bench.host.is_ready and bench.run.forecast is not None)
    memory = bench.recorder.engine_memory
    assert memory is not None
    assert memory.forecast == bench.run.forecast
    assert memory.cards == (0,)
    assert memory.cache_usage is None
    with qtbot.waitSignal(bench.recorder.engine_memory_changed, timeout=1000):
        bench.host.statistics_read.emit(
            EngineStatistics(
                active_requests=1, waiting_requests=0, completed_requests=0, generated_tokens=3, cache_usage=0.25
            )
        )
    assert bench.recorder.engine_memory.cache_usage == 0.25
    bench.host.unload()
    bench.until(lambda: bench.recorder.engine_memory is None)


def test_the_processors_load_is_of_the_machines_memory(bench: Bench) -> None:
    bench.make = ScriptedEngine
    bench.adviser.show_reading(reading(cards=0))
    bench.load()
    bench.until(lambda: bench.recorder.engine_memory is not None)
    memory = bench.recorder.engine_memory
    assert memory is not None
    assert memory.cards == ()
    assert memory.forecast.backend is Backend.CPU


def test_the_host_reads_statistics_while_a_model_is_loaded(bench: Bench, qtbot: QtBot) -> None:
    with qtbot.waitSignal(bench.host.statistics_read, timeout=5000) as read:
        bench.load()
    assert read.args[0].active_requests == 0
    with qtbot.assertNotEmitted(bench.host.statistics_read, wait=1300):
        bench.host.unload()
        bench.until(lambda: bench.host.status.state is EngineState.UNLOADED)
