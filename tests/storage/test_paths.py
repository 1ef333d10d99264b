"""The system's folders, or everything below one."""

from __future__ import annotations

from pathlib import Path

import pytest

from desktop.storage.paths import app_paths, demo_checkpoint, resources_dir


def test_the_systems_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    paths = app_paths()
    assert paths.data == tmp_path / "DATA" / "turbodesk"
    assert paths.settings == tmp_path / "CONFIG" / "turbodesk" / "settings.json"
    assert paths.cache == tmp_path / "CACHE" / "turbodesk"
    assert paths.log.is_relative_to(tmp_path / "STATE" / "turbodesk")
    assert list(tmp_path.iterdir()) == [], "asking makes no folders"


def test_one_folder_for_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    paths = app_paths(Path("mine"))
    assert paths.data == tmp_path / "mine"
    assert paths.conversations == tmp_path / "mine" / "conversations.db"
    assert {paths.config, paths.cache, paths.log} == {tmp_path / "mine" / name for name in ("config", "cache", "log")}
    assert list(tmp_path.iterdir()) == []


def test_resources_lie_beside_the_package() -> None:
    assert resources_dir() == Path(__file__).parents[2] / "resources"
    assert demo_checkpoint().parent == resources_dir()
