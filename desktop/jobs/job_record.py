"""What is kept of each job: what it was, how it went, what came of it. One JSON file, written whole."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Failure
from desktop.domain.evaluation import Evaluation
from desktop.domain.memory_reading import JobKind
from desktop.jobs.messages import LayerError, MeasureJob, Progress, Quantized, QuantizeJob
from desktop.storage.atomic_file import replace_file
from desktop.storage.errors import storage_errors


class EvaluationPair(msgspec.Struct, frozen=True, tag="evaluation"):
    """Two models over one text, one after the other. Their work folder is made when it begins."""

    original: MeasureJob
    other: MeasureJob


Work = QuantizeJob | EvaluationPair


class JobStatus(StrEnum):
    """ALONE: it goes on in its process, and nobody hears of it but by its state file."""

    QUEUED = "queued"
    RUNNING = "running"
    ALONE = "alone"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


ENDED = frozenset((JobStatus.DONE, JobStatus.FAILED, JobStatus.STOPPED))


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job. id: microseconds since the epoch when it was asked for, no two the same.

    title: for the screen. unload_chat: the chat's model gives way while it runs. compare_with: compare the result with
    the original afterwards, both loaded with these settings. started_at, ended_at: seconds since the epoch. pid: of its
    process while it runs alone. progress: the newest, of the whole job.
    """

    id: int
    title: str
    work: Work
    unload_chat: bool = False
    compare_with: EngineConfig | None = None
    status: JobStatus = JobStatus.QUEUED
    started_at: float | None = None
    ended_at: float | None = None
    pid: int = 0
    progress: Progress | None = None
    layer_errors: tuple[LayerError, ...] = ()
    quantized: Quantized | None = None
    evaluation: Evaluation | None = None
    failure: Failure | None = None

    @property
    def kind(self) -> JobKind:
        """What it is called."""
        return JobKind.QUANTIZATION if isinstance(self.work, QuantizeJob) else JobKind.COMPARISON


def read_records(path: Path) -> list[JobRecord]:
    """All that the file holds; none where there is no file. Raises TurbodeskError (storage_not_writable).

    A file that cannot be understood is kept beside, and nothing is known of its jobs.
    """
    with storage_errors(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
        try:
            return msgspec.json.decode(data, type=list[JobRecord])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            path.replace(path.with_suffix(".unreadable.json"))
            return []


def write_records(path: Path, records: list[JobRecord]) -> None:
    """Raises TurbodeskError."""
    with storage_errors(path):
        replace_file(path, msgspec.json.encode(records))
