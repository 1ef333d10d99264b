"""What LMDeploy raises, as a Failure for the user."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure

_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+\.(?:cc|cpp|cu|h):\d+: ")  # what xgrammar's messages begin with


def load_failure(problem: Exception) -> Failure:
    """What a load that raised `problem` tells the user."""
    detail = "".join(traceback.format_exception(problem))
    text = str(problem).lower()
    if "out of memory" in text:
        return failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    if isinstance(problem, MemoryError):
        return failure(FailureCode.HOST_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    if "trust_remote_code" in text:
        return failure(FailureCode.CODE_NOT_ALLOWED, detail=detail)
    raised_in = {Path(frame.filename).name for frame in traceback.extract_tb(problem.__traceback__)}
    if "apply_chat_template" in text or any("tokeniz" in name for name in raised_in):
        return failure(FailureCode.TOKENIZER_BROKEN, reason=first_line(problem), detail=detail)
    return failure(FailureCode.LOAD_FAILED, reason=first_line(problem), detail=detail)


def request_failure(problem: Exception) -> Failure:
    """What a request that raised `problem` tells the user."""
    if isinstance(problem, TurbodeskError):
        return problem.failure
    from lmdeploy.serve.core.exceptions import ErrorCode, RequestError

    detail = "".join(traceback.format_exception(problem))
    reason = first_line(problem)
    code = problem.code if isinstance(problem, RequestError) else None
    if getattr(problem, "kv_cache_exhausted", False):
        return failure(FailureCode.KV_CACHE_EXHAUSTED, detail=detail)
    if "out of memory" in f"{problem} {problem.__cause__}".lower():  # PyTorch, where it reads pictures
        return failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when="while the message was being read", detail=detail)
    if code is ErrorCode.CONTEXT_LENGTH_EXCEEDED:
        return failure(FailureCode.PROMPT_TOO_LONG, reason=reason, detail=detail)
    if code is ErrorCode.PREPROCESS_FAILED:  # LMDeploy keeps what went wrong as the cause
        reason = f"the prompt cannot be made, {first_line(problem.__cause__ or problem)}"
        return failure(FailureCode.REQUEST_INVALID, reason=reason, detail=detail)
    if code in (ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_FEATURE, ErrorCode.REQUEST_CONFLICT):
        return failure(FailureCode.REQUEST_INVALID, reason=reason, detail=detail)
    return failure(FailureCode.REQUEST_FAILED, reason=reason, detail=detail)


def first_line(problem: BaseException) -> str:
    """An exception in one line, without the full stop and the places in other people's source code."""
    lines = str(problem).strip().splitlines()
    if not lines or isinstance(problem, KeyError):  # whose text is the key alone
        return f"{type(problem).__name__} {lines[0] if lines else ''}".strip()
    return _PLACE.sub("", lines[0]).rstrip(".")
