"""What an OpenAI-compatible server offers: its list of models."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import msgspec

from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.server_address import ServerModel, is_this_machine, place_of

SECONDS = 15.0
_MOST_BYTES = 8 * 2**20
# What a list of models calls the program that serves it -> what its users call it.
_PROGRAMS = {"lmdeploy": "LMDeploy", "vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp", "library": "Ollama"}


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a server's list. program: what serves it, "" where it does not say."""

    model: ServerModel
    program: str = ""


def list_models(address: str, key: str = "") -> tuple[ServedModel, ...]:
    """The models of the server at `address` (see read_address), in its order. Blocks up to SECONDS.

    The key goes to this address only: a redirect is not followed. Raises TurbodeskError: server_unreachable,
    server_refused_key, not_a_server.
    """
    headers = {"Accept": "application/json", "User-Agent": "turbodesk"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        request = urllib.request.Request(f"{address}/models", headers=headers)
        with _opener(address).open(request, timeout=SECONDS) as answer:
            body = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as problem:
        problem.close()
        raise _refusal(address, problem.code, problem.headers.get("Location", "")) from problem
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise error(FailureCode.SERVER_UNREACHABLE, place=place_of(address), reason=_why(problem)) from problem
    if len(body) > _MOST_BYTES:
        raise _no_server(address, "its list of models is too long")
    try:
        rows = json.loads(body)["data"]
        return tuple(_served(address, row) for row in rows)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        raise _no_server(address, "what it answers is no list of models") from problem


def _refusal(address: str, status: int, location: str = "") -> TurbodeskError:
    """What a status of HTTP other than 200 means to whoever connects."""
    if status in (401, 403):
        return error(FailureCode.SERVER_REFUSED_KEY, place=place_of(address))
    if 300 <= status < 400:
        return _no_server(address, f"it sends on to {location or 'another address'}; connect to that one")
    if status >= 500:
        return error(FailureCode.SERVER_UNREACHABLE, place=place_of(address), reason=f"it answers HTTP {status}")
    return _no_server(address, f"it answers HTTP {status} when it is asked for its models")


def _served(address: str, row: dict[str, Any]) -> ServedModel:
    program = _PROGRAMS.get(str(row.get("owned_by", "")).lower(), "")
    return ServedModel(model=ServerModel(address, str(row["id"])), program=program)


def _no_server(address: str, reason: str) -> TurbodeskError:
    return error(FailureCode.NOT_A_SERVER, place=place_of(address), reason=reason)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(address: str) -> urllib.request.OpenerDirector:
    # A proxy cannot reach this machine's own ports.
    proxies = [urllib.request.ProxyHandler({})] if is_this_machine(address) else []
    return urllib.request.build_opener(_NoRedirect, *proxies)


def _why(problem: Exception) -> str:
    cause = problem.reason if isinstance(problem, urllib.error.URLError) else problem
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(cause, TimeoutError):
        return f"no answer in {SECONDS:.0f} seconds"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
