"""What the models page lists: an entry for each model folder, with what is known of it, or what is wrong."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from desktop.domain.checkpoint import Checkpoint, CheckpointConfig
from desktop.domain.errors import Failure
from desktop.domain.one_line import one_line


class SourceKind(StrEnum):
    """Where a model folder lies."""

    FOLDER = "folder"
    HUGGING_FACE = "hugging_face"
    MODELSCOPE = "modelscope"
    OWN = "own"
    DOWNLOADED = "downloaded"

    @property
    def words(self) -> str:
        """For the screen."""
        return _SOURCE_WORDS[self]


_SOURCE_WORDS = {
    SourceKind.FOLDER: "Folder",
    SourceKind.HUGGING_FACE: "Hugging Face cache",
    SourceKind.MODELSCOPE: "ModelScope cache",
    SourceKind.OWN: "Quantized here",
    SourceKind.DOWNLOADED: "Downloaded here",
}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model folder comes from. repo_id: as on the hub, "" where it is not known.

    revision: a commit hash, or the branch's name where only that is known, or "". refs: branches and tags that point
    to this revision.
    """

    kind: SourceKind = SourceKind.FOLDER
    repo_id: str = ""
    revision: str = ""
    refs: tuple[str, ...] = ()


class Precision(StrEnum):
    """How weights are stored."""

    BITS_16 = "16bit"
    BITS_32 = "32bit"
    AWQ = "awq"
    GPTQ = "gptq"
    COMPRESSED_TENSORS = "compressed_tensors"
    FP8 = "fp8"
    MXFP4 = "mxfp4"
    W8A8 = "w8a8"
    OTHER = "other"

    @property
    def words(self) -> str:
        """For the screen."""
        return _PRECISION_WORDS[self]


_PRECISION_WORDS = {
    Precision.BITS_16: "16-bit",
    Precision.BITS_32: "32-bit",
    Precision.AWQ: "AWQ",
    Precision.GPTQ: "GPTQ",
    Precision.COMPRESSED_TENSORS: "compressed-tensors",
    Precision.FP8: "FP8",
    Precision.MXFP4: "MXFP4",
    Precision.W8A8: "W8A8 (SmoothQuant)",
    Precision.OTHER: "another quantization",
}
_METHODS = {
    "awq": Precision.AWQ,
    "gptq": Precision.GPTQ,
    "compressed-tensors": Precision.COMPRESSED_TENSORS,
    "fp8": Precision.FP8,
    "mxfp4": Precision.MXFP4,
    "smooth_quant": Precision.W8A8,
}


PLAIN = (Precision.BITS_16, Precision.BITS_32)  # what can be quantized


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a README's head, "" or empty where it does not say. license: its short name, as "apache-2.0"."""

    license: str = ""
    license_name: str = ""
    license_link: str = ""
    languages: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    task: str = ""


class ShelfEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model folder.

    signature: changes with any file's name, size or time. checkpoint: None where `failure` says what is wrong.
    readable_config: where only the weights are wrong. disk_bytes: of all its files, a file of two names once.
    modified: seconds since the epoch, of its newest file. code_files: Python files in the folder. hidden_files: whether
    there were more files than were looked at.
    """

    path: str
    name: str
    source: Source
    signature: str
    disk_bytes: int
    modified: float
    checkpoint: Checkpoint | None = None
    readable_config: CheckpointConfig | None = None
    failure: Failure | None = None
    card: CardSummary = CardSummary()
    code_files: tuple[str, ...] = ()
    hidden_files: bool = False

    @property
    def title(self) -> str:
        """The name to list it under: the hub's where it is known."""
        return self.source.repo_id or self.name

    @property
    def config(self) -> CheckpointConfig | None:
        """What config.json says, also where the weights are wrong."""
        return self.checkpoint or self.readable_config

    @property
    def pickles(self) -> tuple[str, ...]:
        """Its weights files, where they can run programs when they are opened."""
        return () if self.checkpoint is None else self.checkpoint.pickles

    @property
    def needs_consent(self) -> bool:
        """Whether it brings a program of its own: Python code that is to be run, or pickle weights."""
        return bool(self.pickles) or (self.config is not None and self.config.needs_remote_code)

    @property
    def precision(self) -> Precision | None:
        """How the weights are stored; None where that is not known."""
        return None if self.checkpoint is None else precision_of(self.checkpoint)

    @property
    def precision_words(self) -> str:
        """As "AWQ, 4 bits, groups of 128"; "" where that is not known."""
        return "" if self.checkpoint is None else precision_words(self.checkpoint)

    @property
    def family(self) -> str:
        """As "Qwen3"; the config's own word where there is none better, "" without a config."""
        return "" if self.config is None else one_line(family_words(self.config), 60)


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a scan. entries: in the order in which they were found. problems: of roots and their limits.

    removed_aside: folders in which removed models wait for undo or the end.
    """

    entries: tuple[ShelfEntry, ...] = ()
    problems: tuple[Failure, ...] = ()
    removed_aside: tuple[str, ...] = ()
    seconds: float = 0.0


def precision_of(checkpoint: Checkpoint) -> Precision | None:
    """Quantization as config.json names it; without one, by the dtype with the most bytes; None for pickles."""
    if checkpoint.quantization is not None:
        return _METHODS.get(checkpoint.quantization.method, Precision.OTHER)
    if checkpoint.pickles:
        return None
    main = checkpoint.dtypes[0] if checkpoint.dtypes else ""
    if main.startswith("F8"):
        return Precision.FP8
    return {"F16": Precision.BITS_16, "BF16": Precision.BITS_16, "F32": Precision.BITS_32}.get(main, Precision.OTHER)


def precision_words(checkpoint: Checkpoint) -> str:
    """Precision in words, with bits and group size where config.json gives them."""
    kind, packed = precision_of(checkpoint), checkpoint.quantization
    if kind is None:
        return ""
    if packed is None:
        return kind.words
    words = [packed.method if kind is Precision.OTHER else kind.words]
    if packed.bits is not None and kind in (
        Precision.AWQ,
        Precision.GPTQ,
        Precision.COMPRESSED_TENSORS,
        Precision.OTHER,
    ):
        words.append(f"{packed.bits} bits")
    if packed.group_size is not None:
        words.append(f"groups of {packed.group_size}")
    return ", ".join(words)


# The family of a model_type, where its own spelling would not do. The longest beginning counts.
_FAMILIES = {
    "qwen": "Qwen",
    "internlm": "InternLM",
    "internvl": "InternVL",
    "interns": "Intern-S",
    "llama": "Llama",
    "llava": "LLaVA",
    "mistral": "Mistral",
    "mixtral": "Mixtral",
    "gpt_oss": "gpt-oss",
    "gemma": "Gemma",
    "deepseek": "DeepSeek",
    "chatglm": "ChatGLM",
    "glm": "GLM",
    "phi": "Phi",
    "minicpm": "MiniCPM",
    "kimi": "Kimi",
    "baichuan": "Baichuan",
    "falcon": "Falcon",
    "bert": "BERT",
}


def family_words(config: CheckpointConfig) -> str:
    """The family's name with its version: qwen2_5_vl gives "Qwen2.5 VL"."""
    kind = config.model_type.lower()
    for beginning in sorted(_FAMILIES, key=len, reverse=True):
        if kind.startswith(beginning):
            return (_FAMILIES[beginning] + _version_words(kind[len(beginning) :])).strip()
    return config.model_type or config.architecture


def _version_words(rest: str) -> str:
    words = ""
    for part in rest.split("_"):
        if not part:
            continue
        if part.isdigit() and words[-1:].isdigit():
            words += f".{part}"
        elif not words and part[0].isdigit():
            words = part
        else:
            words += f" {part.upper() if len(part) < 3 else part}"
    return words
