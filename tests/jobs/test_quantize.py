"""Each method on the demo checkpoint: the same bits as LMDeploy called by hand, a result that loads and answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from safetensors import safe_open

from desktop.domain.calibration import TextFile
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import ChatMessage, GenerationRequest, SamplingParams, TextDelta
from desktop.domain.memory_reading import HostReading
from desktop.domain.quantization import QuantizationMethod, python_script
from desktop.domain.shelf import SourceKind
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.jobs.made_model import RECORD_FILE
from desktop.jobs.messages import JobStep, LayerError, Progress, Quantized, QuantizeJob, Tried, TryJob
from desktop.jobs.quantization_card import QuantizationRecord
from desktop.jobs.result_check import check_result
from desktop.jobs.source import read_source
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_walk import Walk
from desktop.storage.model_card import read_card
from desktop.storage.paths import demo_checkpoint
from tests.jobs.running import Run, demo_job, guide_text, run

M = QuantizationMethod
METHODS = (M.AWQ, M.AWQ_SEARCH, M.ROUND, M.INT8, M.FP8)
LINEARS = 35
pytestmark = pytest.mark.timeout(400)  # ten quantizations are made for the first test


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[M, tuple[QuantizeJob, Run]]:
    """One job of each method."""
    folder = tmp_path_factory.mktemp("results")
    text = guide_text(folder)
    jobs = {method: demo_job(folder / method.value, text, method) for method in METHODS}
    return {method: (job, asyncio.run(run(job))) for method, job in jobs.items()}


@pytest.fixture(scope="module")
def by_hand(results: dict[M, tuple[QuantizeJob, Run]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which LMDeploy alone has made the same, each by the script that Turbodesk shows."""
    folder = tmp_path_factory.mktemp("by-hand")
    for method, (job, _) in results.items():
        text = next(Path(job.plan.target).glob("calibration-*.jsonl"), Path("none"))
        plan = msgspec.structs.replace(job.plan, target=str(folder / method.value))
        (folder / f"{method.value}.py").write_text(python_script(plan, str(text)))
    # One process for all: loading LMDeploy is what takes the time.
    program = "import runpy, sys\nfor script in sys.argv[1:]: runpy.run_path(script)"
    scripts = [str(folder / f"{method.value}.py") for method in METHODS]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", program, *scripts], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_are_those_of_lmdeploy_alone_bit_for_bit(
    method: M, results: dict[M, tuple[QuantizeJob, Run]], by_hand: Path
) -> None:
    ours = Path(results[method][0].plan.target)
    assert (ours / "model.safetensors").read_bytes() == (by_hand / method.value / "model.safetensors").read_bytes()
    assert json.loads((ours / "config.json").read_text()) == json.loads(
        (by_hand / method.value / "config.json").read_text()
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_size_was_known_before(method: M, results: dict[M, tuple[QuantizeJob, Run]]) -> None:
    job, done = results[method]
    assert isinstance(done.result, Quantized)
    forecast = read_source(job.plan.source).result_bytes(method)
    assert forecast == pytest.approx(done.result.weight_bytes, rel=0.005)
    assert done.result.weight_bytes == (Path(job.plan.target) / "model.safetensors").stat().st_size


@pytest.mark.parametrize("method", METHODS)
def test_the_folder_is_whole_and_says_what_it_is(method: M, results: dict[M, tuple[QuantizeJob, Run]]) -> None:
    job, done = results[method]
    folder = Path(job.plan.target)
    assert isinstance(done.result, Quantized)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.quantization is not None
    assert checkpoint.quantization.method == ("smooth_quant" if method in (M.INT8, M.FP8) else "awq")
    assert checkpoint.parameters == pytest.approx(read_checkpoint(demo_checkpoint()).parameters, rel=0.001)
    assert not list(folder.glob("*.pth"))
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    record = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=QuantizationRecord)
    assert record.job.plan == job.plan
    assert record.weight_bytes == done.result.weight_bytes
    assert record.calibration == done.result.calibration
    card = read_card(str(folder))
    assert card.summary.license == "apache-2.0"
    assert str(folder) not in card.text
    if facts := done.result.calibration:
        assert facts.sha256 in card.text
        assert (folder / record.calibration_file).name == f"calibration-{facts.sha256[:16]}.jsonl"


@pytest.mark.parametrize("method", METHODS)
def test_it_tells_how_far_it_is(method: M, results: dict[M, tuple[QuantizeJob, Run]]) -> None:
    _, done = results[method]
    progress = [event for event in done.events if isinstance(event, Progress)]
    assert [*dict.fromkeys(event.step for event in progress)] == [
        step
        for step in JobStep
        if step not in (JobStep.ASKING, JobStep.READING_ALONG) and (method is not M.ROUND or step not in _TEXT_STEPS)
    ]
    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.5
    assert progress[-1].seconds_left is not None
    errors = [event for event in done.events if isinstance(event, LayerError)]
    assert len(errors) == LINEARS
    assert len({error.name for error in errors}) == LINEARS
    assert {error.of_weights for error in errors} == {method is M.ROUND}
    low, high = (0.0005, 0.1) if method in (M.INT8, M.FP8) else (0.01, 0.5)
    assert all(low < error.error < high for error in errors)


_TEXT_STEPS = (JobStep.READING_TEXT, JobStep.CALIBRATING, JobStep.SMOOTHING)


