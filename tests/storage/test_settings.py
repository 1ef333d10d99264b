"""Settings come back as they were saved, or as defaults with a sentence; the file is never half of anything."""

from __future__ import annotations

import json
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from desktop.domain.conversation import ChatSettings, WhenFull
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import SamplingParams, ToolSpec
from desktop.storage import settings as settings_module
from desktop.storage.settings import Settings, SettingsStore

CHANGED = Settings(
    checkpoint="/models/名\udcff",
    engine=EngineConfig(backend=Backend.CPU, devices=(0,), session_len=2048, quant_policy=8, hf_overrides={"a": [1]}),
    chat=ChatSettings(
        system_prompt="Be brief.\x00\n",
        params=SamplingParams(temperature=0.0, seed=2**62, stop=("</s>", "停")),
        tools=("calculator",),
    ),
    presets={"Für Code": ChatSettings(preset="Für Code", thinking=True, when_full=WhenFull.STOP)},
    tools=(ToolSpec(name="weather", description="", parameters={"type": "object"}),),
    run_engine_in_window_process=True,
    theme="dark",
    geometry="AdnQywAD",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.json"


def save_code(path: Path, settings: Settings = CHANGED) -> FailureCode:
    with pytest.raises(TurbodeskError) as caught:
        SettingsStore(path).save(settings)
    return caught.value.failure.code


def test_a_first_start_has_the_defaults(path: Path) -> None:
    assert SettingsStore(path).load() == (Settings(), "")
    assert not path.parent.exists(), "loading writes nothing"


def test_what_is_saved_comes_back(path: Path) -> None:
    store = SettingsStore(path)
    store.save(Settings())
    store.save(CHANGED)
    assert store.load() == (CHANGED, "")
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.json"]
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    assert json.loads(path.read_text())["version"] == 2


@hypothesis_settings(deadline=None, max_examples=50)
@given(text=st.text(st.characters(exclude_categories=())), temperature=st.floats(allow_nan=False))
def test_any_text_and_number_comes_back(text: str, temperature: float) -> None:
    saved = Settings(
        checkpoint=text, chat=ChatSettings(system_prompt=text, params=SamplingParams(temperature=temperature))
    )
    with tempfile.TemporaryDirectory() as folder:
        store = SettingsStore(Path(folder) / "settings.json")
        store.save(saved)
        assert store.load() == (saved, "")


def test_missing_fields_get_defaults_and_unknown_ones_are_ignored(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"theme": "light", "colour": "blue", "engine": {"tp": 2, "warp": 9}}')
    assert SettingsStore(path).load() == (Settings(theme="light", engine=EngineConfig(tp=2)), "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\xff",
        b"[]",
        b'"text"',
        b'{"theme": "pink"}',
        b'{"engine": {"tp": "two"}}',
        b'{"version": "1"}',
        b'{"version": 0}',
        b'{"version": -5}',
        b"[" * 100_000,
        b'{"engine": {"session_len": ' + b"9" * 5000 + b"}}",
    ],
)
def test_a_damaged_file_is_kept_and_reported(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    store = SettingsStore(path)
    loaded, note = store.load()
    assert loaded == Settings()
    kept = path.with_name("settings.broken.json")
    assert "damaged" in note
    assert str(kept) in note
    assert kept.read_bytes() == content
    store.save(CHANGED)
    assert store.load() == (CHANGED, "")
    assert kept.read_bytes() == content


def test_an_older_file_is_lifted_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_2(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "prompt": raw["preamble"].upper()}

    def to_3(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "checkpoint": raw["prompt"] + "!"}

    path.parent.mkdir()
    path.write_text('{"version": 1, "preamble": "hello"}')
    monkeypatch.setattr(settings_module, "VERSION", 3)
    monkeypatch.setattr(settings_module, "_MIGRATIONS", {1: to_2, 2: to_3})
    assert SettingsStore(path).load() == (Settings(version=3, checkpoint="HELLO!"), "")
    path.write_text('{"version": 2}')
    assert SettingsStore(path).load()[0] == Settings(), "a step that finds no sense in the file means damage"


def test_the_sampling_of_version_1_becomes_that_of_all_conversations(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"version": 1, "sampling": {"temperature": 0.2}, "system_prompt": "Be brief.", "theme": "dark"}')
    params = SamplingParams(temperature=0.2)
    chat = ChatSettings(system_prompt="Be brief.", params=params, as_recommended=False)
    assert SettingsStore(path).load() == (Settings(chat=chat, theme="dark"), "")
    path.write_text('{"version": 1, "sampling": {"temperature": 0.7, "top_p": 0.95, "top_k": 40}}')
    assert SettingsStore(path).load() == (Settings(), ""), "what was never changed follows the model's own"


def test_a_newer_file_is_used_as_far_as_it_is_known_and_copied(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"version": 7, "theme": "dark", "hologram": true}')
    loaded, note = SettingsStore(path).load()
    assert loaded == Settings(theme="dark")
    assert "newer" in note
    assert path.with_name("settings.v7.json").read_bytes() == path.read_bytes()


def test_a_file_that_may_not_be_read(ordinary_folder: Path) -> None:
    path = ordinary_folder / "settings.json"
    SettingsStore(path).save(CHANGED)
    path.chmod(0)
    loaded, note = SettingsStore(path).load()
    assert loaded == Settings()
    assert "cannot be read" in note


def test_a_folder_that_may_not_be_written(ordinary_folder: Path) -> None:
    path = ordinary_folder / "settings.json"
    path.write_text('{"theme": "pink"}')
    ordinary_folder.chmod(0o500)
    assert save_code(path) is FailureCode.STORAGE_NOT_WRITABLE
    assert save_code(ordinary_folder / "deeper" / "settings.json") is FailureCode.STORAGE_NOT_WRITABLE
    assert "could not be copied aside" in SettingsStore(path).load()[1]
    assert path.read_text() == '{"theme": "pink"}'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_keeps_the_old_settings_and_a_retry_saves(path: Path) -> None:
    store = SettingsStore(path)
    store.save(Settings(theme="light"))
    path.with_suffix(".part").symlink_to("/dev/full")
    assert save_code(path) is FailureCode.DISK_FULL
    assert store.load() == (Settings(theme="light"), "")
    store.save(CHANGED)
    assert store.load() == (CHANGED, "")


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    path = small_disk / "settings.json"
    store = SettingsStore(path)
    store.save(CHANGED)
    assert save_code(path, Settings(checkpoint="x" * 300_000)) is FailureCode.DISK_FULL
    assert store.load() == (CHANGED, "")
    assert [entry.name for entry in small_disk.iterdir()] == ["settings.json"], "no half of a file stays"
