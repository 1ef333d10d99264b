"""What is read of a model that was made here, and which verdicts are left beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from desktop.domain.evaluation import Evaluation
from desktop.domain.quantization import QuantizationMethod, QuantizationPlan
from desktop.jobs.made_model import EVALUATION_FILE, RECORD_FILE, keep_with_model, read_made
from desktop.jobs.messages import QuantizeJob
from tests.domain.test_evaluation import found

SOURCE = "/models/a"


def write_made(folder: Path, source: str = SOURCE, **changes: object) -> Path:
    """The folder as a quantization leaves it, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = QuantizationPlan(source=source, target=str(folder), method=QuantizationMethod.AWQ, device="cpu")
    job = QuantizeJob(plan=msgspec.structs.replace(plan, **changes))
    record = {"job": msgspec.to_builtins(job), "source_digest": "ab", "seconds": 1.0}
    (folder / RECORD_FILE).write_bytes(msgspec.json.encode(record))
    return folder


def verdict_on(folder: Path, source: str = SOURCE) -> Evaluation:
    one = found()
    return msgspec.structs.replace(
        one,
        original=msgspec.structs.replace(one.original, path=source),
        other=msgspec.structs.replace(one.other, path=str(folder)),
    )


def test_a_verdict_is_found_where_it_was_left(tmp_path: Path) -> None:
    folder = write_made(tmp_path / "made")
    made = read_made(folder)
    assert made is not None
    assert (made.source, made.source_name, made.method, made.evaluation) == (SOURCE, "a", "AWQ, 4 bits", None)
    keep_with_model(verdict_on(folder))
    again = read_made(str(folder))
    assert again == msgspec.structs.replace(made, evaluation=verdict_on(folder))
    kept = read_made(write_made(tmp_path / "mixed", kept=("layers.0.", "layers.1.")))
    assert kept is not None
    assert kept.method == "AWQ, 4 bits, 2 kept in 16 bits"


def test_only_a_comparison_with_its_original_is_left_beside_a_model(tmp_path: Path) -> None:
    folder = write_made(tmp_path / "made")
    keep_with_model(verdict_on(folder, str(folder)))  # the same one with another KV cache
    keep_with_model(verdict_on(folder, "/models/another"))
    (tmp_path / "elsewhere").mkdir()
    keep_with_model(verdict_on(tmp_path / "elsewhere"))  # not made here
    assert not list(tmp_path.rglob(EVALUATION_FILE))
    # Nor is one believed that an older program left.
    (folder / EVALUATION_FILE).write_bytes(msgspec.json.encode(verdict_on(folder, "/models/another")))
    made = read_made(folder)
    assert made is not None
    assert made.evaluation is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"job": 3}', b"\xff\xfe", b"[" * 100_000, json.dumps({"job": {"plan": {}}}).encode()],
)
def test_a_record_that_cannot_be_understood_is_none(tmp_path: Path, content: bytes) -> None:
    folder = write_made(tmp_path / "made")
    (folder / EVALUATION_FILE).write_bytes(content)
    made = read_made(folder)
    assert made is not None
    assert made.evaluation is None
    (folder / RECORD_FILE).write_bytes(content)
    assert read_made(folder) is None


def test_a_pipe_in_place_of_the_record_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD_FILE)
    assert read_made(tmp_path) is None
    assert read_made(tmp_path / "nowhere") is None
