"""What a request to a server raises, as a Failure for the user."""

from __future__ import annotations

import traceback
from typing import Any

import msgspec

from desktop.domain.errors import Action, Failure, FailureCode, TurbodeskError, failure
from desktop.domain.one_line import one_line

_TOO_LONG = ("context length", "context_length", "maximum context", "too long", "context size", "session_len")
_LONGEST = 300  # characters of a server's own words


def is_too_long(problem: Exception) -> bool:
    """Whether a server refused a prompt for its length; each has its own words."""
    text = f"{getattr(problem, 'code', '')} {_words(problem)}".lower()
    return getattr(problem, "status_code", 400) in (400, 413, 422) and any(word in text for word in _TOO_LONG)


def broken_off(place: str, reason: str, detail: str = "") -> Failure:
    """A request that the server has left without an end: what was written stays, and may go on."""
    problem = failure(FailureCode.SERVER_UNREACHABLE, place=place, reason=reason, detail=detail)
    return msgspec.structs.replace(problem, action=Action.CONTINUE)


def request_failure(problem: Exception, place: str) -> Failure:
    """What a request that raised `problem` tells the user. place: the server's host and port."""
    if isinstance(problem, TurbodeskError):
        return problem.failure
    import httpx2
    import openai

    detail = "".join(traceback.format_exception(problem))
    words = _words(problem)
    if isinstance(problem, openai.APIConnectionError | httpx2.TransportError):
        reason = one_line(str(problem.__cause__ or problem), _LONGEST) or "the connection broke"
        return broken_off(place, reason, detail)
    status = getattr(problem, "status_code", 0)
    if status in (401, 403):
        return failure(FailureCode.SERVER_REFUSED_KEY, place=place, detail=detail)
    if isinstance(problem, openai.APIError) and is_too_long(problem):
        return failure(FailureCode.PROMPT_TOO_LONG, reason=words, detail=detail)
    if 300 <= status < 500 and status != 429:
        return failure(FailureCode.REQUEST_INVALID, reason=words, detail=detail)
    return failure(FailureCode.REQUEST_FAILED, reason=words, detail=detail)


def _words(problem: Exception) -> str:
    """The server's own, which it may put into an envelope."""
    body: Any = getattr(problem, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    text = told if isinstance(told, str) and told else str(problem)
    return one_line(text, _LONGEST).rstrip(".") or type(problem).__name__
