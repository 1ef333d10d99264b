"""What nobody else may read, tokens and keys: in the system's keyring."""

from __future__ import annotations

from desktop.domain.errors import Failure, FailureCode, failure

_SERVICE = "turbodesk"


class Secrets:
    """One secret for each address. Asking may unlock the keyring, which waits for the user: call it from a thread.

    A secret is never written anywhere but to the keyring, and never part of a failure.
    """

    def __init__(self) -> None:
        self._of_this_run: dict[str, str] = {}

    def get(self, address: str) -> str | None:
        """The secret for this address: given in this run, or from the keyring."""
        if given := self._of_this_run.get(address):
            return given
        try:
            import keyring

            return keyring.get_password(_SERVICE, address)
        except Exception:  # no keyring, or the user did not unlock it
            return None

    def keep(self, address: str, secret: str, what: str) -> Failure | None:
        """Use it from now on. What comes back says why it could not be kept for the next run, if so. what: "token"."""
        self._of_this_run[address] = secret
        try:
            import keyring

            keyring.set_password(_SERVICE, address, secret)
        except Exception as problem:  # each keyring has its own; its words could hold the secret, so they are left out
            return failure(FailureCode.TOKEN_NOT_KEPT, what=what, reason=_why(problem))
        return None

    def forget(self, address: str) -> None:
        """Remove it."""
        self._of_this_run.pop(address, None)
        try:
            import keyring

            keyring.delete_password(_SERVICE, address)
        except Exception:  # there was none, or there is no keyring
            return


def _why(problem: Exception) -> str:
    if type(problem).__name__ == "NoKeyringError":
        return "this system has no keyring"
    return f"the system's keyring refused it ({type(problem).__name__})"
