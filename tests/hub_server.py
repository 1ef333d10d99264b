"""A model hub on loopback: Hugging Face's and ModelScope's routes, a delivery network beside it, and faults on demand.

As a program: python -m tests.hub_server FOLDER MODEL_ID; prints the address, serves until its stdin ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_right"
_PIECE = 1 << 16


@dataclass
class Fault:
    """What goes wrong in answers to addresses that hold `match`, for the next `times` of them after `skip` good ones.

    status: this answer, with word as its X-Error-Code, retry_after and location; None for the content, in which
    cut_after: bytes until the connection is cut; flip: the byte at this place is wrong; rate: bytes a second;
    no_range: ranges are ignored; lie: added to Content-Length; endless: the body goes on for ever; drop_length: none
    is sent; hang: nothing is sent until the server closes.
    """

    match: str = ""
    times: int = 1
    skip: int = 0
    status: int | None = None
    word: str = ""
    retry_after: str = ""
    location: str = ""
    cut_after: int | None = None
    flip: int | None = None
    rate: float | None = None
    no_range: bool = False
    lie: int = 0
    endless: bool = False
    drop_length: bool = False
    hang: bool = False


@dataclass
class RemoteFile:
    """One file. content: bytes, or a file on disk that may be large."""

    content: bytes | Path
    lfs: bool
    size: int = 0
    sha256: str = ""
    blob_id: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.content, Path):
            with self.content.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.size = self.content.stat().st_size
        else:
            self.sha256 = hashlib.sha256(self.content).hexdigest()
            self.size = len(self.content)
        data = b"a pointer to " + self.sha256.encode() if self.lfs else self.read(0, self.size)
        self.blob_id = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def read(self, start: int, end: int) -> bytes:
        if isinstance(self.content, bytes):
            return self.content[start:end]
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


@dataclass
class RemoteModel:
    """A model with one branch and one commit. gated: needs TOKEN."""

    files: dict[str, RemoteFile]
    gated: bool = False
    licence: str = "apache-2.0"
    downloads: int = 0
    commit: str = ""

    def __post_init__(self) -> None:
        names = "".join(f"{path}{file.sha256}" for path, file in sorted(self.files.items()))
        self.commit = hashlib.sha1(names.encode()).hexdigest()


@dataclass
class SeenRequest:
    """One request. at: "hub" or "cdn"."""

    at: str
    path: str
    headers: Message


@dataclass
class HubServer:
    """The hub at `url` and its delivery network at another port. Use as a context manager."""

    models: dict[str, RemoteModel] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[SeenRequest] = field(default_factory=list)
    page_size: int = 1000

    def __post_init__(self) -> None:
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._servers = []
        for kind in (_HubHandler, _CdnHandler):
            handler = type("Handler", (kind,), {"hub": self})
            server = _Server(("127.0.0.1", 0), handler)
            threading.Thread(target=server.serve_forever, args=(0.02,), name="test-hub", daemon=True).start()
            self._servers.append(server)
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(
        self,
        model_id: str,
        files: dict[str, bytes | Path],
        *,
        lfs_from: int = 1000,
        gated: bool = False,
        downloads: int = 0,
    ) -> RemoteModel:
        """Publish a model; files of lfs_from bytes and more are stored as large files."""
        remote = {}
        for path, content in files.items():
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            remote[path] = RemoteFile(content, lfs=size >= lfs_from)
        self.models[model_id] = RemoteModel(remote, gated=gated, downloads=downloads)
        return self.models[model_id]

    def add_folder(self, model_id: str, folder: Path) -> RemoteModel:
        """Publish the files of a folder."""
        return self.add(model_id, {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()})

    def fault_for(self, path: str) -> Fault | None:
        """The first fault that still applies, one time less afterwards."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.match in path:
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def asked(self, part: str, at: str = "") -> list[SeenRequest]:
        """The requests whose address holds this."""
        return [request for request in self.seen if part in request.path and at in ("", request.at)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, client = super().get_request()
        self._connections.add(connection)
        return connection, client

    def close_request(self, request: object) -> None:
        self._connections.discard(request)  # type: ignore[arg-type]
        super().close_request(request)  # type: ignore[arg-type]

    def server_close(self) -> None:
        """Also ends the connections that clients keep open, and with them their threads."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    """What the hub and its delivery network share."""

    hub: ClassVar[HubServer]
    place: ClassVar[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.hub.lock:
            self.hub.seen.append(SeenRequest(self.place, self.path, self.headers))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fault = self.hub.fault_for(unquote(self.path))
        if fault is not None and fault.hang:
            self.hub.closing.wait(60)
            self.close_connection = True
            return
        if fault is not None and fault.status is not None:
            headers = {"X-Error-Code": fault.word, "Retry-After": fault.retry_after, "Location": fault.location}
            self.answer(fault.status, b"no", {key: value for key, value in headers.items() if value})
            return
        self.route(fault)

    def route(self, fault: Fault | None) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_file(self, file: RemoteFile, fault: Fault | None, etag: str) -> None:
        fault = fault or Fault()
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and not fault.no_range and self.headers.get("If-Range", etag) == etag:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            end = min(int(last) + 1, file.size) if last else file.size
            if start >= file.size:
                self.answer(416, b"", {"Content-Range": f"bytes */{file.size}"})
                return
        else:
            end = file.size
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{file.size}")
        if fault.endless or fault.drop_length:
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(end - start + fault.lie))
        self.end_headers()
        self.wfile.flush()
        if self.command == "HEAD":
            return
        if isinstance(file.content, Path) and fault == Fault(match=fault.match, times=fault.times, skip=fault.skip):
            with file.content.open("rb") as content:
                self.connection.sendfile(content, start, end - start)
            return
        self._send_pieces(file, start, end, fault)

    def _send_pieces(self, file: RemoteFile, start: int, end: int, fault: Fault) -> None:
        piece_size = max(1, min(_PIECE, int(fault.rate / 20))) if fault.rate else _PIECE
        at = start
        while at < end and not self.hub.closing.is_set():
            upto = min(end, at + piece_size)
            if fault.cut_after is not None:
                upto = min(upto, start + fault.cut_after)
            piece = bytearray(file.read(at, upto))
            if fault.flip is not None and at <= fault.flip < upto:
                piece[fault.flip - at] ^= 0xFF
            self.wfile.write(piece)
            at = upto
            if fault.cut_after is not None and at >= start + fault.cut_after:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault.rate:
                time.sleep(len(piece) / fault.rate)
        while fault.endless and not self.hub.closing.is_set():
            self.wfile.write(bytes(_PIECE))
        if fault.lie > 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


class _CdnHandler(_Handler):
    place = "cdn"

    def route(self, fault: Fault | None) -> None:
        """/blob/SHA256/NAME?signature"""
        sha256 = self.path.split("/")[2]
        for model in list(self.hub.models.values()):
            for file in model.files.values():
                if file.sha256 == sha256:
                    self.send_file(file, fault, f'"{sha256[:32]}"')
                    return
        self.answer(404, b"")


class _HubHandler(_Handler):
    place = "hub"

    def route(self, fault: Fault | None) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path
        if path == "/api/models":
            self._search(query)
        elif path == "/openapi/v1/models":
            self._modelscope_search(query)
        elif path.startswith("/openapi/v1/models/"):
            self._modelscope_model(unquote(path.removeprefix("/openapi/v1/models/")))
        elif path.startswith("/api/v1/models/"):
            self._modelscope_files(unquote(path.removeprefix("/api/v1/models/")), query, fault)
        elif path.startswith("/api/models/"):
            self._model(unquote(path.removeprefix("/api/models/")), query)
        else:
            self._resolve(path, fault)

    def _allowed(self, model: RemoteModel | None) -> bool:
        """Answer for models that are not there or not for this caller."""
        if model is None:
            self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif self.headers.get("Authorization", f"Bearer {TOKEN}") != f"Bearer {TOKEN}":
            self.answer(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        else:
            return True
        return False

    def _search(self, query: dict[str, str]) -> None:
        found = sorted(
            (name for name in self.hub.models if query.get("search", "").lower() in name.lower()),
            key=lambda name: -self.hub.models[name].downloads,
        )
        at = int(query.get("cursor", 0))
        page = found[at : at + min(self.hub.page_size, int(query.get("limit", 1000)))]
        headers = {}
        if at + len(page) < len(found):
            rest = "&".join(f"{key}={quote(value)}" for key, value in query.items() if key != "cursor")
            headers["Link"] = f'<{self.hub.url}/api/models?{rest}&cursor={at + len(page)}>; rel="next"'
        self.answer_json([self._summary(name) for name in page], headers)

    def _summary(self, name: str) -> dict[str, object]:
        model = self.hub.models[name]
        return {
            "_id": "0",
            "id": name,
            "downloads": model.downloads,
            "likes": 3,
            "private": False,
            "gated": "auto" if model.gated else False,
            "tags": ["transformers", "safetensors", f"license:{model.licence}"],
            "lastModified": "2026-03-01T10:00:00.000Z",
            "sha": model.commit,
        }

    def _model(self, path: str, query: dict[str, str]) -> None:
        for word in ("/revision/", "/tree/"):
            name, found, revision = path.partition(word)
            if found:
                break
        model = self.hub.models.get(name)
        if not self._allowed(model):
            return
        assert model is not None
        if found and revision not in ("main", model.commit):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        if found == "/tree/":
            entries = []
            for file_path, file in model.files.items():
                entry: dict[str, object] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": file_path}
                if file.lfs:
                    entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
                entries.append(entry)
            at = int(query.get("cursor", 0))
            page = entries[at : at + self.hub.page_size]
            headers = {}
            if at + len(page) < len(entries):
                next_page = f"{self.hub.url}/api/models/{path}?recursive=true&cursor={at + len(page)}"
                headers["Link"] = f'<{next_page}>; rel="next"'
            self.answer_json(page, headers)
        else:
            self.answer_json({**self._summary(name), "siblings": [{"rfilename": path} for path in model.files]})

    def _resolve(self, path: str, fault: Fault | None) -> None:
        name, found, rest = unquote(path[1:]).partition("/resolve/")
        revision, _, file_path = rest.partition("/")
        model = self.hub.models.get(name)
        if not self._allowed(model if found else None):
            return
        assert model is not None
        if model.gated and "Authorization" not in self.headers:
            self.answer(401, b"gated", {"X-Error-Code": "GatedRepo"})
            return
        file = model.files.get(file_path)
        if file is None or revision not in ("main", model.commit):
            word = "EntryNotFound" if file is None else "RevisionNotFound"
            self.answer(404, b"", {"X-Error-Code": word})
            return
        if not file.lfs:
            self.send_file(file, fault, f'"{file.blob_id}"')
            return
        headers = {
            "X-Repo-Commit": model.commit,
            "X-Linked-Size": str(file.size),
            "X-Linked-Etag": f'"{file.sha256}"',
            "Location": f"{self.hub.cdn_url}/blob/{file.sha256}/{quote(file_path)}?signature=secret",
        }
        self.answer(302, b"moved", headers)

    def _modelscope_search(self, query: dict[str, str]) -> None:
        found = [name for name in self.hub.models if query.get("search", "").lower() in name.lower()]
        models = [self._modelscope_summary(name) for name in found]
        self.answer_json({"success": True, "data": {"models": models, "total_count": len(found)}})

    def _modelscope_summary(self, name: str) -> dict[str, object]:
        model = self.hub.models[name]
        facts = {"id": name, "downloads": model.downloads, "likes": 2, "license": model.licence, "gated": model.gated}
        return {**facts, "private": False, "last_modified": "2026-03-01T10:00:00Z", "tags": ["text-generation"]}

    def _modelscope_model(self, name: str) -> None:
        if name in self.hub.models:
            self.answer_json({"success": True, "data": self._modelscope_summary(name)})
        else:
            self.answer(404, json.dumps({"success": False, "message": "no such model"}).encode())

    def _modelscope_files(self, path: str, query: dict[str, str], fault: Fault | None) -> None:
        name, _, rest = path.partition("/repo")
        model = self.hub.models.get(name)
        if model is None:
            self.answer(404, json.dumps({"Code": 404, "Message": "no such model"}).encode())
        elif rest == "/files":
            files = [
                {
                    "Path": path,
                    "Name": path.rpartition("/")[2],
                    "Size": file.size,
                    "Sha256": file.sha256,
                    "Type": "blob",
                }
                for path, file in model.files.items()
            ]
            self.answer_json({"Code": 200, "Data": {"Files": files}})
        elif (file := model.files.get(query.get("FilePath", ""))) is not None:
            self.send_file(file, fault, f'"{file.sha256}"')
        else:
            self.answer(404, b"{}")


def main() -> None:
    """The command line."""
    with HubServer() as hub:
        hub.add_folder(sys.argv[2], Path(sys.argv[1]))
        print(hub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
