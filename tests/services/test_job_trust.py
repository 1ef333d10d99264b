"""No job runs a model's own code that the user has not allowed, whatever asks for the job."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.calibration import ShippedText
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.domain.shelf import ShelfEntry
from desktop.jobs.job_record import EvaluationPair, JobStatus
from desktop.jobs.messages import (
    CompareJob,
    CountCalibrationJob,
    EvaluationText,
    Job,
    MeasureJob,
    QuantizeJob,
    TryJob,
)
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.job_trust import JobTrust
from tests.domain.test_evaluation import SIDE
from tests.services.test_checkpoint_inspector import custom
from tests.services.test_job_runner import Bench


def jobs_on(path: str, *, trusted: bool) -> list[Job]:
    """One of each kind."""
    plan = QuantizationPlan(
        source=path, target="/nowhere", method=QuantizationMethod.ROUND, device="cpu", trust_remote_code=trusted
    )
    config = EngineConfig(backend=Backend.CPU, trust_remote_code=trusted)
    measure = MeasureJob(checkpoint=path, name="x", config=config, text=EvaluationText(), work="")
    return [
        QuantizeJob(plan=plan),
        TryJob(plan=plan),
        CountCalibrationJob(checkpoint=path, calibration=(ShippedText(),), trust_remote_code=trusted),
        measure,
        CompareJob(original=SIDE, other=measure),
    ]


class Trust:
    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.entry = custom(folder)
        self.inspector = CheckpointInspector(folder / "trusted.json")
        self.shelf: dict[str, ShelfEntry] = {self.entry.path: self.entry}
        self.gate = JobTrust(self.inspector, self.shelf.get)
        self.qtbot = qtbot

    def allow(self) -> None:
        with self.qtbot.waitSignal(self.inspector.code_read, timeout=10_000) as read:
            self.inspector.read_code(self.entry)
        with self.qtbot.waitSignal(self.inspector.code_read, timeout=10_000):
            self.inspector.answer(read.args[0], True)

    def refused(self) -> int:
        """How many of the jobs are refused."""
        return sum(self._refuses(job) for job in jobs_on(self.entry.path, trusted=True))

    def _refuses(self, job: Job) -> bool:
        try:
            self.gate.check(job)
        except TurbodeskError as problem:
            return problem.failure.code is FailureCode.CODE_NOT_ALLOWED
        return False


@pytest.fixture
def trust(tmp_path: Path, qtbot: QtBot) -> Trust:
    return Trust(tmp_path, qtbot)


def test_code_runs_in_a_job_only_as_it_was_allowed(trust: Trust) -> None:
    for job in jobs_on(trust.entry.path, trusted=False):
        trust.gate.check(job)
    assert trust.refused() == 5
    trust.allow()
    assert trust.refused() == 0
    (Path(trust.entry.path) / "modeling_x.py").write_text("import os\n")
    assert trust.refused() == 5
    trust.allow()
    assert trust.refused() == 0
    trust.shelf.clear()
    assert trust.refused() == 5, "a model that is not on the shelf"


def test_a_job_that_is_not_allowed_starts_no_process(trust: Trust, tmp_path: Path, qtbot: QtBot) -> None:
    bench = Bench(tmp_path / "bench", qtbot)
    bench.runner.check = trust.gate.check
    started: list[object] = []
    bench.runner.process_changed.connect(lambda job: started.append(job) if job is not None else None)
    quantize, _, _, measure, _ = jobs_on(trust.entry.path, trusted=True)
    plain = msgspec.structs.replace(measure, config=EngineConfig(backend=Backend.CPU))
    for work in (quantize, EvaluationPair(original=plain, other=measure)):
        number = bench.runner.add(work, "a job")
        bench.until(lambda number=number: bench.state(number) is JobStatus.FAILED)
        assert bench.runner.job(number).failure.code is FailureCode.CODE_NOT_ALLOWED
    assert started == []
    bench.close()
