"""Reads a model's card: the facts of its README's head, the README's text, and its licence."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from desktop.domain.one_line import one_line
from desktop.domain.shelf import CardSummary
from desktop.storage.small_files import read_small

_HEAD_LIMIT = 64 << 10  # bytes; results of evaluations make some heads long
_TEXT_LIMIT = 256 << 10
_WORD_LIMIT = 120  # characters of one fact
_LIST_LIMIT = 100
_DEPTH_LIMIT = 16  # of nested collections; libyaml's time grows with the square of it
_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_README = re.compile(r"readme(\.(md|markdown|txt|rst))?", re.IGNORECASE)
_LICENSE = re.compile(r"(licen[cs]e|copying)(\.(md|txt))?", re.IGNORECASE)


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """The texts to show. text: the README without its head. license_text: of the licence file. "" where there is none.

    cut: whether a text was longer than is shown.
    """

    summary: CardSummary
    text: str = ""
    license_text: str = ""
    cut: bool = False


def read_summary(folder: Path, names: Collection[str]) -> CardSummary:
    """The facts alone; names: of the folder's files. Never raises for what a file holds."""
    readme = _find(_README, names)
    content = read_small(folder / readme, _HEAD_LIMIT) if readme else None
    return _summary(content.decode(errors="replace")) if content else CardSummary()


def read_card(path: str) -> ModelCard:
    """The card of a model folder. Never raises: what cannot be read is empty."""
    folder = Path(path)
    try:
        names = [name for name in os.listdir(folder) if len(name) < 40]
    except (OSError, ValueError):
        names = []
    text, cut = _text(folder, _find(_README, names))
    license_text, license_cut = _text(folder, _find(_LICENSE, names))
    head = _HEAD.match(text)
    return ModelCard(
        summary=_summary(text),
        text=text[head.end() :].lstrip() if head else text,
        license_text=license_text,
        cut=cut or license_cut,
    )


def _find(pattern: re.Pattern[str], names: Collection[str]) -> str | None:
    return min((name for name in names if pattern.fullmatch(name)), default=None)


def _text(folder: Path, name: str | None) -> tuple[str, bool]:
    content = (read_small(folder / name, _TEXT_LIMIT + 1) if name else None) or b""
    return content[:_TEXT_LIMIT].decode(errors="replace"), len(content) > _TEXT_LIMIT


def _summary(text: str) -> CardSummary:
    head = _HEAD.match(text)
    if head is None:
        return CardSummary()
    import yaml

    facts: dict[str, list[str]] = {}
    try:
        for key, value in _top_level(head[1]):
            facts.setdefault(key, [])
            if len(facts[key]) < _LIST_LIMIT:
                facts[key].append(one_line(value, _WORD_LIMIT))
    except (yaml.YAMLError, ValueError):
        pass  # what came before the mistake still counts
    return CardSummary(
        license=_only(facts, "license"),
        license_name=_only(facts, "license_name"),
        license_link=_only(facts, "license_link"),
        languages=tuple(facts.get("language", ())),
        base_models=tuple(facts.get("base_model", ())),
        task=_only(facts, "pipeline_tag"),
    )


def _only(facts: dict[str, list[str]], key: str) -> str:
    return next(iter(facts.get(key, ())), "")


def _top_level(text: str) -> Iterator[tuple[str, str]]:
    """Each plain value of the outermost mapping with its key; of a list each plain item with the list's key.

    From the parser's events and not from loaded values: those are built by recursion, which text of 60,000 brackets
    ends with a crash of the process, and anchors can make them larger than memory.
    """
    import yaml

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    depth, key, wants_key, in_list = 0, "", True, False
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            is_list = isinstance(event, yaml.SequenceStartEvent)
            depth += 1
            if depth > _DEPTH_LIMIT or (depth == 1 and is_list):
                return
            if depth == 2:
                in_list = is_list and not wants_key
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            if depth == 1:
                if wants_key:
                    key = ""  # it was a collection
                wants_key = not wants_key
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            value = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if depth == 1 and wants_key:
                key = value
            elif key and value not in ("", "null", "~") and (depth == 1 or (depth == 2 and in_list)):
                yield key, value
            if depth == 1:
                wants_key = not wants_key
