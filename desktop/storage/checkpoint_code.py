"""What a model would run on this machine: its own Python files and its pickles. Reads them as text, never runs them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from desktop.domain.one_line import one_line
from desktop.domain.shelf import ShelfEntry
from desktop.storage.checkpoint_reader import read_pickles
from desktop.storage.folder_listing import FolderListing, list_folder
from desktop.storage.small_files import read_small

_TEXT_LIMIT = 1 << 20  # bytes of a file that are shown
_HASH_LIMIT = 64 << 20
_JSON_LIMIT = 16 << 20
_CONFIGS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)
_CUSTOM_GENERATE = "custom_generate/generate.py"
# Every repetition has an end: without it a hostile file takes the square of its length.
_RELATIVE_IMPORT = re.compile(
    r"^[ \t]{0,40}from\s{1,40}(\.{1,20})([\w.]{0,200})\s{1,40}import\s{1,40}(?:\(([^)]{0,1000})\)|([^\n(]{0,1000}))",
    re.MULTILINE,
)


class CodeFile(msgspec.Struct, frozen=True, kw_only=True):
    """A Python file of the model. name: its path in the folder. size: bytes. starts: whether a config names it.

    text: to be read before it is trusted; cut where `size` says that there is more.
    """

    name: str
    size: int
    text: str
    starts: bool


class PickleFile(msgspec.Struct, frozen=True, kw_only=True):
    """A weights file that can run programs when it is opened. name: in the folder. size: bytes."""

    name: str
    size: int


class CodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """identity: stands for exactly these files of this revision. elsewhere: repositories whose code the configs name.

    files: what would be run first, then what it may import. pickles: what would be opened for the weights.
    """

    path: str
    revision: str
    identity: str
    files: tuple[CodeFile, ...] = ()
    elsewhere: tuple[str, ...] = ()
    pickles: tuple[PickleFile, ...] = ()

    @property
    def needs_consent(self) -> bool:
        """Whether there is anything to ask for."""
        return bool(self.files or self.elsewhere or self.pickles)


def read_code(entry: ShelfEntry) -> CodeReport:
    """Everything that consent would let run. Raises OSError or TurbodeskError where the folder cannot be read.

    A model without auto_map runs none of its files. One with it runs the modules named there, and through their
    imports any other Python file of the folder, so all of them count. A model that is trusted for its pickles runs what
    Transformers runs of every trusted one (load_custom_generate in generation/utils.py). The pickles are looked for
    anew, for files may have come since the scan.
    """
    folder = Path(entry.path)
    listing = list_folder(folder)
    modules, elsewhere = _named_modules(folder)
    pickles = {name: os.stat(folder / name) for name in read_pickles(folder)}
    if pickles and _CUSTOM_GENERATE in listing.files:
        modules.add(_CUSTOM_GENERATE)
    files = []
    if modules or elsewhere:
        started = _reached(folder, listing, modules)
        files = [_code_file(folder, listing, name, name in started) for name in listing.files if name.endswith(".py")]
        files.sort(key=lambda file: (not file.starts, file.name))
    return CodeReport(
        path=entry.path,
        revision=entry.source.revision,
        identity=_identity(entry, pickles, files, sorted(elsewhere)),
        files=tuple(files),
        elsewhere=tuple(sorted(elsewhere)),
        pickles=tuple(PickleFile(name=name, size=facts.st_size) for name, facts in pickles.items()),
    )


def _named_modules(folder: Path) -> tuple[set[str], set[str]]:
    """The files that the configs' auto_map name, and the repositories elsewhere."""
    modules, elsewhere = set(), set()
    for name in _CONFIGS:
        content = read_small(folder / name, _JSON_LIMIT)
        if content is None:
            continue
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            continue
        for reference in _references(found):
            repo, _, symbol = reference.rpartition("--")
            if repo:
                elsewhere.add(one_line(repo, 200))
            elif "." in symbol:
                modules.add(f"{symbol.rpartition('.')[0].replace('.', '/')}.py")
    return modules, elsewhere


def _references(config: object) -> Iterator[str]:
    """The values of auto_map, of the config and of its parts; a value may be a list with null in it."""
    parts = [config]
    if isinstance(config, dict):
        parts += [value for key, value in config.items() if key.endswith("_config")]
    for part in parts:
        values = part.get("auto_map") if isinstance(part, dict) else None
        if isinstance(values, list | str):
            values = {"": values}
        if isinstance(values, dict):
            for value in values.values():
                yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))


def _reached(folder: Path, listing: FolderListing, modules: Iterable[str]) -> set[str]:
    """The modules and what they import by relative imports, as far as the folder has it."""
    reached: set[str] = set()
    waiting = [name for name in modules if name in listing.files]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        text = (read_small(folder / name, _TEXT_LIMIT) or b"").decode(errors="replace")
        parents = name.split("/")[:-1]
        for dots, module, several, one in _RELATIVE_IMPORT.findall(text):
            if len(dots) > len(parents) + 1:
                continue
            base = "/".join([*parents[: len(parents) + 1 - len(dots)], *filter(None, module.split("."))])
            inside = [f"{base}/{word}" if base else word for word in ("__init__", *re.findall(r"\w+", several or one))]
            waiting += [file for file in (f"{found}.py" for found in [base, *inside]) if file in listing.files]
    return reached


def _code_file(folder: Path, listing: FolderListing, name: str, starts: bool) -> CodeFile:
    text = (read_small(folder / name, _TEXT_LIMIT) or b"").decode(errors="replace")
    return CodeFile(name=name, size=listing.files[name].size, text=text, starts=starts)


def _identity(
    entry: ShelfEntry, pickles: Mapping[str, os.stat_result], files: Iterable[CodeFile], elsewhere: list[str]
) -> str:
    """Of the revision, the code's every byte, and the pickles' size and times: their bytes would take minutes."""
    found = hashlib.sha256(f"{entry.source.revision}\n{elsewhere}\n".encode(errors="surrogatepass"))
    for file in sorted(files, key=lambda file: file.name):
        content = read_small(os.path.join(entry.path, file.name), _HASH_LIMIT) or b""
        found.update(f"{file.name}\n{file.size}\n".encode(errors="surrogatepass"))
        found.update(hashlib.sha256(content).digest())
    for name, facts in pickles.items():
        stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino)
        found.update(f"{name}\n{stamp}\n".encode(errors="surrogatepass"))
    return found.hexdigest()
