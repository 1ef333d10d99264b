"""What a model on a hub is, before it is fetched: its configuration and the headers of its weights, by byte ranges."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.errors import Failure, FailureCode, TurbodeskError, error
from desktop.domain.hub import HubFile, HubModel, is_safe_path, wanted_files
from desktop.domain.memory_shape import MemoryShape
from desktop.domain.weight_files import PICKLE_INDEX, SAFETENSORS_INDEX
from desktop.storage.checkpoint_reader import read_checkpoint, read_memory_shape
from desktop.storage.errors import storage_errors
from desktop.storage.hub import Hub
from desktop.storage.hub_workers import work_through

_RANGES_AT_ONCE = 6
_FIRST_RANGE = 64 << 10  # bytes; holds most headers
_HEADER_LIMIT = 100_000_000  # bytes, the format's own limit
_JSON_LIMIT = 16 << 20  # bytes; an index of 100,000 tensors has 10 MB
_CARD_LIMIT = 1 << 20  # bytes
_MOST_WEIGHT_FILES = 2000
# What readers of a checkpoint open. Of every other file they only ask whether it is there.
_READ_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "turbodesk.json",
    SAFETENSORS_INDEX,
    PICKLE_INDEX,
)


class Preview(NamedTuple):
    """checkpoint: what the folder will be, its path empty; None where problem says why no engine could read it.

    card: the text of the model's card, "" without one. size: bytes that a download fetches. shape: for a forecast of
    its memory.
    """

    checkpoint: Checkpoint | None
    problem: Failure | None
    card: str
    size: int
    shape: MemoryShape | None = None


def preview(hub: Hub, model: HubModel) -> Preview:
    """Look at a model without fetching it. Raises TurbodeskError where the hub cannot be read, and Cancelled."""
    with skeleton(hub, model) as folder:
        return preview_of(hub, model, folder)


def preview_of(hub: Hub, model: HubModel, folder: Path) -> Preview:
    """The same from the model's skeleton."""
    checkpoint, problem, shape = None, None, None
    try:
        found = read_checkpoint(folder)
        checkpoint = msgspec.structs.replace(found, path="", name=model.model_id.rpartition("/")[2])
        if found.parameters is not None:  # pickles are not opened, and config.json does not say how large it is
            shape = read_memory_shape(folder)
    except TurbodeskError as refused:
        words = refused.failure.message.replace(str(folder), model.model_id)
        problem = msgspec.structs.replace(refused.failure, message=words)
    return Preview(checkpoint, problem, read_card(hub, model), download_size(model), shape)


def download_size(model: HubModel) -> int:
    """Bytes that a download fetches."""
    return sum(file.size for file in wanted_files(model.files))


def read_card(hub: Hub, model: HubModel) -> str:
    """The text of README.md without its head of metadata, cut at 1 MB; "" where there is none."""
    file = next((file for file in model.files if file.path.lower() == "readme.md"), None)
    if file is None:
        return ""
    text = _read(hub, model, file, 0, _CARD_LIMIT).decode(errors="replace")
    if text.startswith("---"):
        text = text[3:].partition("\n---")[2].partition("\n")[2]
    return text.strip()


@contextmanager
def skeleton(hub: Hub, model: HubModel) -> Iterator[Path]:
    """A folder that looks like the model to every reader of a checkpoint: small files whole, weights without tensors.

    Weights are sparse files of the right size, of which only the headers are there, so that the same code and the same
    limits judge a model before and after its download. They take no room on the disk.
    """
    files = {file.path: file for file in wanted_files(model.files) if "/" not in file.path and is_safe_path(file.path)}
    with tempfile.TemporaryDirectory(prefix="turbodesk-preview-") as name:
        folder = Path(name)
        with storage_errors(folder):
            for file in files.values():
                with (folder / file.path).open("wb") as empty:
                    empty.truncate(file.size)
            small = [file for file in files.values() if file.path in _READ_FILES]
            work_through(
                small,
                lambda file: (folder / file.path).write_bytes(_read_whole(hub, model, file)),
                _RANGES_AT_ONCE,
            )
            work_through(
                _weights(folder, files),
                lambda file: _fill_in_header(hub, model, file, folder / file.path),
                _RANGES_AT_ONCE,
            )
        yield folder


def _weights(folder: Path, files: Mapping[str, HubFile]) -> list[HubFile]:
    """The weight files that a reader will open."""
    names = [name for name in files if name.endswith(".safetensors")]
    named: object = None
    if SAFETENSORS_INDEX in files:
        try:
            index = json.loads((folder / SAFETENSORS_INDEX).read_bytes())
            named = index.get("weight_map") if isinstance(index, dict) else None
        except (ValueError, RecursionError):  # the reader says so
            return []
    if isinstance(named, dict):
        shards = {name for name in named.values() if isinstance(name, str)}
        names = [name for name in names if name in shards]
    else:
        names = [name for name in names if name.startswith("model")] or names
    return [files[name] for name in names[:_MOST_WEIGHT_FILES]]


def _fill_in_header(hub: Hub, model: HubModel, file: HubFile, path: Path) -> None:
    content = _read(hub, model, file, 0, min(_FIRST_RANGE, file.size))
    length = 8 + int.from_bytes(content[:8], "little")
    # A length that cannot be is left for the reader to refuse.
    if len(content) < length <= min(_HEADER_LIMIT, file.size):
        content += _read(hub, model, file, len(content), length - len(content))
    with path.open("r+b") as weights:
        weights.write(content[:length])


def _read_whole(hub: Hub, model: HubModel, file: HubFile) -> bytes:
    if file.size > _JSON_LIMIT:
        name, reason = hub.connection.address.name, f"{file.path} of {model.model_id} has {file.size} bytes"
        raise error(FailureCode.HUB_ANSWER_BROKEN, hub=name, reason=reason)
    return _read(hub, model, file, 0, file.size)


def _read(hub: Hub, model: HubModel, file: HubFile, start: int, length: int) -> bytes:
    if not length:
        return b""
    url = hub.file_url(model.model_id, model.revision, file.path)
    return hub.connection.read(url, model.model_id, start, length)
