"""The tokens for gated and private models: the user's own, and those that other tools keep."""

from __future__ import annotations

import os

from desktop.domain.errors import Failure
from desktop.domain.hub import HUGGING_FACE, MODELSCOPE, HubAddress, HubKind
from desktop.storage.secrets import Secrets


class TokenStore:
    """One token for each hub, see Secrets."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self._secrets = secrets or Secrets()

    def token(self, address: HubAddress) -> str | None:
        """The user's token for this hub, or as the hub's own tools keep it."""
        return self._secrets.get(address.endpoint) or _of_other_tools(address)

    def keep(self, address: HubAddress, token: str) -> Failure | None:
        """Use this token from now on. What comes back says why it could not be kept for the next run, if so."""
        return self._secrets.keep(address.endpoint, token.strip(), "token")

    def forget(self, address: HubAddress) -> None:
        """Remove the user's token for this hub; those of other tools stay where they are."""
        self._secrets.forget(address.endpoint)


def _of_other_tools(address: HubAddress) -> str | None:
    """From the environment or huggingface_hub's file; only for the hub it is meant for, never for another mirror."""
    if address.kind is HubKind.MODELSCOPE:
        meant_for = {MODELSCOPE.endpoint, os.environ.get("MODELSCOPE_ENDPOINT", "").rstrip("/")}
        return (os.environ.get("MODELSCOPE_API_TOKEN") or None) if address.endpoint in meant_for else None
    if address.endpoint not in {HUGGING_FACE.endpoint, os.environ.get("HF_ENDPOINT", "").rstrip("/")}:
        return None
    import huggingface_hub

    return huggingface_hub.get_token()
