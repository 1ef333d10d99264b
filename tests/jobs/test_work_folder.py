"""A model appears whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.shelf import SourceKind
from desktop.jobs.work_folder import PREFIX, WorkFolder, remove_leftovers
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_walk import Walk
from tests.storage.model_folders import files_of_a_model


def fill(folder: WorkFolder) -> None:
    for name, content in files_of_a_model().items():
        (folder.result / name).write_bytes(content)


def found(root: Path) -> list[str]:
    return [path for path, _ in Walk().find(ScanRoot(str(root), SourceKind.OWN))]


def test_it_appears_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    folder = WorkFolder(target)
    fill(folder)
    assert found(tmp_path) == []
    folder.publish()
    assert found(tmp_path) == [str(target)]
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    folder.discard()
    assert found(tmp_path) == [str(target)]


def test_what_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    folder = WorkFolder(target)
    fill(folder)
    target.mkdir()
    (target / "mine").write_text("x")
    for attempt in (folder.publish, lambda: WorkFolder(target)):
        with pytest.raises(TurbodeskError) as caught:
            attempt()
        assert caught.value.failure.code is FailureCode.JOB_TARGET_TAKEN
    folder.discard()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine"]


def test_leftovers_go_and_running_jobs_stay(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from desktop.jobs.work_folder import WorkFolder\n"
        "folder = WorkFolder(Path(sys.argv[1])); print(folder.path, flush=True); sys.stdin.read()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    path = Path(running.stdout.readline().strip())
    assert path.is_dir()
    (tmp_path / f"{PREFIX}1-dead" / "result").mkdir(parents=True)
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path)
    assert remove_leftovers(tmp_path) == 1
    assert path.is_dir()
    running.kill()
    running.communicate()
    assert remove_leftovers(tmp_path) == 1
    assert [one.name for one in tmp_path.iterdir()] == [f"{PREFIX}link"]
    assert remove_leftovers(tmp_path / "nowhere") == 0
