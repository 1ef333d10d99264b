"""Writes the log of loads as a table that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from desktop.domain.load_run import LoadRun
from desktop.storage.atomic_file import replace_file
from desktop.storage.errors import storage_errors

_HEAD = (
    *("started_at", "model", "path", "backend", "device", "forecast_bytes", "measured_bytes", "error_percent"),
    *("load_seconds", "tokens_per_second", "first_token_seconds", "failure", "config"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a table program would run a name that begins so


def export_runs(path: Path, runs: Iterable[LoadRun]) -> None:
    """One line a load, UTC times, sizes in bytes; what is not known is empty. Raises TurbodeskError."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEAD)
    for run in runs:
        writer.writerow(
            (
                datetime.fromtimestamp(run.started_at, UTC).isoformat(timespec="seconds"),
                *(_harmless(name) for name in (run.name, run.path)),
                run.backend.value,
                _harmless(run.device),
                _known(run.expected),
                _known(run.measured),
                "" if run.error is None else f"{run.error * 100:.2f}",
                *(_known(figure) for figure in (run.load_seconds, run.tokens_per_second, run.time_to_first_token)),
                run.failure,
                msgspec.json.encode(run.config).decode(),
            )
        )
    with storage_errors(path):
        replace_file(path, text.getvalue().encode(errors="surrogateescape"))


def _known(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.6g}" if isinstance(figure, float) else str(figure)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
