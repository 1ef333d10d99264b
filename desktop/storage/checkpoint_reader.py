"""Reads what a model folder is, from its JSON files and the headers of its weights: never weights, never its code."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.checkpoint import Checkpoint, CheckpointConfig, Quantization, parameter_count, parse_config
from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.domain.memory_shape import MemoryShape, read_shape
from desktop.domain.weight_files import WeightFiles, indexed_files, weight_files
from desktop.storage.safetensors_header import TensorInfo, read_header

_JSON_LIMIT = 16 << 20  # bytes
_INDEX_LIMIT = 100 << 20  # bytes; the index of a model with 100,000 tensors has 10 MB
_LABEL_LENGTH = 100  # characters
_NAME_LENGTH = 200  # characters of a name in a sentence; a hostile file may hold longer ones
_TOKENIZER_FILES = frozenset(("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json"))


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the model folder `path`. Pickled weights are named, not opened: whoever loads them asks the user first.

    Takes milliseconds for most models, seconds for one with a hostile 100 MB header: call it off the GUI thread.
    Raises TurbodeskError: checkpoint_not_found, checkpoint_not_readable, not_a_checkpoint, config_broken,
    weights_missing, weights_broken, tokenizer_broken. Whether an engine can run the architecture is
    not decided here.
    """
    path = Path(os.path.abspath(path))
    files = _files(path)
    raw = _config_json(path, files)
    config = parse_config(raw)
    pickles = _pickles(path, files)
    weights = _estimated(raw, path, pickles) if pickles else _counted(path, files, config.quantization)
    tokenizer = _tokenizer_config(path, files)
    return Checkpoint(
        **{
            **msgspec.structs.asdict(config),
            "needs_remote_code": config.needs_remote_code or bool(tokenizer.get("auto_map")),
        },
        path=str(path),
        name=path.name,
        label=_label(path, files),
        **weights,
        has_tokenizer=bool(files & _TOKENIZER_FILES) or any(name.endswith(".tiktoken") for name in files),
        has_chat_template=bool(tokenizer.get("chat_template") or files & {"chat_template.jinja", "chat_template.json"}),
    )


def read_config(path: str | Path) -> CheckpointConfig:
    """Its config.json alone. Raises TurbodeskError as read_checkpoint() does before it comes to the weights."""
    path = Path(os.path.abspath(path))
    return _read_config(path, _files(path))


def read_tensors(path: str | Path) -> dict[str, TensorInfo]:
    """The tensors that LMDeploy would load. As slow as read_checkpoint(), and raises as it does."""
    path = Path(os.path.abspath(path))
    files = _files(path)
    tensors: dict[str, TensorInfo] = {}
    for header in _headers(path, files):
        tensors.update(header)
    return tensors


def safetensors_files(path: str | Path) -> list[Path]:
    """The files that hold these tensors. Raises as read_checkpoint() does."""
    path = Path(os.path.abspath(path))
    return [path / name for name in _weight_files(path, _files(path))]


def _read_config(path: Path, files: set[str]) -> CheckpointConfig:
    return parse_config(_config_json(path, files))


def _config_json(path: Path, files: set[str]) -> Any:
    if "config.json" not in files:
        raise error(FailureCode.NOT_A_CHECKPOINT, path=path, reason=_why_not(files))
    return _read_json(path / "config.json", FailureCode.CONFIG_BROKEN)


def read_pickles(path: str | Path) -> tuple[str, ...]:
    """The names of its weights files as in Checkpoint.pickles. Raises TurbodeskError as read_checkpoint() does."""
    path = Path(os.path.abspath(path))
    return _pickles(path, _files(path))


