"""What every hub offers, whoever's routes it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from desktop.domain.hub import HubAddress, HubHit, HubKind, HubModel
from desktop.storage.hub_token import TokenStore

if TYPE_CHECKING:
    from desktop.storage.hub_http import HubConnection, Patience


class Hub(Protocol):
    """One hub. Everything waits for the network: call it from a worker thread. Failures are TurbodeskErrors."""

    connection: HubConnection

    def search(self, text: str, limit: int = 50) -> list[HubHit]:
        """Models whose name holds the text, the most downloaded first."""

    def model(self, model_id: str, revision: str = "") -> HubModel:
        """One revision's files with sizes and hashes, and what else is known. revision: "" for the newest."""

    def file_url(self, model_id: str, revision: str, path: str) -> str:
        """The address of one file, for the connection."""


def open_hub(address: HubAddress, token: str | None = None, patience: Patience | None = None) -> Hub:
    """The hub at an address. The libraries that speak with it are imported here, which takes some 0.2 s at first."""
    from desktop.storage.hub_http import HubConnection

    connection = HubConnection(address, token, patience)
    if address.kind is HubKind.HUGGING_FACE:
        from desktop.storage.hub_huggingface import HuggingFaceHub

        return HuggingFaceHub(connection)
    from desktop.storage.hub_modelscope import ModelScopeHub

    return ModelScopeHub(connection)


def open_with_token(tokens: TokenStore, address: HubAddress) -> Hub:
    """The hub at an address as the user's account there sees it. Waits while the keyring is being unlocked."""
    return open_hub(address, tokens.token(address))
