"""The tokens for gated and private models: in the system's keyring, and those that other tools keep."""

from __future__ import annotations

import os

from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.hub import HUGGING_FACE, MODELSCOPE, HubAddress, HubKind

_SERVICE = "turbodesk"


class TokenStore:
    """One token for each hub. Asking may unlock the keyring, which waits for the user: call it from a worker thread.

    A token is never written anywhere but to the keyring, and never part of a failure.
    """

    def __init__(self) -> None:
        self._of_this_run: dict[str, str] = {}

    def token(self, address: HubAddress) -> str | None:
        """The user's token for this hub: given in this run, from the keyring, or as the hub's own tools keep it."""
        if given := self._of_this_run.get(address.endpoint):
            return given
        return self._from_keyring(address) or _of_other_tools(address)

    def keep(self, address: HubAddress, token: str) -> Failure | None:
        """Use this token from now on. What comes back says why it could not be kept for the next run, if so."""
        self._of_this_run[address.endpoint] = token.strip()
        try:
            import keyring

            keyring.set_password(_SERVICE, address.endpoint, token.strip())
        except Exception as problem:  # each keyring has its own; its words could hold the token, so they are left out
            return failure(FailureCode.TOKEN_NOT_KEPT, reason=_why(problem))
        return None

    def forget(self, address: HubAddress) -> None:
        """Remove the user's token for this hub; those of other tools stay where they are."""
        self._of_this_run.pop(address.endpoint, None)
        try:
            import keyring

            keyring.delete_password(_SERVICE, address.endpoint)
        except Exception:  # there was none, or there is no keyring
            return

    def _from_keyring(self, address: HubAddress) -> str | None:
        try:
            import keyring

            return keyring.get_password(_SERVICE, address.endpoint)
        except Exception:  # no keyring, or the user did not unlock it
            return None


def _of_other_tools(address: HubAddress) -> str | None:
    """From the environment or huggingface_hub's file; only for the hub it is meant for, never for another mirror."""
    if address.kind is HubKind.MODELSCOPE:
        meant_for = {MODELSCOPE.endpoint, os.environ.get("MODELSCOPE_ENDPOINT", "").rstrip("/")}
        return (os.environ.get("MODELSCOPE_API_TOKEN") or None) if address.endpoint in meant_for else None
    if address.endpoint not in {HUGGING_FACE.endpoint, os.environ.get("HF_ENDPOINT", "").rstrip("/")}:
        return None
    import huggingface_hub

    return huggingface_hub.get_token()


def _why(problem: Exception) -> str:
    if type(problem).__name__ == "NoKeyringError":
        return "this system has no keyring"
    return f"the system's keyring refused it ({type(problem).__name__})"
