"""A server on loopback that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """A request: its body is read from JSON."""

    path: str
    key: str
    body: Any


class Reply(NamedTuple):
    """What comes back; whole: as long as it says, else the connection ends in the middle."""

    status: int
    body: bytes
    headers: dict[str, str]
    whole: bool = True


def in_json(value: Any, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(value).encode(), {})


def models(*names: str, program: str = "lmdeploy") -> Reply:
    """The list of models."""
    return in_json({"object": "list", "data": [{"id": name, "owned_by": program} for name in names]})


def stream(*deltas: dict[str, Any], end: str | None = "stop", whole: bool = True) -> Reply:
    """A reply as it is streamed. end: why it ends, None for a server that does not say."""
    rows: list[dict[str, Any]] = [{"delta": delta, "finish_reason": None} for delta in deltas]
    if end:
        rows.append({"delta": {}, "finish_reason": end})
    shared = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    lines = [json.dumps({**shared, "choices": [{"index": 0, **row}]}) for row in rows]
    text = "".join(f"data: {line}\n\n" for line in [*lines, *(["[DONE]"] if whole else [])])
    return Reply(200, text.encode(), {"Content-Type": "text/event-stream"}, whole)


class SmallServer:
    """answer: called with each request. Use as a context manager; `asked` has what came."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"small": self}))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> SmallServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="test-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    small: SmallServer

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._reply()

    def do_POST(self) -> None:
        self._reply()

    def _reply(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        asked = Asked(self.path, key, body)
        self.small.asked.append(asked)
        reply = self.small.answer(asked)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + (0 if reply.whole else 1)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = True
