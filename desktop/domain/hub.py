"""What a hub says about a model before it is fetched: its files, their sizes and hashes, licence, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec

RESERVE = 2 << 30  # bytes that a download leaves free on the disk
_PATH_LENGTH = 1000  # characters
_NAME_LENGTH = 255  # bytes, what Linux' file systems take


class HubKind(StrEnum):
    """Whose routes a hub speaks."""

    HUGGING_FACE = "huggingface"
    MODELSCOPE = "modelscope"


class HubAddress(msgspec.Struct, frozen=True):
    """A hub. endpoint: its address without a path, as https://huggingface.co or that of a mirror."""

    kind: HubKind
    endpoint: str

    @property
    def name(self) -> str:
        """How it is called in a sentence."""
        return urlsplit(self.endpoint).netloc.rpartition("@")[2] or self.endpoint


HUGGING_FACE = HubAddress(HubKind.HUGGING_FACE, "https://huggingface.co")
MODELSCOPE = HubAddress(HubKind.MODELSCOPE, "https://modelscope.cn")


class HubHit(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a search. Numbers and dates are the hub's own. updated_at: seconds since 1970, None if unknown."""

    model_id: str
    downloads: int
    likes: int
    gated: bool
    licence: str
    tags: tuple[str, ...]
    updated_at: float | None


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model. path: below the model's folder, with slashes. size: bytes.

    sha256: of the content, for files that publish one. git_sha1: git's blob id, for small files of Hugging Face. Both
    in hexadecimal, "" where there is none.
    """

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a model. revision: a commit where the hub has them, so that it never changes.

    gated: whether the hub gives it only to accounts that accepted conditions. licence: its identifier, "" if unknown.
    """

    address: HubAddress
    model_id: str
    revision: str
    files: tuple[HubFile, ...]
    gated: bool
    licence: str
    tags: tuple[str, ...] = ()

    @property
    def folder_name(self) -> str:
        """The name of its folder on disk: owner and name, which no other model of that hub has."""
        return self.model_id.replace("/", "--")


class DownloadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch, from where, and the folder that it becomes. repair: the folder is there and is mended.

    It is also kept in the folder itself, as what it was when it was whole.
    """

    address: HubAddress
    model_id: str
    revision: str
    files: tuple[HubFile, ...]
    destination: str
    licence: str = ""
    repair: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def mirror_address(text: str) -> HubAddress | None:
    """The mirror of Hugging Face that the user means by this; None where it is no address."""
    text = text.strip()
    text = (text if "://" in text else f"https://{text}").rstrip("/")
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return HubAddress(HubKind.HUGGING_FACE, text) if known and not any(map(str.isspace, text)) else None


def is_model_id(text: str) -> bool:
    """Whether this can be a model's name on a hub: owner/name, or a name alone."""
    parts = text.split("/")
    return len(text) <= 200 and len(parts) <= 2 and all(part and is_safe_path(part) for part in parts)


def is_safe_path(path: str) -> bool:
    """Whether a file may have this path below a model's folder: no way out of it, and no characters that deceive."""
    if len(path) > _PATH_LENGTH or "\\" in path or not path.isprintable():
        return False
    parts = path.split("/")
    return all(part not in ("", ".", "..") and len(part.encode()) <= _NAME_LENGTH for part in parts)


def wanted_files(files: Sequence[HubFile]) -> tuple[HubFile, ...]:
    """The files that an engine or a reader of the model needs; copies of the weights in other formats are left out.

    Pickled weights are left out where there are safetensors files, and formats that LMDeploy cannot read always.
    """
    has_safetensors = any(file.path.endswith(".safetensors") and "/" not in file.path for file in files)
    return tuple(file for file in files if not _is_other_format(PurePosixPath(file.path), has_safetensors))


_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OTHER_FORMATS = (".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite", ".mlmodel", ".nemo", ".pdparams")
_OTHER_FOLDERS = ("onnx", "openvino", "original", "metal", "coreml", "gguf", "figures", "assets")


def _is_other_format(path: PurePosixPath, has_safetensors: bool) -> bool:
    suffix = path.suffix.lower()
    if suffix in _OTHER_FORMATS or path.name in (".gitattributes", ".gitignore", ".msc", ".mv"):
        return True
    return has_safetensors and (suffix in _PICKLES or (len(path.parts) > 1 and path.parts[0] in _OTHER_FOLDERS))
