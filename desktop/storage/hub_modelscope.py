"""ModelScope's hub, through modelscope_hub: the client part of its library.

The package `modelscope` is modelscope_hub and a training framework's helpers around it; modelscope_hub alone needs
requests, tqdm, filelock and cryptography, no torch. Its downloader is not used, for the reasons in hub_transfer.py: its
pause ends with the process, and files appear in the model's folder one by one.

ModelScope's listing names a branch or a tag, no commit. What pins a download here is the listed SHA-256, which it
publishes for every file: should the branch move on meanwhile, the file is refused and nothing is mixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import quote

from modelscope_hub import HubApi
from modelscope_hub.errors import (
    APIError,
    AuthenticationError,
    HubError,
    InvalidParameter,
    NetworkError,
    NotExistError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

from desktop.domain.errors import FailureCode, error
from desktop.domain.hub import HubFile, HubHit, HubModel, is_model_id
from desktop.storage.hub_http import HubConnection, refusal

_DEFAULT_REVISION = "master"
_MOST = 100  # results of one search; the hub's own limit


class ModelScopeHub:
    """Implements Hub."""

    def __init__(self, connection: HubConnection) -> None:
        self.connection = connection
        # "" means no token; None would take one that the library finds, for any endpoint.
        self._api = HubApi(endpoint=connection.address.endpoint, token=connection.token or "")
        self._api.openapi._max_retries = 1  # more would be a quarter of a minute without a word; the user may try again

    def search(self, text: str, limit: int = 50) -> list[HubHit]:
        """See Hub."""
        with self._failures():
            page = self._api.list_repos("model", search=text, sort="downloads", page_size=min(limit, _MOST))
            return [
                HubHit(
                    model_id=f"{info.owner}/{info.name}",
                    downloads=info.downloads or 0,
                    likes=info.likes or 0,
                    gated=bool(info.gated),
                    licence=str(info.license or ""),
                    tags=tuple(map(str, info.tags or ())),
                    updated_at=info.last_modified.timestamp() if isinstance(info.last_modified, datetime) else None,
                )
                for info in page.items
                if is_model_id(f"{info.owner}/{info.name}")
            ]

    def model(self, model_id: str, revision: str = "") -> HubModel:
        """See Hub. The revision of the answer is the branch or tag."""
        revision = revision or _DEFAULT_REVISION
        with self._failures(model_id):
            info = self._api.get_repo(model_id, "model")
            entries = self._api.list_repo_files(model_id, "model", revision=revision)
            files = tuple(
                HubFile(path=entry.path, size=entry.size, sha256=(entry.sha256 or "").lower())
                for entry in entries
                if not entry.is_dir
            )
        return HubModel(
            address=self.connection.address,
            model_id=model_id,
            revision=revision,
            files=tuple(sorted(files, key=lambda file: file.path)),
            gated=bool(info.gated),
            licence=str(info.license or ""),
            tags=tuple(map(str, info.tags or ())),
        )

    def file_url(self, model_id: str, revision: str, path: str) -> str:
        """See Hub."""
        query = f"Revision={quote(revision, safe='')}&FilePath={quote(path, safe='')}"
        return f"{self.connection.address.endpoint}/api/v1/models/{quote(model_id)}/repo?{query}"

    @contextmanager
    def _failures(self, model_id: str = "") -> Iterator[None]:
        address = self.connection.address
        has_token = self.connection.token is not None
        try:
            yield
        except (RateLimitError, ServerError) as problem:
            raise error(FailureCode.HUB_BUSY, hub=address.name, reason="it asks to come back later") from problem
        except NetworkError as problem:
            raise error(FailureCode.HUB_UNREACHABLE, hub=address.name, reason="no connection") from problem
        except AuthenticationError as problem:
            raise refusal(address, model_id, 401, "", has_token) from problem
        except PermissionDeniedError as problem:
            raise refusal(address, model_id, 403, "", has_token) from problem
        except (NotExistError, InvalidParameter) as problem:
            raise refusal(address, model_id, 404, "", has_token) from problem
        except (APIError, HubError, ValueError, TypeError, LookupError, AttributeError) as problem:
            raise error(
                FailureCode.HUB_ANSWER_BROKEN,
                hub=address.name,
                reason="it is not what it should be",
                detail=type(problem).__name__,
            ) from problem
