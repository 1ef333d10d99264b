"""A hub of datasets on loopback: those of Hugging Face's routes that the `datasets` library asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class DatasetServer:
    """The hub at `url`; asked holds the path of every request. Use as a context manager."""

    def __init__(self, datasets: dict[str, dict[str, bytes]]) -> None:
        """datasets: the files of each, by its owner and name."""
        self.datasets = datasets
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> DatasetServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="test-datasets", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: DatasetServer

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(path)
        parts = path.removeprefix("/api").strip("/").split("/")
        name, route = "/".join(parts[1:3]), parts[3:]
        files = self.hub.datasets.get(name) if parts[0] == "datasets" else None
        if files is None:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif route[:1] == ["resolve"]:
            content = files.get("/".join(route[2:]))
            if content is None:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            else:
                self._answer(200, content, {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT})
        elif route[:1] == ["tree"]:
            self._answer_json(_entries(files, "/".join(route[2:])))
        elif route[:1] == ["paths-info"]:
            try:
                wanted = json.loads(body)["paths"]
            except ValueError:
                wanted = parse_qs(body.decode()).get("paths", [])
            self._answer_json([_entry(path, files[path]) for path in wanted if path in files])
        elif route[:1] in ([], ["revision"]):
            siblings = [{"rfilename": path} for path in files]
            self._answer_json({"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        else:
            self._answer(404, b"{}", {})

    do_HEAD = do_POST = do_GET

    def _answer_json(self, found: object) -> None:
        self._answer(200, json.dumps(found).encode(), {})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}


def _entries(files: dict[str, bytes], folder: str) -> list[dict[str, object]]:
    """What is directly in a folder."""
    start = f"{folder}/" if folder else ""
    inside = [path for path in files if path.startswith(start)]
    folders = {path[len(start) :].split("/")[0] for path in inside if "/" in path[len(start) :]}
    found: list[dict[str, object]] = [_entry(p, files[p]) for p in inside if "/" not in p[len(start) :]]
    return found + [{"type": "directory", "path": start + name, "size": 0, "oid": COMMIT} for name in sorted(folders)]
