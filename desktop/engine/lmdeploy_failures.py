"""What LMDeploy raises, as a Failure for the user."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, failure
from desktop.domain.one_line import one_line

# What PyTorch's reader of weights refused to use: a function, a class, or a module (torch/_weights_only_unpickler.py).
_REFUSED = re.compile(r"GLOBAL (\S+) w|unrecognized function (.+)|safe_globals`,? but got (<class .+>)")
_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+\.(?:cc|cpp|cu|h):\d+: ")  # what xgrammar's messages begin with


def load_failure(problem: Exception) -> Failure:
    """What a load that raised `problem` tells the user."""
    detail = "".join(traceback.format_exception(problem))
    text = str(problem).lower()
    if "out of memory" in text:
        return failure(FailureCode.VIDEO_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    if isinstance(problem, MemoryError):
        return failure(FailureCode.HOST_MEMORY_EXHAUSTED, when="while the model was loading", detail=detail)
    if file := _pickle_being_read(problem):
        return pickle_failure(problem, file)
    if "trust_remote_code" in text:
        return failure(FailureCode.CODE_NOT_ALLOWED, detail=detail)
    raised_in = {Path(frame.filename).name for frame in traceback.extract_tb(problem.__traceback__)}
    if "apply_chat_template" in text or any("tokeniz" in name for name in raised_in):
        return failure(FailureCode.TOKENIZER_BROKEN, reason=first_line(problem), detail=detail)
    return failure(FailureCode.LOAD_FAILED, reason=first_line(problem), detail=detail)


def pickle_failure(problem: Exception, file: str) -> Failure:
    """What torch.load(weights_only=True) that raised `problem` over this weights file tells the user."""
    detail = "".join(traceback.format_exception(problem))
    if refused := _REFUSED.search(str(problem)):
        what = one_line(next(filter(None, refused.groups())), 100)
        return failure(FailureCode.PICKLE_NOT_WEIGHTS, file=file, what=what, detail=detail)
    if "TorchScript" in str(problem):
        return failure(FailureCode.PICKLE_NOT_WEIGHTS, file=file, what="a program in TorchScript", detail=detail)
    reason = problem.strerror if isinstance(problem, OSError) else ""
    reason = reason or "it is cut off, or PyTorch did not write it"
    return failure(FailureCode.WEIGHTS_BROKEN, file=file, reason=reason, detail=detail)


def _pickle_being_read(problem: BaseException) -> str:
    """The name of the file that torch.load() was reading when this was raised, "" where it was not.

    LMDeploy's loaders all call it with weights_only=True and do not say which file it was (PytorchCheckpoint in
    turbomind/checkpoint.py, _get_pt_weights_iterator in pytorch/weight_loader/model_weight_loader.py); nor does it.
    """
    for frame, _line in traceback.walk_tb(problem.__traceback__):
        if frame.f_globals.get("__name__") == "torch.serialization" and frame.f_code.co_name == "load":
            return Path(str(frame.f_locals.get("f"))).name
    return ""


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
