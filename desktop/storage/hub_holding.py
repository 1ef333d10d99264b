"""Where a download waits until it is whole: a holding folder beside its destination, which survives any end.

models/.turbodesk-downloads/owner--name/
    download.json    the plan, and whether the user paused it or what it failed with
    parts/           files that are under way
    files/           files that are whole, on disk and of the right hash; becomes models/owner--name by one rename
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from desktop.domain.errors import Failure, FailureCode, error
from desktop.domain.hub import DownloadPlan, HubFile, is_safe_path
from desktop.storage.cancelling import Cancelled, IsCancelled, never
from desktop.storage.errors import storage_errors

HOLDING_FOLDER = ".turbodesk-downloads"
ORIGIN_FILE = ".turbodesk-origin.json"
_RECORD_FILE = "download.json"
_PIECE = 4 << 20  # bytes


class DownloadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A download as it is kept on disk. added_at: seconds since 1970. A new field needs a default."""

    plan: DownloadPlan
    added_at: float = 0.0
    paused: bool = False
    failure: Failure | None = None


class Holding:
    """One holding folder. Not for two threads at once, but for its files' paths."""

    def __init__(self, folder: Path, record: DownloadRecord) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def create(cls, plan: DownloadPlan) -> Holding:
        """Make the folder, or take up the one of an earlier try for the same revision.

        Raises TurbodeskError: download_target_taken, hub_answer_broken (hostile names), storage_not_writable.
        """
        destination = Path(plan.destination)
        if not plan.repair and os.path.lexists(destination):
            raise error(FailureCode.DOWNLOAD_TARGET_TAKEN, path=destination)
        if not plan.files:
            raise error(FailureCode.HUB_ANSWER_BROKEN, hub=plan.address.name, reason="it lists no files of the model")
        for file in plan.files:
            if not is_safe_path(file.path):
                reason = f"it lists a file named {file.path[:100]!r}"
                raise error(FailureCode.HUB_ANSWER_BROKEN, hub=plan.address.name, reason=reason)
        folder = destination.parent / HOLDING_FOLDER / destination.name
        holding = cls(folder, DownloadRecord(plan=plan, added_at=time.time()))
        with storage_errors(folder):
            known = _read_record(folder)
            if folder.exists() and (known is None or known.plan != plan):
                with holding.held():
                    holding.discard()
            # In this order: a folder without files/ that has a record is one whose files were placed.
            holding.parts.mkdir(parents=True, exist_ok=True)
            holding.files.mkdir(exist_ok=True)
        holding.save()
        return holding

    @property
    def parts(self) -> Path:
        """The folder of the files under way."""
        return self.folder / "parts"

    @property
    def files(self) -> Path:
        """The folder of the whole files."""
        return self.folder / "files"

    def part(self, file: HubFile) -> Path:
        """Where a file is gathered; the folders above it are made."""
        path = self.parts / f"{file.path}.part"
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, file: HubFile) -> bool:
        """Whether this file is whole."""
        try:
            return (self.files / file.path).stat().st_size == file.size
        except OSError:
            return False

    def keep(self, file: HubFile) -> None:
        """A file's part is whole and on disk: make it one of the files."""
        path = self.files / file.path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.part(file), path)

    def bytes_on_disk(self) -> int:
        """What was fetched so far, whole files and parts."""
        return sum(_size(self.files / file.path) or _size(self.parts / f"{file.path}.part") for file in self.plan.files)

    @property
    def plan(self) -> DownloadPlan:
        """What is fetched."""
        return self.record.plan

    def save(self, *, paused: bool = False, failure: Failure | None = None) -> None:
        """Write down how it stands."""
        self.record = msgspec.structs.replace(self.record, paused=paused, failure=failure)
        with storage_errors(self.folder):
            _write_json(self.folder / _RECORD_FILE, self.record)

    def was_placed(self) -> bool:
        """Whether the process ended between placing the files and removing this folder."""
        return not self.files.exists() and read_origin(Path(self.plan.destination)) == self.plan

    def place(self) -> None:
        """Every file is whole: let the model appear, by one rename, and remove this folder.

        A repair replaces file by file instead, since the folder is there. Raises TurbodeskError.
        """
        destination = Path(self.plan.destination)
        with storage_errors(destination):
            if self.plan.repair:
                for file in self.plan.files:
                    if self.has(file):
                        (destination / file.path).parent.mkdir(parents=True, exist_ok=True)
                        os.replace(self.files / file.path, destination / file.path)
            else:
                _write_json(self.files / ORIGIN_FILE, self.plan)
                for folder, _, _ in os.walk(self.files):
                    _sync(Path(folder))
                try:
                    if os.path.lexists(destination):
                        raise FileExistsError(errno.EEXIST, "it exists")
                    os.rename(self.files, destination)
                except OSError as problem:
                    if problem.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise error(FailureCode.DOWNLOAD_TARGET_TAKEN, path=destination) from problem
                    raise
            _sync(destination.parent)
        self.discard()

    def discard(self) -> None:
        """Remove everything that was fetched, and the folder."""
        with storage_errors(self.folder):
            # The record first: should the process end now, the rest is no download any more.
            (self.folder / _RECORD_FILE).unlink(missing_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)
            try:
                self.folder.parent.rmdir()
            except OSError:  # another download waits there
                return

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes away from the folder; raises TurbodeskError where one works on it."""
        with storage_errors(self.folder):
            file = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise error(FailureCode.DOWNLOAD_RUNS_ELSEWHERE, model=self.plan.model_id) from None
            yield
        finally:
            os.close(file)


def unfinished(models: Path) -> list[Holding]:
    """The downloads that wait beside the models in this folder, in the order they were added. What is left of one
    that was discarded is removed.
    """
    try:
        folders = list((models / HOLDING_FOLDER).iterdir())
    except OSError:
        return []
    found = []
    for folder in folders:
        if not (folder / _RECORD_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            continue
        record = _read_record(folder)
        # A record that was copied here from elsewhere must not let anything be written elsewhere.
        if record is not None and Path(record.plan.destination) == models / folder.name:
            found.append(Holding(folder, record))
    return sorted(found, key=lambda holding: holding.record.added_at)


def read_origin(folder: Path) -> DownloadPlan | None:
    """Where a model folder came from and what its files must be; None where it was not fetched by Turbodesk."""
    try:
        return msgspec.json.decode((folder / ORIGIN_FILE).read_bytes(), type=DownloadPlan)
    except (OSError, msgspec.DecodeError):
        return None


def is_whole(path: Path, file: HubFile, is_cancelled: IsCancelled = never) -> bool:
    """Whether a file on disk is what the hub publishes: size, and hash where there is one. Raises Cancelled."""
    try:
        if path.stat().st_size != file.size:
            return False
        if file.sha256:
            digest = hashlib.sha256()
        elif file.git_sha1:
            digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        else:
            return True
        with path.open("rb", buffering=0) as content:
            while piece := content.read(_PIECE):
                if is_cancelled():
                    raise Cancelled
                digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest() == (file.sha256 or file.git_sha1)


def _read_record(folder: Path) -> DownloadRecord | None:
    try:
        return msgspec.json.decode((folder / _RECORD_FILE).read_bytes(), type=DownloadRecord)
    except (OSError, msgspec.DecodeError):
        return None


def _write_json(path: Path, value: msgspec.Struct) -> None:
    partial = path.with_suffix(".new")
    with partial.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
