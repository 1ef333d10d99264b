"""GET requests to one hub: proxies, redirects, the token, byte ranges, and refusals as failures.

urllib3, because it reads at about curl's speed (httpx2, which is huggingface_hub's own, needed three times as long for
1 GB on loopback), and can end a blocked read from another thread, which pausing needs.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, ProxyError, SSLError

from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error, failure
from desktop.domain.hub import HubAddress, HubKind
from desktop.storage.cancelling import Cancelled

_CONNECT_SECONDS = 15.0
_READ_SECONDS = 30.0  # without one byte
_MOST_REDIRECTS = 5
_LONGEST_RETRY_AFTER = 600.0  # seconds; a hub that asks for more is told to the user instead
_USER_AGENT = "turbodesk"
_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)


class Patience(msgspec.Struct, frozen=True):
    """How often something that fails is tried again. tries: in a row without a byte of progress. Waits in seconds."""

    tries: int = 7
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait_after(self, tries: int) -> float:
        """Seconds until the next try, doubled each time; a random part keeps several files from coming in step."""
        longest: float = min(self.first_wait * 2 ** (tries - 1), self.longest_wait)
        return longest * random.uniform(0.75, 1.0)


class Unsteady(Exception):
    """Something that may work when it is tried again. wait: seconds the hub asked for, 0 where it did not."""

    def __init__(self, failure: Failure, wait: float = 0.0) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait = wait


class Answer(NamedTuple):
    """response: with status 200 or 206, its body not yet read. linked_hash: what the hub's redirect says is linked."""

    response: urllib3.BaseHTTPResponse
    linked_hash: str


