"""What a server of files on loopback answers: whole files, ranges, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

if TYPE_CHECKING:
    from tests.hub_server import HubServer

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


class Handler(BaseHTTPRequestHandler):
    """What the hub and its delivery network share."""

    hub: ClassVar[HubServer]
    place: ClassVar[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.note(self.place, self.path, self.headers)
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