@pytest.mark.parametrize("method", [M.AWQ, M.INT8])
def test_a_result_is_not_lost_for_lack_of_memory(
    method: M, results: dict[M, tuple[QuantizeJob, Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(results[method][0].plan.target)
    assert check_result(folder, [1, 2, 3], False) == "files, numbers, and a pass through the model"
    nothing_free = HostReading(total=2**30, used=2**30, available=10_000)
    monkeypatch.setattr("desktop.jobs.result_check.read_host", lambda: nothing_free)
    assert "no memory for a pass" in check_result(folder, [1, 2, 3], False)


def test_a_broken_result_is_refused(results: dict[M, tuple[QuantizeJob, Run]], tmp_path: Path) -> None:
    whole = Path(results[M.AWQ][0].plan.target)
    for number, (file, change) in enumerate(
        (
            ("model.safetensors", lambda content: content[:-100]),
            ("config.json", lambda content: content.replace(b"quantization_config", b"other")),
            ("config.json", lambda content: content.replace(b'"num_hidden_layers": 5', b'"num_hidden_layers": 6')),
        )
    ):
        folder = shutil.copytree(whole, tmp_path / str(number))
        (folder / file).write_bytes(change((folder / file).read_bytes()))
        with pytest.raises(TurbodeskError) as caught:
            check_result(folder, [1, 2, 3], False)
        assert caught.value.failure.code is FailureCode.RESULT_BROKEN


def test_the_error_is_that_of_the_outputs(results: dict[M, tuple[QuantizeJob, Run]]) -> None:
    """Rounding to nearest has no inputs: its error is that of the weights, computed here from the two files."""
    import torch

    from desktop.engine.awq_weights import read_dequantized

    job, done = results[M.ROUND]
    again = read_dequantized([Path(job.plan.target) / "model.safetensors"], torch.float32)
    with safe_open(demo_checkpoint() / "model.safetensors", framework="pt") as file:
        for event in done.events:
            if isinstance(event, LayerError):
                weight = file.get_tensor(f"{event.name}.weight").half().float()
                error = (again[f"{event.name}.weight"] - weight).norm() / weight.norm()
                assert event.error == pytest.approx(float(error), rel=1e-3)


async def test_our_engine_runs_it_and_it_still_answers(tmp_path: Path, guide: Path) -> None:
    """With layers kept in 16 bits too."""
    job = demo_job(tmp_path / "awq", guide, samples=8, sequence_length=128, kept=("layers.1.mlp",))
    await run(job)
    with safe_open(tmp_path / "awq" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {"model.layers.0.mlp.up_proj.qweight", "model.layers.1.mlp.up_proj.weight"} <= names
    question = json.loads((demo_checkpoint() / "turbodesk.json").read_text(encoding="utf-8"))["starters"]["en"][0]
    answers = []
    for folder in (demo_checkpoint(), tmp_path / "awq"):
        engine = LMDeployEngine()
        await engine.load(str(folder), EngineConfig(backend=Backend.CPU), lambda progress: None)
        request = GenerationRequest(
            request_id="r",
            messages=(ChatMessage("user", question),),
            params=SamplingParams(temperature=0.0, max_new_tokens=200),
        )
        events = [event async for event in engine.generate(request)]
        await engine.close()
        answers.append("".join(event.text for event in events if isinstance(event, TextDelta)))
    assert len(answers[0]) > 40
    assert answers[1] == answers[0]


async def test_chats_and_the_shipped_text_calibrate_too(tmp_path: Path) -> None:
    from desktop.domain.calibration import CalibrationMessage, Conversations, ShippedText

    conversation = (CalibrationMessage("user", "What is AWQ?"), CalibrationMessage("assistant", "A method. " * 40))
    job = demo_job(tmp_path / "chat", tmp_path / "unused")
    job = msgspec.structs.replace(
        job,
        calibration=(Conversations((conversation,)), ShippedText()),
        source_name="some/model",
        revision="abc",
    )
    done = await run(job)
    assert isinstance(done.result, Quantized)
    card = read_card(str(tmp_path / "chat"))
    assert "some/model" in card.summary.base_models
    assert "`abc`" in card.text
    assert "What is AWQ?" not in (tmp_path / "chat" / RECORD_FILE).read_text()
    found = [path for path, _ in Walk().find(ScanRoot(str(tmp_path), SourceKind.OWN))]
    assert found == [str(tmp_path / "chat")]


async def test_calibration_is_counted_with_the_models_tokens(guide: Path) -> None:
    from desktop.jobs.messages import CalibrationCounted, CountCalibrationJob

    job = CountCalibrationJob(checkpoint=str(demo_checkpoint()), calibration=(TextFile(str(guide)),), samples=4096)
    done = await run(job)
    assert isinstance(done.result, CalibrationCounted)
    found = done.result.statistics
    assert found.counted_all
    assert found.samples == found.tokens // 2048
    assert f"enough for {found.samples} of 4096 samples" in found.warnings[0]


async def test_one_layer_is_tried_and_thrown_away(tmp_path: Path, guide: Path) -> None:
    job = demo_job(tmp_path / "out", guide, samples=8, sequence_length=128)
    done = await run(TryJob(plan=job.plan, calibration=job.calibration))
    assert isinstance(done.result, Tried)
    assert list(tmp_path.iterdir()) == []
    assert {event.layers for event in done.events if isinstance(event, Progress)} <= {0, 1, 7}
    assert done.result.seconds > 5 * done.result.layer_seconds > 0
    assert done.result.calibration is not None
    whole = await run(job)
    assert isinstance(whole.result, Quantized)
    assert whole.result.calibration == done.result.calibration
