"""The log of loads: what is put is read back, the newest first, and what cannot be understood harms nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import forecast
from desktop.storage import run_log
from desktop.storage.run_log import RunLog
from tests.domain.memory_models import card, llama_shape


def run(number: int, **changes: object) -> LoadRun:
    config = EngineConfig(quant_policy=8, devices=(1,), hf_overrides={"rope": {"factor": 2.0}})
    values: dict[str, object] = {
        "id": number,
        "path": "/models/\udce9t\u00e9",
        "name": "ét\u00e9",
        "backend": Backend.TURBOMIND,
        "device": "NVIDIA GeForce RTX 4090",
        "config": config,
        "forecast": forecast(llama_shape(), config, [card(24)], 7),
        **changes,
    }
    return LoadRun(**values)  # type: ignore[arg-type]


def test_what_is_put_is_read_back_by_the_next_start(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db")
    first, second = run(1, failure="load_failed", forecast=None), run(2)
    log.put(first)
    log.put(second)
    measured = run(2, measured=20 << 30, load_seconds=12.5, tokens_per_second=99.5, time_to_first_token=0.08)
    log.put(measured)
    log.close()
    log = RunLog(tmp_path / "runs.db")
    assert log.runs() == [measured, first]
    log.close()


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "_FORGET", run_log._FORGET.replace(str(run_log.KEPT), "3"))
    log = RunLog(tmp_path / "runs.db")
    for number in (5, 1, 2, 3, 4):
        log.put(run(number))
    assert [found.id for found in log.runs()] == [5, 4, 3]
    log.close()


def test_a_row_of_another_time_is_left_out(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.db")
    for number in (1, 2, 3, 1 << 60):
        log.put(run(number))
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute("UPDATE runs SET forecast = '{}' WHERE id = 1")
        other.execute("UPDATE runs SET backend = 'quantum' WHERE id = 3")
    other.close()
    assert [found.id for found in log.runs()] == [2]
    log.close()


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"something else" * 100)
    with pytest.raises(TurbodeskError) as caught:
        RunLog(tmp_path / "runs.db")
    assert caught.value.failure.code is FailureCode.DATABASE_BROKEN
