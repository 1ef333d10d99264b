"""A model hub on loopback: Hugging Face's and ModelScope's routes, and a delivery network beside it.

As a program: python -m tests.hub_server FOLDER MODEL_ID; prints the address, serves until its stdin ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import sys
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_answers import Fault, Handler, RemoteFile

TOKEN = "hf_right"


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

    def note(self, at: str, path: str, headers: Message) -> None:
        """A request has come."""
        with self.lock:
            self.seen.append(SeenRequest(at, path, headers))

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


class _CdnHandler(Handler):
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


class _HubHandler(Handler):
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
