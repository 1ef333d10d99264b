"""A job's state in a file, for a window that was not there when it ended."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from desktop.jobs.messages import Failed, JobResult, JobState, Progress
from desktop.storage.atomic_file import replace_file

_SECONDS_BETWEEN = 1.0


class JobStateFile:
    """Written by the job's process alone. path: None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._progress: Progress | None = None
        self._written_at = 0.0

    def progress(self, progress: Progress) -> None:
        """Written at once where the step is another, else once a second."""
        changed = self._progress is None or self._progress.step is not progress.step
        self._progress = progress
        if changed or time.monotonic() - self._written_at >= _SECONDS_BETWEEN:
            self._write(None)

    def ended(self, how: JobResult | Failed) -> None:
        """The last that is written."""
        self._write(how)

    def _write(self, ended: JobResult | Failed | None) -> None:
        if self._path is None:
            return
        self._written_at = time.monotonic()
        state = JobState(pid=os.getpid(), written_at=time.time(), progress=self._progress, ended=ended)
        try:
            replace_file(self._path, msgspec.json.encode(state))
        except OSError as problem:
            print(f"turbodesk: the job's state cannot be written: {problem}", file=sys.stderr)


def read_state(path: Path) -> JobState | None:
    """What the file says; None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobState)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
