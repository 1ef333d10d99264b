"""Calibration text: where it comes from, and what a set of it looks like in figures."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class ShippedText(msgspec.Struct, frozen=True, tag="shipped"):
    """The text that comes with Turbodesk. parts: of "english", "chinese" and "code"."""

    parts: tuple[str, ...] = ("english", "chinese", "code")


class TextFile(msgspec.Struct, frozen=True, tag="text_file"):
    """Plain text, paragraphs apart by empty lines."""

    path: str


class JsonLinesFile(msgspec.Struct, frozen=True, tag="json_lines"):
    """An object a line: `text`, or `messages` in OpenAI's style, or `conversations` with `from` and `value`."""

    path: str


class CalibrationMessage(msgspec.Struct, frozen=True):
    """One message of a conversation. role: "system", "user", "assistant" or "tool"."""

    role: str
    content: str


class Conversations(msgspec.Struct, frozen=True, tag="conversations"):
    """Conversations as they are; the model's chat template is put around them."""

    conversations: tuple[tuple[CalibrationMessage, ...], ...]


class BuiltInSet(msgspec.Struct, frozen=True, tag="built_in"):
    """One of LMDeploy's own sets, which it fetches from Hugging Face and samples in its own way. It stands alone.

    name: a key of BUILT_IN_SETS. mirror: of Hugging Face, an address; "": Hugging Face itself.
    """

    name: str
    mirror: str = ""


BUILT_IN_SETS = {
    "wikitext2": "WikiText-2, articles in English",
    "c4": "C4, web pages in English",
    "pileval": "Pile validation, mixed text and code",
    "openwebtext": "OpenWebText, web pages in English",
    "gsm8k": "GSM8K, questions of school mathematics",
    "neuralmagic_calibration": "Neural Magic's set, chats in English",
    "open-platypus": "Open-Platypus, chats on science and logic",
}
"""By the name that LMDeploy has for it (lmdeploy/lite/utils/calib_dataloader.py), what it holds."""

CalibrationSource = ShippedText | TextFile | JsonLinesFile | Conversations | BuiltInSet


def built_in_set(sources: Sequence[CalibrationSource]) -> BuiltInSet | None:
    """The set of LMDeploy's among these, which is then the only one."""
    return next((source for source in sources if isinstance(source, BuiltInSet)), None)


class LengthBin(msgspec.Struct, frozen=True):
    """How many pieces have at least `least` tokens and fewer than the next bin."""

    least: int
    count: int


class CalibrationStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A set in figures. A piece is a conversation, a line of JSON, or a few paragraphs of plain text.

    pieces: that may be used; duplicates: left out because they were there before; held_out: kept for the verdict, never
    used for calibration. tokens: of the pieces that may be used, counted until there were enough for the samples
    unless all were asked for (`counted_all`). Of a built-in set of LMDeploy only the tokens of its samples are known,
    and pieces is 0. samples: sequences that came of it, of `sequence_length` tokens each;
    wanted: that were asked for. lengths: of the counted pieces. sha256: of the tokens of the samples as 64-bit
    little-endian numbers, "" without samples. warnings: sentences.
    """

    pieces: int
    duplicates: int
    held_out: int
    characters: int
    tokens: int
    counted_all: bool
    samples: int
    wanted: int
    sequence_length: int
    lengths: tuple[LengthBin, ...] = ()
    sha256: str = ""
    warnings: tuple[str, ...] = ()
