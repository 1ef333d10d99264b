"""Where a model on an OpenAI-compatible server is: its address, its name there, and both as one path."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import msgspec

_SCHEMES = ("http://", "https://")
_ENDPOINTS = ("/chat/completions", "/completions", "/models")


class ServerModel(msgspec.Struct, frozen=True):
    """A model of a server. address: up to and with "/v1", as of read_address(). name: as the server lists it."""

    address: str
    name: str

    @property
    def path(self) -> str:
        """What stands for it where a local model has its folder: http://127.0.0.1:23333/v1#name."""
        return f"{self.address}#{quote(self.name, safe='/:@')}"

    @property
    def title(self) -> str:
        """Its name and where it is."""
        return f"{self.name} at {self.place}" if self.name else self.place

    @property
    def place(self) -> str:
        """The server's host and port."""
        return place_of(self.address)


def server_model(path: str) -> ServerModel | None:
    """The model that a path of ServerModel.path stands for; None for the path of a folder."""
    if not path.startswith(_SCHEMES):
        return None
    address, _, name = path.partition("#")
    return ServerModel(address, unquote(name))


def read_address(typed: str) -> str:
    """An address as somebody types it, in full: "host:23333" is http://host:23333/v1.

    The address of an endpoint is taken for that of its server. Raises ValueError with the reason.
    """
    text = typed.strip()
    if not text:
        raise ValueError("there is no address")
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        raise ValueError(f"{typed.strip()} is no address") from problem
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"an address begins with http:// or https://, not with {parts.scheme}://")
    if not host or any(character.isspace() for character in text):
        raise ValueError(f"{typed.strip()} is no address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address holds no name, password, question mark or #; the key has a field of its own")
    path = parts.path.rstrip("/")
    for ending in _ENDPOINTS:
        path = path.removesuffix(ending)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def place_of(address: str) -> str:
    """The host and port of an address."""
    return urlsplit(address).netloc


def is_this_machine(address: str) -> bool:
    """Whether what is sent to an address stays on this machine."""
    import ipaddress  # a start does not pay for it

    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_readable_on_the_way(address: str) -> bool:
    """Whether others on the network can read what is sent: no encryption, and not to this machine."""
    return address.startswith("http://") and not is_this_machine(address)
