"""Which models' own code and pickles the user has allowed, each for exactly the files that were shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from desktop.storage.atomic_file import replace_file
from desktop.storage.checkpoint_code import CodeReport
from desktop.storage.errors import storage_errors


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """allowed: what the user said. path: as the file system has it. given_at: seconds since the epoch."""

    allowed: bool
    path: bytes
    revision: str
    given_at: float


class TrustStore:
    """Answers by identity (CodeReport), in one JSON file. A file that cannot be read trusts nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def answer(self, report: CodeReport) -> bool | None:
        """What the user said to exactly this; None: not asked yet. Without anything to ask for it is allowed."""
        if not report.needs_consent:
            return True
        found = self._load().get(report.identity)
        if found is None or found.path != os.fsencode(report.path):
            return None
        return found.allowed

    def remember(self, report: CodeReport, allowed: bool) -> None:
        """Keep the answer; what was said to earlier files of this folder goes. Raises TurbodeskError."""
        self._save(
            {
                **self._without(report.path),
                report.identity: Consent(
                    allowed=allowed, path=os.fsencode(report.path), revision=report.revision, given_at=time.time()
                ),
            }
        )

    def forget(self, path: str) -> None:
        """Ask again for this folder. Raises TurbodeskError."""
        self._save(self._without(path))

    def _without(self, path: str) -> dict[str, Consent]:
        return {identity: kept for identity, kept in self._load().items() if kept.path != os.fsencode(path)}

    def _load(self) -> dict[str, Consent]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Consent])
        except (OSError, ValueError, RecursionError):
            return {}

    def _save(self, answers: dict[str, Consent]) -> None:
        with storage_errors(self._path):
            replace_file(self._path, msgspec.json.format(msgspec.json.encode(answers)))
