"""Sentences for files of the user that cannot be taken in or written."""

from __future__ import annotations

from pathlib import Path

from desktop.domain.errors import FailureCode, TurbodeskError, error


def import_broken(name: str, reason: str) -> TurbodeskError:
    """A file that cannot be imported; reason: what is wrong and in which line, without a full stop."""
    return error(FailureCode.IMPORT_BROKEN, file=name, reason=reason)


def export_failed(path: Path, problem: OSError) -> TurbodeskError:
    """A file that cannot be written."""
    reason = problem.strerror or str(problem)
    return error(FailureCode.EXPORT_FAILED, detail=str(problem), path=path, reason=reason)


def attachment_refused(name: str, reason: str) -> TurbodeskError:
    """A file that cannot be attached to a message; reason: without a full stop."""
    return error(FailureCode.ATTACHMENT_REFUSED, file=name, reason=reason)
