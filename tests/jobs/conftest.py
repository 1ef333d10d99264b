"""Every job is gone when its test is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.jobs.running import guide_text


@pytest.fixture(autouse=True)
def _no_job_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture(scope="session")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guide_text(tmp_path_factory.mktemp("guide"))
