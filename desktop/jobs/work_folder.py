"""A hidden folder beside the target in which a job works; a half-made model never has another place.

The scan for models skips names that begin with a dot (checkpoint_walk.py). The folder is locked by the job's process,
and the kernel frees the lock however that ends, so what is not locked is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path

from desktop.domain.errors import FailureCode, error

PREFIX = ".turbodesk-job-"


class WorkFolder:
    """Made and locked at once. Raises TurbodeskError (job_target_taken), and OSError where it cannot be made."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._refuse_taken()
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self.path = target.parent / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
            self.path.mkdir(mode=0o700)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.path.exists():
                break
            os.close(self._lock)  # somebody took it for a leftover before it was locked
        self.result = self.path / "result"
        self.result.mkdir()

    def publish(self) -> None:
        """Bring the result to the disk and into its place, in one rename."""
        for folder, _, files in os.walk(self.result):
            for name in files:
                path = os.path.join(folder, name)
                os.chmod(path, 0o644)  # some libraries write files for their user alone
                _to_disk(path)
            _to_disk(folder)
        self._refuse_taken()
        try:
            self.result.rename(self._target)
        except OSError as problem:
            if self._target.exists():
                raise error(FailureCode.JOB_TARGET_TAKEN, path=self._target) from problem
            raise
        _to_disk(self._target.parent)
        self.discard()

    def discard(self) -> None:
        """Remove it, whatever is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _refuse_taken(self) -> None:
        if os.path.lexists(self._target):
            raise error(FailureCode.JOB_TARGET_TAKEN, path=self._target)


def remove_leftovers(parent: Path) -> int:
    """Remove the folders of jobs that have ended; returns how many."""
    removed = 0
    try:
        found = [entry.path for entry in os.scandir(parent) if entry.name.startswith(PREFIX)]
    except OSError:
        return 0
    for path in found:
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        except BlockingIOError:
            pass  # its job is running
        finally:
            os.close(folder)
    return removed


def _to_disk(path: str | Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
