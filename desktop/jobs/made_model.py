"""What stands in the folder of a model that was made here: how it was made, and the newest verdict on it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from desktop.domain.evaluation import Evaluation
from desktop.domain.one_line import one_line
from desktop.domain.versions import MadeModel
from desktop.jobs.messages import QuantizeJob
from desktop.storage.atomic_file import replace_file
from desktop.storage.errors import storage_errors
from desktop.storage.small_files import read_small

RECORD_FILE, EVALUATION_FILE = "turbodesk-quantization.json", "turbodesk-evaluation.json"
_LIMIT = 64 << 20  # bytes of a file

_T = TypeVar("_T")


class _Recipe(msgspec.Struct, frozen=True):
    """What is asked here of a QuantizationRecord, whose module needs torch."""

    job: QuantizeJob


def read_made(folder: str | Path) -> MadeModel | None:
    """None for a model that was not made here, or whose record cannot be understood. Reads up to two files."""
    folder = Path(folder)
    recipe = _decoded(folder / RECORD_FILE, _Recipe)
    if recipe is None:
        return None
    plan = recipe.job.plan
    found = _decoded(folder / EVALUATION_FILE, Evaluation)
    kept = f", {len(plan.kept)} kept in 16 bits" if plan.kept else ""
    return MadeModel(
        path=str(folder),
        source=plan.source,
        source_name=one_line(recipe.job.source_name or Path(plan.source).name, 200),
        method=plan.facts.name + kept,
        evaluation=found if found is not None and found.original.path == plan.source else None,
    )


def keep_with_model(evaluation: Evaluation) -> None:
    """Leave a verdict in the folder of the model that it is about. Raises TurbodeskError.

    Only where that was made here of the one it was compared with: two sizes of the KV cache of one model, or two that
    were made of a third, say nothing of what was lost.
    """
    folder = Path(evaluation.other.path)
    made = read_made(folder)
    if made is not None and made.source == evaluation.original.path:
        with storage_errors(folder):
            replace_file(folder / EVALUATION_FILE, msgspec.json.encode(evaluation))


def _decoded(file: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(read_small(file, _LIMIT) or b"", type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
