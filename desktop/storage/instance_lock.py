"""One window per data folder: a lock that the kernel frees when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from desktop.domain.errors import FailureCode, error
from desktop.storage.errors import storage_errors

_FILE_NAME = "turbodesk.lock"


class InstanceLock:
    """Held from its making to release() or the end of the process.

    Raises TurbodeskError: already_open, naming the process that holds it, or storage_not_writable. The file stays
    behind on purpose: removing it would let two processes lock two files of the same name.
    """

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / _FILE_NAME
        with storage_errors(path):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode())
            except BlockingIOError:
                pid = os.read(file, 32).decode(errors="replace").strip()
                os.close(file)
                raise error(
                    FailureCode.ALREADY_OPEN, holder=f"process {pid}" if pid.isdecimal() else "another process"
                ) from None
            except BaseException:
                os.close(file)
                raise
        self._file: int | None = file

    def release(self) -> None:
        """Let the next window in. May be called more than once."""
        if self._file is not None:
            # Closing alone would not free it while a child that is just being started still has a copy.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None
