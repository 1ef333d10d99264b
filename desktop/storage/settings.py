"""The settings: declared once, typed, versioned, and saved in one piece."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from desktop.domain.conversation import ChatSettings
from desktop.domain.engine_config import EngineConfig
from desktop.domain.generation import SamplingParams, ToolSpec
from desktop.storage.errors import storage_errors

VERSION = 2

# version -> what lifts a file's content of that version to the next
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: lambda raw: _to_version_2(raw)}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the window remembers. checkpoint: the last used model folder. geometry: of the window, base64 of Qt's bytes.
    model_folders: searched for models, beside the caches of the hubs. download_folder: where models from a hub go, ""
    for Turbodesk's own. hub: where they are looked for; hub_mirror: the address of a mirror of Hugging Face.

    chat: how conversations without settings of their own talk to the model. presets: by name. tools: those the user
    declared. always_allowed_tools: names of built-in tools that never ask. propose_titles: by the model.
    A new field needs a default; a field that changes its meaning needs a new VERSION and a migration.
    """

    version: int = VERSION
    checkpoint: str = ""
    model_folders: tuple[str, ...] = ()
    download_folder: str = ""
    hub: Literal["huggingface", "mirror", "modelscope"] = "huggingface"
    hub_mirror: str = ""
    engine: EngineConfig = EngineConfig()
    chat: ChatSettings = ChatSettings()
    presets: dict[str, ChatSettings] = {}
    tools: tuple[ToolSpec, ...] = ()
    always_allowed_tools: tuple[str, ...] = ()
    propose_titles: bool = True
    run_engine_in_window_process: bool = False
    theme: Literal["system", "light", "dark"] = "system"
    geometry: str | None = None


class SettingsStore:
    """The settings in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[Settings, str]:
        """The settings, and a sentence for the user when they are not what was saved ("" when all is well).

        Never raises: a missing file means the defaults, a file that cannot be read or understood the defaults and a
        sentence. Since the next save writes only what is known here, a file that cannot be understood is copied to
        settings.broken.json first, and one of a newer version to settings.v<version>.json.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Settings(), ""
        except OSError as problem:
            return Settings(), f"The settings cannot be read, so the defaults are used ({problem})."
        try:
            raw = json.loads(content)
            found = msgspec.convert(raw, _Version).version
            for version in range(found, VERSION):
                raw = _MIGRATIONS[version](raw)
            settings = msgspec.convert({**raw, "version": VERSION}, Settings)
        except (ValueError, LookupError, TypeError, RecursionError) as problem:
            kept = self._keep_copy("broken")
            return Settings(), f"The settings file is damaged, so the defaults are used ({problem}). {kept}"
        if found > VERSION:
            kept = self._keep_copy(f"v{found}")
            return settings, f"The settings were saved by a newer Turbodesk; those known here are used. {kept}"
        return settings, ""

    def save(self, settings: Settings) -> None:
        """Replace the file in one step: after a crash it holds the old or the new settings. Raises TurbodeskError."""
        # The standard library's JSON, because msgspec's refuses the lone surrogates of a path that is not UTF-8.
        text = json.dumps(msgspec.to_builtins(settings), indent=2)
        partial = self._path.with_suffix(".part")
        with storage_errors(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with partial.open("w", encoding="ascii") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(partial, self._path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def _keep_copy(self, word: str) -> str:
        kept = self._path.with_suffix(f".{word}.json")
        try:
            shutil.copyfile(self._path, kept)
        except OSError as problem:
            return f"It could not be copied aside ({problem})."
        return f"A copy is kept as {kept}."


def _to_version_2(raw: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had the sampling and the system prompt by themselves. What was never changed follows the model now."""
    params = msgspec.convert(raw.pop("sampling", {}), SamplingParams)
    chat = ChatSettings(
        system_prompt=msgspec.convert(raw.pop("system_prompt", ""), str),
        params=params,
        as_recommended=params == SamplingParams(),
    )
    return {**raw, "chat": msgspec.to_builtins(chat)}


class _Version(msgspec.Struct):
    version: int = VERSION
