"""The log of loads in a database of its own: what was forecast, what was measured, how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.load_run import LoadRun
from desktop.domain.memory import Forecast
from desktop.storage.database import Migration, open_database, transaction
from desktop.storage.errors import storage_errors
from desktop.storage.rows import stored, text_of

KEPT = 1000  # loads, the newest
_LAST_ID = 10**16  # microseconds; the year 2286

# A step is never changed. config and forecast are JSON of the domain's values.
_MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL,
            name TEXT NOT NULL,
            backend TEXT NOT NULL,
            device TEXT NOT NULL,
            config TEXT NOT NULL,
            forecast TEXT,
            measured INTEGER,
            load_seconds REAL,
            tokens_per_second REAL,
            time_to_first_token REAL,
            failure TEXT NOT NULL
        )
        """,
    ),
)
_COLUMNS = (
    "id, path, name, backend, device, config, forecast, measured, load_seconds, tokens_per_second, "
    "time_to_first_token, failure"
)
_PUT = f"INSERT OR REPLACE INTO runs ({_COLUMNS}) VALUES (?{', ?' * 11})"
_FORGET = f"DELETE FROM runs WHERE id NOT IN (SELECT id FROM runs ORDER BY id DESC LIMIT {KEPT})"


class RunLog:
    """Belongs to the thread that opened it. Everything raises TurbodeskError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_database(path, _MIGRATIONS)

    def put(self, run: LoadRun) -> None:
        """Keep it, in place of what was kept under its id; the oldest go when there are more than KEPT."""
        row = (
            run.id,
            stored(run.path),
            stored(run.name),
            run.backend.value,
            stored(run.device),
            _json(run.config),
            None if run.forecast is None else _json(run.forecast),
            run.measured,
            run.load_seconds,
            run.tokens_per_second,
            run.time_to_first_token,
            run.failure,
        )
        with storage_errors(self._path), transaction(self._connection) as connection:
            connection.execute(_PUT, row)
            connection.execute(_FORGET)

    def runs(self) -> list[LoadRun]:
        """All, the newest first; a row that cannot be understood is left out."""
        with storage_errors(self._path):
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC").fetchall()
        return [run for row in rows if (run := _run(row)) is not None]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _json(value: EngineConfig | Forecast) -> str:
    return msgspec.json.encode(value).decode()


def _run(row: tuple[Any, ...]) -> LoadRun | None:
    number, path, name, backend, device, config, forecast, *figures, failure = row
    measured, load_seconds, tokens_per_second, time_to_first_token = figures
    if not 0 <= number < _LAST_ID:
        return None
    try:
        return LoadRun(
            id=number,
            path=text_of(path),
            name=text_of(name),
            backend=Backend(backend),
            device=text_of(device),
            config=msgspec.json.decode(config, type=EngineConfig),
            forecast=None if forecast is None else msgspec.json.decode(forecast, type=Forecast),
            measured=measured,
            load_seconds=load_seconds,
            tokens_per_second=tokens_per_second,
            time_to_first_token=time_to_first_token,
            failure=failure,
        )
    except (ValueError, TypeError):  # written by another version, or damaged
        return None