class HubConnection:
    """Requests to one hub, from any thread. leaving: set by stop(); every wait and every read then ends with Cancelled.

    The token goes to the hub's own address only, never to where the
    hub redirects to.
    """

    def __init__(self, address: HubAddress, token: str | None = None, patience: Patience | None = None) -> None:
        self.address = address
        self.patience = patience or Patience()
        self.leaving = threading.Event()
        self.token = token or None
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._open: set[urllib3.BaseHTTPResponse] = set()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End every wait and every read in other threads. For good: a connection that was stopped is thrown away."""
        self.leaving.set()
        with self._lock:
            responses = list(self._open)
        for response in responses:
            try:
                response.shutdown()
            except (RuntimeError, ValueError, OSError):  # it ended meanwhile
                continue

    def close(self) -> None:
        """Close the sockets that are kept for the next request."""
        for pool in self._pools.values():
            pool.clear()

    @contextmanager
    def get(self, url: str, model_id: str, headers: dict[str, str] | None = None) -> Iterator[Answer]:
        """One try.

        model_id: for the sentence of a refusal. Raises Unsteady where another try may help, also from reads within the
        block, and TurbodeskError where not.
        """
        response: urllib3.BaseHTTPResponse | None = None
        linked_hash = ""
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                self.check()
                response = self._request(url, headers or {})
                with self._lock:
                    self._open.add(response)
                self.check()
                linked_hash = linked_hash or response.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"')
                if response.status not in (301, 302, 303, 307, 308):
                    break
                self._drop(response)
                url = self._redirected(url, response.headers.get("Location", ""))
            else:
                raise self._broken("it redirects in a circle")
            if response.status not in (200, 206):
                raise self._refusal(response, model_id, _origin(url) != _origin(self.address.endpoint))
            yield Answer(response, linked_hash)
        except HTTPError as problem:  # urllib3 wraps every error of the network, so that an OSError is one of the disk
            self.check()
            raise Unsteady(self._unreachable(problem)) from problem
        finally:
            if response is not None:
                self._drop(response)

    def read(self, url: str, model_id: str, start: int, length: int) -> bytes:
        """So many bytes of a small file or range, fewer where the file ends; tries again as patience says."""
        tries = 0
        while True:
            try:
                with self.get(url, model_id, {"Range": f"bytes={start}-{start + length - 1}"}) as answer:
                    response = answer.response
                    skip = start if response.status == 200 else 0  # the range was ignored
                    content = bytearray()
                    while len(content) < skip + length and (piece := response.read1(1 << 16)):
                        content += piece
                    return bytes(content[skip : skip + length])
            except Unsteady as trouble:
                tries += 1
                self.wait_for_next(tries, trouble)

    def wait_for_next(self, tries: int, trouble: Unsteady) -> None:
        """Wait until the next try may be made; raises the trouble's failure when there were enough, or Cancelled."""
        if tries >= self.patience.tries or trouble.wait > _LONGEST_RETRY_AFTER:
            raise TurbodeskError(trouble.failure) from trouble
        if self.leaving.wait(max(trouble.wait, self.patience.wait_after(tries))):
            raise Cancelled

    def check(self) -> None:
        """Raises Cancelled after stop()."""
        if self.leaving.is_set():
            raise Cancelled

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        if self.token and _origin(url) == _origin(self.address.endpoint):
            sent["Authorization"] = f"Bearer {self.token}"
            if self.address.kind is HubKind.MODELSCOPE:
                sent["Cookie"] = f"m_session_id={self.token}"  # what its older routes ask for
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        return self._pool(url).request(
            "GET", url, headers=sent, timeout=timeout, redirect=False, retries=False, preload_content=False
        )

    def _redirected(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            if location and urlsplit(target).scheme in ("http", "https"):
                return target
        except ValueError:
            pass
        raise self._broken("it redirects to something that is not a web address")

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The pool for the proxy that the environment names for this address, or for none."""
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
        if proxy and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = ""
        with self._lock:
            if proxy not in self._pools:
                try:
                    self._pools[proxy] = _new_pool(proxy)
                except (HTTPError, ValueError) as problem:
                    raise error(
                        FailureCode.HUB_UNREACHABLE,
                        hub=self.address.name,
                        reason="the proxy that the environment names is not an http or https address",
                    ) from problem
            return self._pools[proxy]

    def _drop(self, response: urllib3.BaseHTTPResponse) -> None:
        with self._lock:
            self._open.discard(response)
        # A connection with an unread rest cannot serve the next request.
        if getattr(response, "length_remaining", None) == 0:
            response.release_conn()
        else:
            response.close()

    def _refusal(self, response: urllib3.BaseHTTPResponse, model_id: str, from_elsewhere: bool) -> Exception:
        status, name = response.status, self.address.name
        if status in _RETRIED_STATUS:
            reason = "it asks for fewer requests" if status == 429 else f"it answered with the error {status}"
            return Unsteady(failure(FailureCode.HUB_BUSY, hub=name, reason=reason), _retry_after(response))
        if from_elsewhere:  # such an address is good for one model and a short time; the next try gets a new one
            reason = f"its delivery network answered with the error {status}"
            return Unsteady(failure(FailureCode.HUB_BUSY, hub=name, reason=reason))
        word = response.headers.get("X-Error-Code", "")
        return refusal(self.address, model_id, status, word, bool(self.token))

    def _unreachable(self, problem: Exception) -> Failure:
        return failure(
            FailureCode.HUB_UNREACHABLE, detail=type(problem).__name__, hub=self.address.name, reason=_reason(problem)
        )

    def _broken(self, reason: str) -> TurbodeskError:
        return error(FailureCode.HUB_ANSWER_BROKEN, hub=self.address.name, reason=reason)


def refusal(address: HubAddress, model_id: str, status: int, word: str, has_token: bool) -> TurbodeskError:
    """The failure for an answer of 400 to 499. model_id: "" for a search. word: the hub's X-Error-Code, "" for none."""
    name = address.name
    if not model_id and not (status == 401 and has_token):
        return error(FailureCode.HUB_ANSWER_BROKEN, hub=name, reason=f"it answered a search with the error {status}")
    if word == "GatedRepo" or (status == 403 and not word):
        page = f"{address.endpoint}/{model_id}"
        return error(FailureCode.MODEL_GATED, model=model_id, hub=name, page=page)
    if status == 401 and has_token:
        return error(FailureCode.TOKEN_REFUSED, hub=name)
    if word == "RevisionNotFound":
        return error(FailureCode.MODEL_NOT_ON_HUB, hub=name, what=f"such version of {model_id}")
    if word == "EntryNotFound":
        return error(FailureCode.MODEL_NOT_ON_HUB, hub=name, what=f"such file in {model_id}")
    if status in (401, 403, 404, 410):  # a hub does not tell strangers whether a private model exists
        return error(FailureCode.MODEL_NOT_ON_HUB, hub=name, what=f"model named {model_id}, or it is not public")
    return error(FailureCode.HUB_ANSWER_BROKEN, hub=name, reason=f"it answered with the error {status}")


def _new_pool(proxy: str) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(num_pools=8, maxsize=8)
    # Some tools write a proxy without its scheme.
    address = proxy if "://" in proxy else f"http://{proxy}"
    user = urlsplit(address)
    login = f"{user.username}:{user.password or ''}" if user.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(address, num_pools=8, maxsize=8, proxy_headers=headers)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds, 0 where the hub names none (RFC 9110 10.2.3: a number of seconds, or a date)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(min(int(text[:9]), 1_000_000))
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _reason(problem: Exception) -> str:
    if isinstance(problem, ProxyError):
        return "the proxy that the environment names does not answer"
    if isinstance(problem, NameResolutionError):
        return "its name is not known, perhaps because this machine is offline"
    if isinstance(problem, SSLError):
        return "its certificate is not accepted by this machine"
    if isinstance(problem, TimeoutError | urllib3.exceptions.TimeoutError):
        return "it does not answer"
    if isinstance(problem, urllib3.exceptions.NewConnectionError):
        return "it refuses the connection"
    return f"the connection was cut ({type(problem).__name__})"
