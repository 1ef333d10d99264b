"""Consent before each load: the first, and every one that follows, whoever asks for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.domain.shelf import ShelfEntry, SourceKind
from desktop.engine.process_engine import ProcessEngine
from desktop.jobs.messages import QuantizeJob
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState
from desktop.services.job_runner import JobRunner
from desktop.services.model_loader import ModelLoader
from desktop.storage.checkpoint_code import CodeReport
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.paths import demo_checkpoint
from tests.storage.model_folders import files_of_a_model, write_model


class Bench:
    """A loader with a real engine process, which plays a script, and a model that brings code."""

    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        files = {**files_of_a_model(auto_map={"AutoModel": "modeling_x.X"}), "modeling_x.py": b"raise SystemExit\n"}
        self.model = write_model(folder / "models" / "x", files)
        self.cache = folder
        self.host = EngineHost(lambda on_log: ProcessEngine("scripted"), read_checkpoint)
        self.inspector = CheckpointInspector(folder / "trusted.json")
        self.known: dict[str, ShelfEntry] = {}
        self.loader = ModelLoader(self.host, self.inspector, self.known.get)
        self.asked: list[CodeReport] = []
        self.refused: list[Failure] = []
        self.loads = 0
        self.loader.consent_needed.connect(self.asked.append)
        self.host.load_refused.connect(self.refused.append)
        self.host.status_changed.connect(self._on_status_changed)
        self._was = EngineState.UNLOADED

    def _on_status_changed(self, status: object) -> None:
        state = self.host.status.state
        self.loads += state is EngineState.READY and self._was is not EngineState.READY
        self._was = state

    def until(self, true: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(true()), timeout=20_000)

    @property
    def entry(self) -> ShelfEntry:
        (found,) = scan([ScanRoot(str(self.model), SourceKind.FOLDER)], open_cache(self.cache)).entries
        return found

    def load_with_consent(self) -> None:
        self.loader.load(self.entry)
        self.until(lambda: self.asked)
        self.loader.answer(self.asked.pop(), True)
        self.until(lambda: self.loads == 1)
        assert self.trusted

    @property
    def trusted(self) -> bool:
        return self.host.status.config.trust_remote_code

    def change_code(self) -> None:
        (self.model / "modeling_x.py").write_bytes(b"import os\n")

    def close(self) -> None:
        with self.qtbot.waitSignal(self.host.stopped, timeout=10_000):
            self.host.shutdown()
        self.host.wait(1000)


@pytest.fixture
def bench(tmp_path: Path, qtbot: QtBot) -> Iterator[Bench]:
    made = Bench(tmp_path, qtbot)
    yield made
    made.close()


def test_the_same_files_are_loaded_again_without_a_question(bench: Bench) -> None:
    bench.load_with_consent()
    bench.host.reload()
    bench.until(lambda: bench.loads == 2)
    assert bench.trusted
    assert (bench.asked, bench.refused) == ([], [])


def test_other_code_is_asked_for_before_it_is_loaded_again(bench: Bench) -> None:
    bench.load_with_consent()
    bench.change_code()
    bench.host.reload()
    bench.until(lambda: bench.asked)
    assert bench.loads == 1
    assert bench.host.is_ready, "what is loaded stays until it is answered"
    (report,) = bench.asked
    assert report.files[0].text == "import os\n"
    bench.loader.answer(report, False)
    assert [problem.code for problem in bench.refused] == [FailureCode.NOT_TRUSTED_AGAIN]
    bench.qtbot.wait(50)
    assert bench.loads == 1
    bench.host.reload()
    bench.until(lambda: len(bench.asked) == 2)
    bench.loader.dismiss()
    assert len(bench.refused) == 2
    bench.host.reload()
    bench.until(lambda: len(bench.asked) == 3)
    bench.loader.answer(report, True)
    bench.until(lambda: bench.loads == 2)
    assert bench.trusted


def test_what_was_allowed_and_taken_back_is_asked_again(bench: Bench) -> None:
    bench.load_with_consent()
    with bench.qtbot.waitSignal(bench.inspector.forgotten, timeout=10_000):
        bench.inspector.forget(str(bench.model))
    bench.host.reload()
    bench.until(lambda: bench.asked)
    assert bench.loads == 1


def test_another_revision_of_the_same_files_is_asked_for(bench: Bench) -> None:
    bench.load_with_consent()
    (bench.model / ".mv").write_text("Revision:v2,CreatedAt:1700000000")
    bench.known[str(bench.model)] = bench.entry
    bench.host.reload()
    bench.until(lambda: bench.asked)
    assert bench.asked[0].revision == "v2"


def test_a_crash_does_not_make_other_code_trusted(bench: Bench) -> None:
    bench.load_with_consent()
    assert bench.host.status.info is not None
    os.kill(bench.host.status.info.pid, signal.SIGKILL)
    bench.until(lambda: bench.host.status.state is EngineState.FAILED)
    bench.change_code()
    bench.host.reload()
    bench.until(lambda: bench.asked)
    assert bench.host.status.state is EngineState.FAILED


def test_a_model_that_gave_way_to_a_job_comes_back_only_with_consent(bench: Bench, tmp_path: Path) -> None:
    bench.load_with_consent()
    plan = QuantizationPlan(
        source=str(demo_checkpoint()), target=str(tmp_path / "made"), method=QuantizationMethod.ROUND, device="cpu"
    )
    runner = JobRunner(tmp_path / "jobs", bench.host, lambda job: None)
    number = runner.add(QuantizeJob(plan=plan), "a job", unload_chat=True)
    bench.until(lambda: bench.host.status.state is EngineState.UNLOADED)
    bench.change_code()
    runner.stop(number)
    bench.until(lambda: bench.asked)
    assert bench.loads == 1
    runner.close()


def test_a_host_alone_trusts_nothing_again(bench: Bench, qtbot: QtBot) -> None:
    """Without a loader a trusted model is loaded again without trust."""
    host = EngineHost(lambda on_log: ProcessEngine("scripted"), read_checkpoint)
    host.load(str(bench.model), trusted=True)
    qtbot.waitUntil(lambda: host.is_ready, timeout=20_000)
    host.reload()
    qtbot.waitUntil(lambda: host.is_ready and not host.status.config.trust_remote_code, timeout=20_000)
    with qtbot.waitSignal(host.stopped, timeout=10_000):
        host.shutdown()
    host.wait(1000)
