"""Writes over two hundred model folders, each broken or hostile in its own way."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.storage.model_folders import CONFIG, files_of_a_model, write_model

Break = Callable[[Path], object]
INDEX = "model.safetensors.index.json"


def write_all(top: Path) -> int:
    """Below top, in numbered folders so that each is found by itself; how many."""
    count = 0
    for count, (name, break_it) in enumerate(_recipes(), start=1):
        folder = write_model(top / f"{count:03}-{name}")
        break_it(folder)
    return count


def _recipes() -> Iterator[tuple[str, Break]]:
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        whole = files_of_a_model()[name]
        for part in range(10):
            yield f"cut-{part}", _content(name, whole[: len(whole) * part // 10])
        yield "longer", _content(name, whole + b"\0rest")
        yield "binary", _content(name, bytes(range(256)) * 20)
        yield "a-folder", _instead(name, Path.mkdir)
        yield "a-pipe", _instead(name, os.mkfifo)
        yield "a-socket", _instead(name, _socket)
        yield "a-device", _instead(name, lambda path: path.symlink_to("/dev/zero"))
        yield "a-tape", _instead(name, lambda path: path.symlink_to("/dev/stdin"))
        yield "a-link-to-itself", _instead(name, lambda path: path.symlink_to(path.name))
        yield "a-link-to-nothing", _instead(name, lambda path: path.symlink_to("not/there"))
        yield "nested", _content(name, b"[" * 200_000)
        yield "nested-objects", _content(name, b'{"a":' * 200_000)
        yield "null", _content(name, b"null")
        yield "a-list", _content(name, b"[]")
        yield "a-number", _content(name, b"9" * 5000)
        yield "huge", _sparse(name, 1 << 40)
        yield "not-text", _content(name, b'{"a": "\xff\xfe"}')
    for key in CONFIG:
        for value in ([], {}, "text", -1, 10**400, 1.5, True, [[1]], "\ud800"):
            if _is_wrong(key, value):
                yield f"{key}-wrong", _config(**{key: value})
    for value in (5, "awq", [1], {"quant_method": 5}, {"quant_method": "awq", "bits": "four"}):
        yield "quantization-wrong", _config(quantization_config=value)
    for target in ("../../etc/passwd", "/etc/passwd.safetensors", "..\\..\\x.safetensors", "a\0.safetensors", 5, None):
        yield "index-elsewhere", _index({"weight_map": {"a": target}})
    for content in ([], {}, {"weight_map": 5}, {"weight_map": {}}, {"weight_map": {"ghost": "model.safetensors"}}):
        yield "index-wrong", _index(content)
    yield "index-huge", lambda folder: _sparse(INDEX, 1 << 33)(folder)
    for shape, offsets in (
        ([1 << 62, 1 << 62], [0, 8]),
        ([-1], [0, 8]),
        ([2], [8, 0]),
        ([2], [0, 1 << 63]),
        ([True], [0, 2]),
        ([10**30], [0, 2]),
        ([1] * 100_000, [0, 2]),
        ([2.5], [0, 2]),
    ):
        yield "shape-wrong", _header({"a": {"dtype": "F16", "shape": shape, "data_offsets": offsets}})
    yield "type-unknown", _header({"a": {"dtype": "F\n9", "shape": [1], "data_offsets": [0, 2]}})
    yield "name-long", _header({"n\n" * 100_000: 5})
    yield (
        "overlap",
        _header({name: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for name in ("first", "second")}),
    )
    for length in (0, 1, 7, 100_000_001, (1 << 64) - 1):
        yield "header-length", _content("model.safetensors", struct.pack("<Q", length) + b"{}")
    yield "header-claims-90-mb", _content("model.safetensors", struct.pack("<Q", 90 << 20) + b"{}")
    yield "weights-gone", lambda folder: (folder / "model.safetensors").unlink()
    yield "config-gone", lambda folder: (folder / "config.json").unlink()
    yield "no-names-but-weights", _content("config.json", b'{"architectures": [5]}')


def _is_wrong(key: str, value: Any) -> bool:
    if key == "architectures":
        return not isinstance(value, list) or value == [[1]]
    if key == "model_type":
        # Nothing and False are as good as no name; text of any kind is one.
        return not isinstance(value, str) and bool(value)
    return True


def _content(name: str, content: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content)


def _instead(name: str, make: Callable[[Path], object]) -> Break:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply


def _sparse(name: str, size: int) -> Break:
    def apply(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return apply


def _config(**values: Any) -> Break:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**CONFIG, **values}))


def _index(content: object) -> Break:
    return lambda folder: (folder / INDEX).write_text(json.dumps(content))


def _header(header: object) -> Break:
    text = json.dumps(header).encode()
    return _content("model.safetensors", struct.pack("<Q", len(text)) + text + bytes(8))


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may be 100 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


HOSTILE_NAMES = (
    b"two\nlines",
    b"\xff\xfe not text",
    b"%2e%2e%2fetc",
    b"-rf",
    b"$(touch x)",
    b"`x`; rm",
    b"%s %n {0} {path}",
    b"\x1b[31mred",
    "\u202egnp.exe".encode(),
    b"<b>bold</b>",
    b"a" * 255,
    b" ",
    b"models--",
    b"models--..--..--etc",
    b"con.",
    "模型 🙂".encode(),
)
