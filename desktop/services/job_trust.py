"""Whether a model's own code may run in a job: looked up in the moment in which the job begins."""

from __future__ import annotations

from collections.abc import Callable

from desktop.domain.errors import FailureCode, error
from desktop.domain.shelf import ShelfEntry
from desktop.jobs.messages import CompareJob, CountCalibrationJob, Job, MeasureJob
from desktop.services.checkpoint_inspector import CheckpointInspector


class JobTrust:
    """Asks nobody: a job may wait for hours, and then nobody is there. The models page asks, when a model is loaded."""

    def __init__(self, inspector: CheckpointInspector, known: Callable[[str], ShelfEntry | None]) -> None:
        """known: the shelf's entry of a path, where it has one."""
        self._inspector = inspector
        self._known = known

    def check(self, job: Job) -> None:
        """Raises TurbodeskError (code_not_allowed), or what reading the folder raises. Reads files: not for the window.

        A model that the shelf does not know is not trusted.
        """
        path, runs_code = _trusts(job)
        if runs_code:
            entry = self._known(path)
            if entry is None or not self._inspector.allows(entry):
                raise error(FailureCode.CODE_NOT_ALLOWED, detail=path)


def _trusts(job: Job) -> tuple[str, bool]:
    """The folder of a job's model, and whether its code would run."""
    if isinstance(job, CompareJob):
        job = job.other
    if isinstance(job, MeasureJob):
        return job.checkpoint, job.config.trust_remote_code
    if isinstance(job, CountCalibrationJob):
        return job.checkpoint, job.trust_remote_code
    return job.plan.source, job.plan.trust_remote_code
