"""Turns the end of an engine process, its exit code and its last words, into a Failure."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from desktop.domain.errors import Failure, FailureCode, failure

# Texts of the CUDA runtime, TurboMind and PyTorch when video memory runs out (LMDeploy core/logger.cc, torch).
_VIDEO_MEMORY_TEXTS = ("cuda error: out of memory", "cuda runtime error: out of memory", "cuda out of memory")
_HOST_MEMORY_TEXTS = ("memoryerror", "std::bad_alloc", "cannot allocate memory", "defaultcpuallocator: can't allocate")
_DETAIL_LINES = 40


def describe_crash(exit_code: int, log: Sequence[str], *, loading: bool) -> Failure:
    """The Failure for a process that ended by itself.

    exit_code: as subprocess gives it, negative for a signal. log: its last lines, oldest first.
    """
    when = "while the model was loading" if loading else "while it was running"
    detail = "\n".join(log[-_DETAIL_LINES:])
    text = detail.lower()
    if any(sign in text for sign in _VIDEO_MEMORY_TEXTS):
        return failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when=when, detail=detail)
    if any(sign in text for sign in _HOST_MEMORY_TEXTS):
        return failure(FailureCode.HOST_MEMORY_EXHAUSTED, when=when, detail=detail)
    return failure(FailureCode.ENGINE_DIED, when=when, reason=exit_reason(exit_code), detail=detail)


def exit_reason(exit_code: int) -> str:
    """How a process ended, as the end of a sentence; exit_code: negative for a signal."""
    if exit_code >= 0:
        return f"it ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if exit_code == -signal.SIGKILL:
        return "it was killed (SIGKILL), by another program or by the system for lack of memory"
    return f"it crashed ({name})"
