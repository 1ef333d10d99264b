"""Jobs that go on when the window is gone: whether one still runs, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from desktop.jobs.job_record import JobRecord
from desktop.jobs.messages import QuantizeJob
from desktop.jobs.work_folder import PREFIX, remove_leftovers

_CLEAR_STEPS = 250


def is_job(pid: int) -> bool:
    """Whether this is the process of a job, and not of somebody who got its number afterwards."""
    try:
        return b"desktop.jobs.child" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def clear(record: JobRecord, pid: int) -> None:
    """End a job that runs alone, if it does, and remove what it leaves."""
    if not isinstance(record.work, QuantizeJob):
        return
    if is_job(pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    parent = Path(record.work.plan.target).parent
    for _ in range(_CLEAR_STEPS):  # its threads hold the folder's lock until the last of them is gone
        remove_leftovers(parent)
        if not any(parent.glob(f"{PREFIX}{pid}-*")):
            return
        time.sleep(0.02)
