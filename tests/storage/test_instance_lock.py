"""One window per data folder, with real processes; the lock goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.storage.instance_lock import InstanceLock

HOLD = """
import sys, time
from pathlib import Path
from desktop.storage.instance_lock import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def refused(folder: Path) -> TurbodeskError:
    with pytest.raises(TurbodeskError) as caught:
        InstanceLock(folder)
    return caught.value


def test_one_window_at_a_time_and_kill_frees_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], cwd=root, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            for _ in range(2):
                failure = refused(tmp_path).failure
                assert failure.code is FailureCode.ALREADY_OPEN
                assert f"(process {holder.pid})" in failure.message
            holder.send_signal(signal.SIGKILL)
            holder.wait(10)
            InstanceLock(tmp_path).release()
        finally:
            holder.kill()


def test_the_folder_is_made_and_release_may_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    lock = InstanceLock(folder)
    assert f"(process {os.getpid()})" in refused(folder).failure.message
    lock.release()
    lock.release()
    InstanceLock(folder).release()


def test_a_child_of_the_window_does_not_hold_the_lock(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        InstanceLock(tmp_path).release()
        child.communicate(b"\n")


def test_a_holder_that_has_not_written_its_number_yet(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    (tmp_path / "turbodesk.lock").write_bytes(b"\xff")
    assert "(another process)" in refused(tmp_path).failure.message
    lock.release()


def test_a_longer_number_of_an_earlier_window_is_gone(tmp_path: Path) -> None:
    (tmp_path / "turbodesk.lock").write_text("99999999999999\n")
    lock = InstanceLock(tmp_path)
    assert (tmp_path / "turbodesk.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_folder_that_may_not_be_written(ordinary_folder: Path) -> None:
    ordinary_folder.chmod(0o500)
    for folder in (ordinary_folder, ordinary_folder / "deeper"):
        assert refused(folder).failure.code is FailureCode.STORAGE_NOT_WRITABLE


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file").failure.code is FailureCode.STORAGE_NOT_WRITABLE
