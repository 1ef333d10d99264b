"""Hugging Face's hub and its mirrors, through huggingface_hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx2
import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from desktop.domain.errors import FailureCode, error
from desktop.domain.hub import HubFile, HubHit, HubModel, is_model_id, is_safe_path
from desktop.storage.hub_http import HubConnection, refusal

_SECONDS = 20.0  # without an answer


class HuggingFaceHub:
    """Implements Hub. Downloads go over the connection; searching and listing over huggingface_hub's own client."""

    def __init__(self, connection: HubConnection) -> None:
        self.connection = connection
        # False, not None: None would send the token that huggingface_hub finds by itself, to any mirror.
        self._api = huggingface_hub.HfApi(endpoint=connection.address.endpoint, token=connection.token or False)

    def search(self, text: str, limit: int = 50) -> list[HubHit]:
        """See Hub."""
        expand: Any = ["downloads", "likes", "gated", "tags", "lastModified"]
        with self._failures():
            found = self._api.list_models(search=text, sort="downloads", limit=limit, expand=expand)
            return [
                HubHit(
                    model_id=info.id,
                    downloads=info.downloads or 0,
                    likes=info.likes or 0,
                    gated=bool(info.gated),
                    licence=_licence(info.tags or ()),
                    tags=tuple(info.tags or ()),
                    updated_at=info.last_modified.timestamp() if info.last_modified else None,
                )
                for info in found
                if is_model_id(info.id)
            ]

    def model(self, model_id: str, revision: str = "") -> HubModel:
        """See Hub. The revision of the answer is a commit."""
        if not is_model_id(model_id):
            raise error(
                FailureCode.MODEL_NOT_ON_HUB, hub=self.connection.address.name, what=f"model named {model_id[:200]}"
            )
        with self._failures(model_id):
            info = self._api.model_info(model_id, revision=revision or None, timeout=_SECONDS)
            commit = info.sha
            if not commit or not is_safe_path(commit):
                raise ValueError("the commit is missing")
            tree = self._api.list_repo_tree(model_id, recursive=True, revision=commit)
            files = tuple(_file(entry) for entry in tree if isinstance(entry, huggingface_hub.RepoFile))
        return HubModel(
            address=self.connection.address,
            model_id=model_id,
            revision=commit,
            files=tuple(sorted(files, key=lambda file: file.path)),
            gated=bool(info.gated),
            licence=_licence(info.tags or ()),
            tags=tuple(info.tags or ()),
        )

    def file_url(self, model_id: str, revision: str, path: str) -> str:
        """See Hub."""
        return f"{self.connection.address.endpoint}/{quote(model_id)}/resolve/{quote(revision, safe='')}/{quote(path)}"

    @contextmanager
    def _failures(self, model_id: str = "") -> Iterator[None]:
        address = self.connection.address
        try:
            yield
        except HfHubHTTPError as problem:
            status = problem.response.status_code
            if status == 429 or status >= 500:
                reason = "it asks for fewer requests" if status == 429 else f"it answered with the error {status}"
                raise error(FailureCode.HUB_BUSY, hub=address.name, reason=reason) from problem
            word = problem.response.headers.get("X-Error-Code", "")
            raise refusal(address, model_id, status, word, self.connection.token is not None) from problem
        except HFValidationError as problem:
            what = f"model named {model_id[:200]}"
            raise error(FailureCode.MODEL_NOT_ON_HUB, hub=address.name, what=what) from problem
        except OfflineModeIsEnabled as problem:
            raise error(FailureCode.HUB_UNREACHABLE, hub=address.name, reason="HF_HUB_OFFLINE is set") from problem
        except _NoAnswer as problem:
            reason = "it does not answer" if isinstance(problem.__cause__, httpx2.TimeoutException) else "no connection"
            raise error(FailureCode.HUB_UNREACHABLE, hub=address.name, reason=reason, detail=str(problem)) from problem
        except httpx2.HTTPError as problem:
            raise error(
                FailureCode.HUB_UNREACHABLE, hub=address.name, reason="no connection", detail=str(problem)
            ) from problem
        except (ValueError, TypeError, LookupError, AttributeError) as problem:
            raise error(
                FailureCode.HUB_ANSWER_BROKEN,
                hub=address.name,
                reason="it is not what it should be",
                detail=repr(problem),
            ) from problem


class _NoAnswer(Exception):
    """The hub cannot be reached. huggingface_hub would try httpx2's own errors for half a minute without a word."""


class _Client(httpx2.Client):
    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            return super().send(request, **options)
        except httpx2.TransportError as problem:
            raise _NoAnswer(str(problem)) from problem


def _new_client() -> httpx2.Client:
    return _Client(follow_redirects=True, event_hooks={"request": [_bound_waiting]})


def _bound_waiting(request: httpx2.Request) -> None:
    # huggingface_hub asks to wait for ever where its methods take no time-out.
    request.extensions["timeout"] = httpx2.Timeout(_SECONDS).as_dict()
    if huggingface_hub.is_offline_mode():
        raise OfflineModeIsEnabled("offline")


# Once for the process: each call closes the client that other threads may be using.
huggingface_hub.set_client_factory(_new_client)


def _file(entry: huggingface_hub.RepoFile) -> HubFile:
    size = entry.lfs.size if entry.lfs else entry.size
    if not isinstance(entry.path, str) or not isinstance(size, int) or size < 0:
        raise ValueError("a file of the list is malformed")
    if entry.lfs:
        return HubFile(path=entry.path, size=size, sha256=_hex(entry.lfs.sha256, 64))
    return HubFile(path=entry.path, size=size, git_sha1=_hex(entry.blob_id, 40))


def _hex(text: object, length: int) -> str:
    if not isinstance(text, str) or len(text) != length or not set(text) <= set("0123456789abcdef"):
        raise ValueError("a hash of the list is malformed")
    return text


def _licence(tags: object) -> str:
    names = tags if isinstance(tags, list | tuple) else ()
    return next((tag.removeprefix("license:") for tag in names if str(tag).startswith("license:")), "")
