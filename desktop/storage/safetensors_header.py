"""Reads and checks the header of a safetensors file, as strictly as the safetensors library, without its weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from desktop.domain.counting import counted
from desktop.domain.errors import FailureCode, TurbodeskError, error

_HEADER_LIMIT = 100_000_000  # bytes, the format's own limit

# bits of one element
_DTYPE_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


class TensorInfo(NamedTuple):
    """One tensor. dtype: the format's name of it. start: of its data after the header. start and size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a file by name. Raises TurbodeskError (weights_broken), and OSError where it cannot be read.

    The format: 8 bytes with the header's length N (little-endian), N bytes of JSON, then the data, which the tensors
    must fill without gap, overlap or rest (https://github.com/huggingface/safetensors#format).
    """
    with path.open("rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        data_size = file_size - 8 - length
        if file_size < 8:
            raise _broken(path, "it is cut off")
        if length > _HEADER_LIMIT:
            raise _broken(path, "it does not begin like a safetensors file")
        if data_size < 0:
            raise _broken(path, f"it is cut off, its header lacks {counted(-data_size, 'byte')}")
        content = file.read(length)
    try:
        header = msgspec.json.decode(content)
    except (ValueError, RecursionError) as problem:
        raise _broken(path, "its header is not JSON") from problem
    if not isinstance(header, dict):
        raise _broken(path, "its header is not an object")

    tensors = {name: _tensor(path, name, entry) for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for start, size, name in sorted((tensor.start, tensor.size, name) for name, tensor in tensors.items()):
        if start != end:
            raise _broken(path, f"the place of {name} overlaps another or leaves a gap")
        end += size
    if end > data_size:
        raise _broken(path, f"it is cut off, it lacks {counted(end - data_size, 'byte')}")
    if end < data_size:
        raise _broken(path, f"it has {counted(data_size - end, 'byte')} too many")
    return tensors


def _tensor(path: Path, name: str, entry: object) -> TensorInfo:
    # Not a match statement: a scan comes here a million times, and matching took two thirds of its time.
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]  # type: ignore[index]
    except (TypeError, LookupError, ValueError) as problem:
        raise _broken(path, f"the header's entry for {name} is malformed") from problem
    if type(dtype) is not str or type(shape) is not list or type(start) is not int or type(end) is not int:
        raise _broken(path, f"the header's entry for {name} is malformed")
    if dtype not in _DTYPE_BITS:
        raise _broken(path, f"{name} has the unknown type {dtype}")
    bits = _DTYPE_BITS[dtype]
    for dimension in shape:
        if type(dimension) is not int or dimension < 0:
            raise _broken(path, f"the header's entry for {name} is malformed")
        bits *= dimension
        # A product of a million hostile dimensions would take minutes.
        if bits >= 1 << 67:
            raise _broken(path, f"the size of {name} is impossible")
    if not 0 <= start <= end or bits != (end - start) * 8:
        raise _broken(path, f"the size of {name} does not fit its shape")
    return TensorInfo(dtype, tuple(shape), start, end - start)


def _broken(path: Path, reason: str) -> TurbodeskError:
    # The reason may hold a tensor's name, and a hostile file one of megabytes.
    return error(FailureCode.WEIGHTS_BROKEN, file=path.name, reason=reason[:300])