def read_memory_shape(path: str | Path) -> MemoryShape:
    """What of it decides how much memory it takes, from its config.json and the headers of its weights.

    Of pickled weights it is estimated from config.json alone (`weights.exact` is False).
    As slow as read_checkpoint(), and raises as it does.
    """
    path = Path(os.path.abspath(path))
    files = _files(path)
    config = _config_json(path, files)
    return read_shape(config) if _pickles(path, files) else read_shape(config, read_tensors(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            raise error(FailureCode.CHECKPOINT_NOT_FOUND, detail=str(problem), path=path) from problem
        raise error(FailureCode.CHECKPOINT_NOT_READABLE, detail=str(problem), path=path) from problem
    except ValueError as problem:  # a path that no file can have: a NUL, or text that the file system cannot encode
        raise error(FailureCode.CHECKPOINT_NOT_FOUND, detail=str(problem), path=repr(str(path))) from problem


def _files(path: Path) -> set[str]:
    """The names of the folder's files; symbolic links to files count, for Hugging Face's cache is made of them."""
    with _readable(path):
        if not stat.S_ISDIR(os.stat(path).st_mode):
            what = (
                "a GGUF file, which LMDeploy cannot run" if path.suffix.lower() == ".gguf" else "a file, not a folder"
            )
            raise error(FailureCode.NOT_A_CHECKPOINT, path=path, reason=f"it is {what}")
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if _is_file(entry)}


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _why_not(files: set[str]) -> str:
    if any(name.lower().endswith(".gguf") for name in files):
        return "it holds GGUF files, which LMDeploy cannot run"
    if "adapter_config.json" in files:
        return "it is an adapter (LoRA), which works only on top of its base model"
    if "model_index.json" in files:
        return "it is a pipeline of several models, as for making pictures"
    return "it has no config.json" if files else "it holds no files"


def _pickles(path: Path, files: set[str]) -> tuple[str, ...]:
    """Every pickle that an engine would open for the weights; empty for weights that are none."""
    chosen = weight_files(files)
    if not chosen.pickles:
        return ()
    return tuple(sorted({*chosen.files, *(_indexed_files(path, files, chosen) if chosen.index else ())}))


def _estimated(raw: Any, path: Path, pickles: Sequence[str]) -> dict[str, Any]:
    """What can be said of weights that are not opened, as Checkpoint has it."""
    size = 0
    for name in pickles:
        with _readable(path / name):
            found = os.stat(path / name).st_size
        if not found:
            raise error(FailureCode.WEIGHTS_BROKEN, file=name, reason="it is empty")
        size += found
    parameters = None
    with suppress(TurbodeskError):
        parameters = read_shape(raw).weights.parameters
    return {"parameters": parameters, "weight_bytes": size, "dtypes": (), "pickles": tuple(pickles)}


def _counted(path: Path, files: set[str], quantization: Quantization | None) -> dict[str, Any]:
    """What the headers say of the weights, as Checkpoint has it."""
    parameters = 0
    dtype_bytes: Counter[str] = Counter()
    for tensors in _headers(path, files):
        # Layers are alike, so there are few kinds; of quantized weights the name counts too.
        named = quantization is not None
        kinds = Counter(
            (name if named else "", dtype, shape, size) for name, (dtype, shape, _, size) in tensors.items()
        )
        for (name, dtype, shape, size), count in kinds.items():
            parameters += count * parameter_count(name, dtype, shape, size, quantization)
            dtype_bytes[dtype] += count * size
    if not dtype_bytes:
        raise error(FailureCode.WEIGHTS_MISSING, reason="the weights files are empty")
    dtypes = tuple(dtype for dtype, _ in dtype_bytes.most_common())
    return {"parameters": parameters, "weight_bytes": dtype_bytes.total(), "dtypes": dtypes}


def _weight_files(path: Path, files: set[str]) -> Mapping[str, set[str] | None]:
    """The safetensors files that LMDeploy would load, each with the tensors it would take from it (None: all)."""
    chosen = weight_files(files)
    if chosen.index:
        return _indexed_files(path, files, chosen)
    if chosen.files:
        return dict.fromkeys(chosen.files)
    if any(name.lower().endswith(".gguf") for name in files):
        raise error(FailureCode.NOT_A_CHECKPOINT, path=path, reason=_why_not(files))
    raise error(FailureCode.WEIGHTS_MISSING, reason="there is no .safetensors file")


def _headers(path: Path, files: set[str]) -> Iterator[Mapping[str, TensorInfo]]:
    """The tensors that LMDeploy would load, a file at a time."""
    for file, wanted in _weight_files(path, files).items():
        with _readable(path / file):
            tensors = read_header(path / file)
        if wanted is not None:
            if missing := wanted - tensors.keys():
                raise error(FailureCode.WEIGHTS_MISSING, reason=f"{file} does not hold {min(missing)[:_NAME_LENGTH]}")
            if len(wanted) < len(tensors):
                tensors = {name: tensors[name] for name in wanted}
        yield tensors


def _indexed_files(path: Path, files: set[str], chosen: WeightFiles) -> dict[str, set[str]]:
    # While JSON is read the window waits: 30 ms for the 9 MB of a model of 256 experts, 52 ms by the standard library.
    index = _read_json(path / chosen.index, FailureCode.CONFIG_BROKEN, _INDEX_LIMIT, msgspec.json.decode)
    return indexed_files(index, chosen, files)


def _tokenizer_config(path: Path, files: set[str]) -> Mapping[str, Any]:
    if "tokenizer_config.json" not in files:
        return {}
    found = _read_json(path / "tokenizer_config.json", FailureCode.TOKENIZER_BROKEN)
    if not isinstance(found, dict):
        raise error(FailureCode.TOKENIZER_BROKEN, reason="tokenizer_config.json is not an object")
    return found


def _label(path: Path, files: set[str]) -> str:
    if "turbodesk.json" not in files:
        return ""
    found = _read_json(path / "turbodesk.json", FailureCode.CONFIG_BROKEN)
    label = found.get("label") if isinstance(found, dict) else None
    return " ".join(label.split())[:_LABEL_LENGTH] if isinstance(label, str) else ""


def _read_json(
    path: Path, code: FailureCode, limit: int = _JSON_LIMIT, decode: Callable[[bytes], Any] = json.loads
) -> Any:
    with _readable(path), path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _json_error(code, path, f"it is larger than {limit >> 20} MB")
    try:
        return decode(content)
    except (ValueError, RecursionError) as problem:
        reason = "it is nested too deeply" if isinstance(problem, RecursionError) else f"it is not JSON ({problem})"
        raise _json_error(code, path, reason) from problem


def _json_error(code: FailureCode, path: Path, reason: str) -> TurbodeskError:
    if code is FailureCode.TOKENIZER_BROKEN:
        return error(code, reason=f"{path.name} cannot be read: {reason}")
    return error(code, file=path.name, reason=reason)
