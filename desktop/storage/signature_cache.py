"""Values by path, each good for one signature of what lies there, in one file that may be lost at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from desktop.storage.atomic_file import replace_file

_Value = TypeVar("_Value")
_KEPT = 5000  # values, the last used ones


class SignatureCache(Generic[_Value]):
    """Not for two threads at once. version: of the format or of what made the values; a file of another is not used."""

    def __init__(self, path: Path, kind: type[_Value], version: str) -> None:
        self._path = path
        self._version = version
        self._file_type = tuple[str, dict[str, tuple[str, kind]]]  # type: ignore[valid-type]
        self._values: dict[str, tuple[str, _Value]] | None = None
        self._changed = False

    def get(self, path: str, signature: str) -> _Value | None:
        """What was put for this path with this signature."""
        values = self._loaded()
        found = values.get(path)
        if found is None or found[0] != signature:
            return None
        values[path] = values.pop(path)  # used last, kept longest
        return found[1]

    def put(self, path: str, signature: str, value: _Value) -> None:
        """Keep a value; the one before it for this path goes."""
        values = self._loaded()
        values.pop(path, None)
        values[path] = (signature, value)
        self._changed = True

    def save(self) -> None:
        """Write the file if anything is new; an error leaves the cache as it is, for next time it is only slower."""
        if not self._changed or self._values is None:
            return
        kept = {path: value for path, value in list(self._values.items())[-_KEPT:] if _can_be_sent(path, value)}
        try:
            replace_file(self._path, msgspec.msgpack.encode((self._version, kept)))
        except OSError:
            return
        self._changed = False

    def _loaded(self) -> dict[str, tuple[str, _Value]]:
        if self._values is None:
            self._values = {}
            try:
                version, values = msgspec.msgpack.decode(self._path.read_bytes(), type=self._file_type)
            except (OSError, ValueError, RecursionError):
                return self._values
            if version == self._version:
                self._values = values
        return self._values


def _can_be_sent(path: str, value: object) -> bool:
    # MessagePack's text is UTF-8; a path, or a name in a hostile config, need not be.
    try:
        msgspec.msgpack.encode((path, value))
    except (UnicodeError, msgspec.MsgspecError, OverflowError):
        return False
    return True
