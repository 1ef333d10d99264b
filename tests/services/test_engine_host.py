"""The worker thread and its signals, with the engine in a child and in this process: the same tests for both."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Action, Failure, FailureCode, error
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    TextDelta,
)
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.engine.process_engine import ProcessEngine
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.paths import demo_checkpoint

DEMO = str(demo_checkpoint())
MakeHost = Callable[..., EngineHost]


def request(request_id: str = "r") -> GenerationRequest:
    return GenerationRequest(request_id=request_id, messages=(ChatMessage("user", "hi"),))


@pytest.fixture(params=["in this process", "in a child"])
def make_host(request: pytest.FixtureRequest, qtbot: QtBot) -> Iterator[MakeHost]:
    hosts: list[EngineHost] = []

    def make(read: Callable[[str], Checkpoint] = read_checkpoint, **script: object) -> EngineHost:
        def make_engine(on_log: Callable[[str], None]) -> ScriptedEngine | ProcessEngine:
            if request.param == "in a child":
                return ProcessEngine("scripted", {"TURBODESK_SCRIPT": json.dumps(script)}, on_log)
            return ScriptedEngine(Script(**script))

        hosts.append(EngineHost(make_engine, read))
        return hosts[-1]

    yield make
    for host in hosts:
        with qtbot.waitSignal(host.stopped, timeout=10_000):
            host.shutdown()
        assert host.wait(5000)


class Recorder:
    """Everything a host told, in order."""

    def __init__(self, host: EngineHost) -> None:
        self.states: list[EngineStatus] = []
        self.deltas: list[TextDelta] = []
        self.ends: list[GenerationFinished | GenerationFailed] = []
        host.status_changed.connect(self.states.append)
        host.text_received.connect(self.deltas.append)
        host.generation_finished.connect(self.ends.append)
        host.generation_failed.connect(self.ends.append)

    def text(self, request_id: str = "r") -> str:
        return "".join(delta.text for delta in self.deltas if delta.request_id == request_id)


def until(qtbot: QtBot, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=10_000)


def test_a_load_goes_through_its_states(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host()
    seen = Recorder(host)
    assert host.status.state is EngineState.UNLOADED
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    assert {status.state for status in seen.states[:-1]} == {EngineState.LOADING}
    assert any(status.progress for status in seen.states)
    assert host.status.info is not None
    assert host.status.checkpoint is not None
    assert host.status.checkpoint.architecture == "Qwen3ForCausalLM"
    host.unload()
    until(qtbot, lambda: host.status.state is EngineState.UNLOADED)
    assert [status.state for status in seen.states[-2:]] == [EngineState.STOPPING, EngineState.UNLOADED]
    assert host.status.path == DEMO


def test_tokens_come_as_signals_in_order(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(tokens=500)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    for number in range(8):
        host.generate(request(f"r{number}"))
    until(qtbot, lambda: len(seen.ends) == 8)
    expected = "".join(f"token{i} " for i in range(500))
    assert all(seen.text(f"r{number}") == expected for number in range(8))
    assert all(isinstance(end, GenerationFinished) and end.reason is FinishReason.STOP for end in seen.ends)
    assert len(seen.deltas) < 8 * 500  # gathered, not one a token


def test_cancel(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(tokens=100_000, tokens_per_second=500)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    host.generate(request())
    until(qtbot, lambda: bool(seen.deltas))
    host.cancel("r")
    until(qtbot, lambda: bool(seen.ends))
    assert seen.ends[0].reason is FinishReason.ABORT


def test_a_request_without_a_model_fails_with_a_sentence(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host()
    seen = Recorder(host)
    host.generate(request())
    until(qtbot, lambda: bool(seen.ends))
    assert seen.ends[0].failure.code is FailureCode.ENGINE_NOT_READY


def test_unloading_ends_running_requests(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(tokens=100_000, tokens_per_second=500)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    host.generate(request())
    until(qtbot, lambda: bool(seen.deltas))
    host.unload()
    until(qtbot, lambda: host.status.state is EngineState.UNLOADED)
    assert len(seen.ends) == 1


def test_a_second_load_takes_the_place_of_the_first(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(load_seconds=0.5)
    seen = Recorder(host)
    for _ in range(3):
        host.load(DEMO)
    host.set_config(EngineConfig(session_len=77))
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    assert host.status.config.session_len == 77
    assert host.status.info is not None
    assert host.status.info.context_length == 77
    assert [status.state for status in seen.states].count(EngineState.READY) == 1
    assert EngineState.UNLOADED not in {status.state for status in seen.states}


def test_unload_stops_a_load(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(load_seconds=60)
    host.load(DEMO)
    until(qtbot, lambda: host.status.progress is not None)
    host.unload()
    until(qtbot, lambda: host.status.state is EngineState.UNLOADED)


def test_a_folder_that_is_no_checkpoint_never_reaches_an_engine(make_host: MakeHost, qtbot: QtBot, tmp_path) -> None:
    host = make_host()
    host.load(str(tmp_path))
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.NOT_A_CHECKPOINT
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    assert host.status.failure is None


def test_settings_that_cannot_work_fail_the_load(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host()
    host.set_config(EngineConfig(cache_max_entry_count=2.0))
    host.load(DEMO)
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.ENGINE_CONFIG_INVALID


def test_a_load_error_is_shown_and_cleared_by_unload(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(load_error="the script says so")
    host.load(DEMO)
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert "the script says so" in host.status.failure.message
    host.unload()
    until(qtbot, lambda: host.status.state is EngineState.UNLOADED)
    assert host.status.failure is None


def test_an_unexpected_error_while_reading_is_a_failure_too(make_host: MakeHost, qtbot: QtBot) -> None:
    def broken(path: str) -> Checkpoint:
        raise ZeroDivisionError("surprise")

    host = make_host(broken)
    host.load(DEMO)
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.INTERNAL
    assert "ZeroDivisionError" in host.status.failure.detail


def test_shutting_down_while_loading(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(load_seconds=60)
    host.load(DEMO)
    until(qtbot, lambda: host.status.progress is not None)  # the fixture shuts down


def test_the_child_is_killed_while_idle_then_reloaded(qtbot: QtBot) -> None:
    host = EngineHost(lambda on_log: ProcessEngine("scripted"), read_checkpoint)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    assert host.status.info is not None
    os.kill(host.status.info.pid, signal.SIGKILL)
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.ENGINE_DIED
    host.reload()
    until(qtbot, lambda: host.is_ready)
    with qtbot.waitSignal(host.stopped, timeout=10_000):
        host.shutdown()
    assert host.wait(5000)


def test_pickles_are_loaded_only_when_trusted(make_host: MakeHost, qtbot: QtBot, tmp_path) -> None:
    for file in demo_checkpoint().iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "pytorch_model.bin").write_bytes(b"the scripted engine does not open it")
    host = make_host()
    host.load(str(tmp_path))
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.PICKLE_WEIGHTS
    assert host.status.failure.action is Action.SHOW_MODELS
    host.load(str(tmp_path), trusted=True)
    until(qtbot, lambda: host.is_ready)
    assert host.status.checkpoint is not None
    assert host.status.checkpoint.pickles == ("pytorch_model.bin",)


def test_failures_of_the_reader_keep_their_code(make_host: MakeHost, qtbot: QtBot) -> None:
    def refuse(path: str) -> Checkpoint:
        raise error(FailureCode.PICKLE_WEIGHTS, file="model.bin")

    host = make_host(refuse)
    host.load(DEMO)
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.PICKLE_WEIGHTS


def test_a_cancel_right_after_the_request_is_not_lost(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(tokens=100_000, tokens_per_second=1000)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    for number in range(10):
        host.generate(request(f"r{number}"))
        host.cancel(f"r{number}")
    until(qtbot, lambda: len(seen.ends) == 10)
    assert all(isinstance(end, GenerationFinished) and end.reason is FinishReason.ABORT for end in seen.ends)


def test_stopping_a_load_is_shown_at_once(make_host: MakeHost, qtbot: QtBot) -> None:
    host = make_host(load_seconds=60)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.status.progress is not None)
    before = len(seen.states)
    host.unload()
    until(qtbot, lambda: host.status.state is EngineState.UNLOADED)
    assert [status.state for status in seen.states[before:]] == [EngineState.STOPPING, EngineState.UNLOADED]


def test_a_folder_that_never_answers_does_not_hold_the_end(qtbot: QtBot) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hang(path: str) -> Checkpoint:
        asked.set()
        answer.wait(60)
        raise error(FailureCode.CHECKPOINT_NOT_FOUND, path=path)

    host = EngineHost(lambda on_log: ScriptedEngine(), hang)
    host.load(DEMO)
    assert asked.wait(5)
    with qtbot.waitSignal(host.stopped, timeout=5000):
        host.shutdown()
    assert host.wait(5000)
    answer.set()


def test_the_real_engine_in_this_process_leaves_nothing_behind_when_its_load_is_stopped(qtbot: QtBot) -> None:
    host = EngineHost(lambda on_log: LMDeployEngine(), read_checkpoint)
    host.set_config(EngineConfig(backend=Backend.CPU))
    host.load(DEMO)
    qtbot.waitUntil(lambda: host.status.progress is not None, timeout=30_000)
    host.unload()
    qtbot.waitUntil(lambda: host.status.state is EngineState.UNLOADED, timeout=60_000)
    assert not [thread for thread in threading.enumerate() if thread.name == "cpu-engine"]
    host.load(DEMO)
    qtbot.waitUntil(lambda: host.is_ready, timeout=60_000)
    seen = Recorder(host)
    host.generate(request())
    until(qtbot, lambda: bool(seen.ends))
    assert isinstance(seen.ends[0], GenerationFinished)
    with qtbot.waitSignal(host.stopped, timeout=30_000):
        host.shutdown()
    assert host.wait(5000)
    assert not [thread for thread in threading.enumerate() if thread.name == "cpu-engine"]


def test_a_load_that_cannot_work_leaves_the_loaded_model_alone(make_host: MakeHost, qtbot: QtBot, tmp_path) -> None:
    host = make_host(tokens=3)
    seen = Recorder(host)
    host.load(DEMO)
    until(qtbot, lambda: host.is_ready)
    refused: list[Failure] = []
    host.load_refused.connect(refused.append)
    host.load(str(tmp_path))
    until(qtbot, lambda: bool(refused))
    assert refused[0].code is FailureCode.NOT_A_CHECKPOINT
    assert host.is_ready
    assert host.status.path == DEMO
    host.generate(request())
    until(qtbot, lambda: bool(seen.ends))
    assert isinstance(seen.ends[0], GenerationFinished)


def test_a_folder_without_a_tokenizer_is_refused(make_host: MakeHost, qtbot: QtBot, tmp_path) -> None:
    for file in demo_checkpoint().iterdir():
        if not file.name.startswith("tokenizer"):
            (tmp_path / file.name).symlink_to(file)
    host = make_host()
    host.load(str(tmp_path))
    until(qtbot, lambda: host.status.state is EngineState.FAILED)
    assert host.status.failure is not None
    assert host.status.failure.code is FailureCode.TOKENIZER_BROKEN
    assert "no tokenizer files" in host.status.failure.message
