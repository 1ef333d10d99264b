"""What goes wrong in a job: a sentence each, and nothing half-made left behind."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from desktop.domain.errors import Failure, FailureCode, TurbodeskError
from desktop.domain.quantization import QuantizationMethod
from desktop.jobs.job_process import JobProcess
from desktop.jobs.messages import JobEvent, JobStep, Progress
from desktop.storage.paths import demo_checkpoint
from tests.jobs.running import demo_job, run

M = QuantizationMethod


async def failure_of(job: Any, on_event: Callable[[JobProcess, JobEvent], None] | None = None) -> Failure:
    with pytest.raises(TurbodeskError) as caught:
        await run(job, on_event)
    parent = Path(job.plan.target).parent
    assert not [name for name in os.listdir(parent) if name.startswith(".turbodesk")]
    assert not Path(job.plan.target).exists() or caught.value.failure.code is FailureCode.JOB_TARGET_TAKEN
    return caught.value.failure


def copied(folder: Path) -> Path:
    return shutil.copytree(demo_checkpoint(), folder / "source")


def at(step: JobStep, do: Callable[[JobProcess], None]) -> Callable[[JobProcess, JobEvent], None]:
    """Do it once, when the job begins the step."""
    done = []

    def take(process: JobProcess, event: JobEvent) -> None:
        if isinstance(event, Progress) and event.step is step and not done:
            done.append(event)
            do(process)

    return take


@pytest.mark.parametrize(("method", "number"), [(M.AWQ, torch.nan), (M.ROUND, torch.inf), (M.INT8, torch.nan)])
async def test_weights_that_are_no_numbers_are_named(method: M, number: float, tmp_path: Path, guide: Path) -> None:
    source = copied(tmp_path)
    weights = load_file(source / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"][3, 7] = number
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    found = await failure_of(demo_job(tmp_path / "out", guide, method, source=str(source)))
    assert found.code is FailureCode.WEIGHTS_NOT_FINITE
    assert "model.layers.2.mlp.up_proj.weight" in found.message


async def test_values_that_outgrow_16_bits_name_the_layer(tmp_path: Path, guide: Path) -> None:
    source = copied(tmp_path)
    weights = load_file(source / "model.safetensors")
    for name in ("gate_proj", "up_proj"):
        weights[f"model.layers.3.mlp.{name}.weight"] *= 3000
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    found = await failure_of(demo_job(tmp_path / "out", guide, source=str(source)))
    assert found.code is FailureCode.WEIGHTS_NOT_FINITE
    assert "model.layers.3" in found.message
    assert "too large for 16-bit" in found.message


async def test_a_target_that_is_taken(tmp_path: Path, guide: Path) -> None:
    (tmp_path / "out").mkdir()
    found = await failure_of(demo_job(tmp_path / "out", guide))
    assert found.code is FailureCode.JOB_TARGET_TAKEN


async def test_a_target_that_is_taken_meanwhile(tmp_path: Path, guide: Path) -> None:
    target = tmp_path / "out"
    found = await failure_of(demo_job(target, guide, M.ROUND), at(JobStep.SAVING, lambda process: target.mkdir()))
    assert found.code is FailureCode.JOB_TARGET_TAKEN
    assert list(target.iterdir()) == []


async def test_a_source_that_is_not_there(tmp_path: Path, guide: Path) -> None:
    found = await failure_of(demo_job(tmp_path / "out", guide, source=str(tmp_path / "nowhere")))
    assert found.code is FailureCode.CHECKPOINT_NOT_FOUND


async def test_a_source_that_is_removed_meanwhile(tmp_path: Path, guide: Path) -> None:
    source = copied(tmp_path)
    found = await failure_of(
        demo_job(tmp_path / "out", guide, source=str(source)),
        at(JobStep.READING_TEXT, lambda process: shutil.rmtree(source)),
    )
    assert found.code in (FailureCode.CHECKPOINT_NOT_FOUND, FailureCode.TOKENIZER_BROKEN)


async def test_calibration_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    found = await failure_of(demo_job(tmp_path / "out", tmp_path / "empty.txt"))
    assert found.code is FailureCode.CALIBRATION_UNUSABLE
    assert "empty.txt" in found.message


async def test_a_plan_that_cannot_work(tmp_path: Path, guide: Path) -> None:
    found = await failure_of(demo_job(tmp_path / "out", guide, group_size=64))
    assert found.code is FailureCode.QUANTIZATION_REFUSED


async def test_too_little_memory_says_what_would_have_fitted(tmp_path: Path, guide: Path) -> None:
    """The kernel gives the process no more address space from the moment when the text goes through the model.

    A batch takes hundreds of megabytes, more than the process can have put by; on a busy machine the moment may come a
    step later.
    """
    text = tmp_path / "much.txt"
    answers = guide.read_text(encoding="utf-8")
    text.write_text("\n\n".join(answers.replace(".", f" {number}.") for number in range(12)), encoding="utf-8")

    def take_memory(process: JobProcess) -> None:
        assert process.pid is not None
        with open(f"/proc/{process.pid}/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.prlimit(process.pid, resource.RLIMIT_AS, (now, now))

    job = demo_job(tmp_path / "out", text, samples=256, sequence_length=256, batch_size=256)
    found = await failure_of(job, at(JobStep.CALIBRATING, take_memory))
    assert found.code is FailureCode.JOB_OUT_OF_MEMORY
    assert found.message.startswith("There was not enough memory while ")
    assert re.search(r"with \d+ samples of \d+ tokens and a batch of 1,", found.next_step)


async def test_a_file_that_the_disk_does_not_take(tmp_path: Path, guide: Path) -> None:
    def no_large_files(process: JobProcess) -> None:
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    found = await failure_of(demo_job(tmp_path / "out", guide, M.ROUND), at(JobStep.SAVING, no_large_files))
    assert found.code is FailureCode.JOB_NO_ROOM
    assert "takes no file so large" in found.message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MB: room for the result, until somebody else takes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_disk_that_is_full_before_and_meanwhile(small_disk: Path, guide: Path) -> None:
    def fill(process: JobProcess) -> None:
        (small_disk / "other").write_bytes(bytes(2_000_000))

    found = await failure_of(demo_job(small_disk / "out", guide, M.ROUND), at(JobStep.PACKING, fill))
    assert found.code is FailureCode.JOB_NO_ROOM
    assert "is full" in found.message
    found = await failure_of(demo_job(small_disk / "out", guide, M.ROUND))
    assert found.code is FailureCode.JOB_NO_ROOM
    assert "are free" in found.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a card")
async def test_a_card_that_is_not_there(tmp_path: Path, guide: Path) -> None:
    found = await failure_of(demo_job(tmp_path / "out", guide, device="cuda"))
    assert found.code is FailureCode.QUANTIZATION_REFUSED
    assert "no card" in found.message
