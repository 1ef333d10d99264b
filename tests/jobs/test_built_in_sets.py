"""LMDeploy's own calibration sets: fetched from a hub on loopback by the real libraries, sampled by LMDeploy."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pandas
import pytest

from desktop.domain.calibration import BUILT_IN_SETS, BuiltInSet
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan, command_line
from desktop.jobs.built_in_sets import read_built_in_set
from desktop.jobs.messages import CountCalibrationJob, Quantized, QuantizeJob
from desktop.jobs.quantization_card import RECORD_FILE, QuantizationRecord
from desktop.storage.model_card import read_card
from desktop.storage.paths import demo_checkpoint
from tests.dataset_server import DatasetServer
from tests.jobs.running import run

SAMPLES, LENGTH = 3, 32
CHAT = [{"role": "user", "content": "Is it wide?"}, {"role": "assistant", "content": "It is as wide as it is long."}]


def lines(records: Iterable[object]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def card(config: str, split: str, pattern: str) -> bytes:
    return (
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {pattern}\n---\n"
    ).encode()


def texts(start: int = 0) -> list[dict[str, str]]:
    return [{"text": f"Page {start + n} tells about {n * 7} kinds of memory. " * 8} for n in range(40)]


def parquet(records: list[dict[str, str]]) -> bytes:
    file = io.BytesIO()
    pandas.DataFrame(records).to_parquet(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[DatasetServer]:
    questions = [{"question": f"What is {n} and {n * 3}, and why is that so?", "answer": "more"} for n in range(200)]
    tasks = [{"instruction": f"Add {n}", "input": f"to {n}", "output": f"{n + n} it is"} for n in range(200)]
    datasets = {
        "Salesforce/wikitext": {
            "README.md": card("wikitext-2-raw-v1", "train", "raw/train.jsonl"),
            "raw/train.jsonl": lines(texts()),
        },
        "allenai/c4": {
            "README.md": card("en", "train", "en/c4-train.*.json.gz"),
            "en/c4-train.00000-of-01024.json.gz": gzip.compress(lines(texts(100))),
        },
        "mit-han-lab/pile-val-backup": {
            "README.md": card("default", "validation", "val.jsonl"),
            "val.jsonl": lines(texts(200)),
        },
        "Skylion007/openwebtext": {"plain_text/train-00000-of-00080.parquet": parquet(texts(300))},
        "openai/gsm8k": {"README.md": card("main", "train", "main/train.jsonl"), "main/train.jsonl": lines(questions)},
        "neuralmagic/calibration": {
            "README.md": card("LLM", "train", "LLM/train.jsonl"),
            "LLM/train.jsonl": lines({"messages": CHAT} for _ in range(60)),
        },
        "garage-bAInd/Open-Platypus": {
            "README.md": card("default", "train", "train.jsonl"),
            "train.jsonl": lines(tasks),
        },
    }
    with DatasetServer(datasets) as server:
        yield server


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Nothing is found in this machine's caches, and nothing is left there."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return dict(os.environ)


BY_HAND = f"""
import json, sys
import datasets, torch
from transformers import AutoTokenizer
from lmdeploy.lite.utils.calib_dataloader import get_calib_loaders
from desktop.domain.calibration import BuiltInSet
from desktop.jobs.built_in_sets import read_built_in_set
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
same = {{}}
for name in sys.argv[2:]:
    ours = read_built_in_set(BuiltInSet(name), tokenizer, {SAMPLES}, {LENGTH}, 0)
    if name == "wikitext2":  # by the name that LMDeploy uses, the library does not find it any more
        same[name] = [list(sample.shape) for sample in ours]
        continue
    theirs = get_calib_loaders(name, tokenizer, nsamples={SAMPLES}, seed=0, seqlen={LENGTH})[:{SAMPLES}]
    same[name] = len(ours) == len(theirs) > 0 and all(map(torch.equal, ours, theirs))
print(json.dumps(same))
"""


def test_every_set_is_sampled_as_lmdeploy_does(hub: DatasetServer, own_cache: dict[str, str]) -> None:
    command = [sys.executable, "-c", BY_HAND, str(demo_checkpoint()), *BUILT_IN_SETS]
    done = subprocess.run(command, env={**own_cache, "HF_ENDPOINT": hub.url}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    same = json.loads(done.stdout.splitlines()[-1])
    assert same.pop("wikitext2") == [[1, LENGTH]] * SAMPLES
    assert same == dict.fromkeys(set(BUILT_IN_SETS) - {"wikitext2"}, True)


async def test_a_job_is_calibrated_with_one(hub: DatasetServer, own_cache: dict[str, str], tmp_path: Path) -> None:
    assert own_cache
    plan = QuantizationPlan(
        source=str(demo_checkpoint()),
        target=str(tmp_path / "made"),
        method=QuantizationMethod.AWQ,
        samples=SAMPLES,
        sequence_length=LENGTH,
        device="cpu",
    )
    chosen = (BuiltInSet("open-platypus", hub.url),)
    done = await run(QuantizeJob(plan=plan, calibration=chosen))
    assert isinstance(done.result, Quantized)
    found = done.result.calibration
    assert found is not None
    assert 0 < found.samples <= SAMPLES == found.wanted  # LMDeploy reads by the average length, and so may get fewer
    assert (found.tokens, found.pieces) == (found.samples * LENGTH, 0)
    record = msgspec.json.decode((tmp_path / "made" / RECORD_FILE).read_bytes(), type=QuantizationRecord)
    assert record.job.calibration == chosen
    text = read_card(str(tmp_path / "made")).text
    assert "--calib-dataset open-platypus" in text
    assert found.sha256 in text


async def test_what_cannot_be_fetched_is_a_sentence(own_cache: dict[str, str]) -> None:
    assert own_cache
    with DatasetServer({}) as empty:
        chosen = BuiltInSet("open-platypus", empty.url)
        job = CountCalibrationJob(checkpoint=str(demo_checkpoint()), calibration=(chosen,))
        with pytest.raises(TurbodeskError) as caught:
            await run(job)
    assert caught.value.failure.code is FailureCode.CALIBRATION_UNUSABLE
    assert "doesn't exist on the Hub" in caught.value.failure.message
    with pytest.raises(TurbodeskError, match="LMDeploy has no such set"):
        read_built_in_set(BuiltInSet("another"), None, 1, 1, 0)


def test_the_command_names_the_set() -> None:
    plan = QuantizationPlan(source="/models/a", target="/models/b", method=QuantizationMethod.AWQ)
    assert "--calib-dataset pileval" in command_line(plan, "pileval")
    assert "--calib-dataset" not in command_line(plan)
