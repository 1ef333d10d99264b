"""The sampling a checkpoint's generation_config.json asks for."""

import json
from pathlib import Path

import pytest

from desktop.domain.generation import SamplingParams
from desktop.engine.recommended_sampling import read_recommended


def write(folder: Path, content: object) -> str:
    (folder / "generation_config.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_what_is_named_is_taken(tmp_path: Path) -> None:
    asked = {"temperature": 0.6, "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05}
    assert read_recommended(write(tmp_path, {**asked, "do_sample": True, "eos_token_id": 2})) == SamplingParams(**asked)


def test_no_sampling_is_temperature_zero(tmp_path: Path) -> None:
    assert read_recommended(write(tmp_path, {"do_sample": False, "temperature": 0.6})) == SamplingParams(temperature=0)


@pytest.mark.parametrize("wrong", [7, -1, "0.5", True, None, [1]])
def test_what_is_out_of_range_is_left_out(tmp_path: Path, wrong: object) -> None:
    assert read_recommended(write(tmp_path, {"temperature": wrong, "top_p": 0.5})) == SamplingParams(top_p=0.5)


@pytest.mark.parametrize(
    "content", [{}, {"eos_token_id": 2}, [], {"top_k": 2000}, {"top_k": 1.5}, {"temperature": 1e999}]
)
def test_nothing_usable_is_no_recommendation(tmp_path: Path, content: object) -> None:
    assert read_recommended(write(tmp_path, content)) is None


def test_a_file_that_is_broken_or_missing_is_no_recommendation(tmp_path: Path) -> None:
    assert read_recommended(str(tmp_path)) is None
    (tmp_path / "generation_config.json").write_text("{")
    assert read_recommended(str(tmp_path)) is None
    (tmp_path / "generation_config.json").write_bytes(b"\xff\xfe\x00")
    assert read_recommended(str(tmp_path)) is None
