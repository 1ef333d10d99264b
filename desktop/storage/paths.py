"""Where Turbodesk keeps its files, and where it finds those it came with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import platformdirs


class AppPaths(msgspec.Struct, frozen=True):
    """The four folders of one user; none of them needs to exist yet."""

    data: Path
    config: Path
    cache: Path
    log: Path

    @property
    def conversations(self) -> Path:
        """The conversation database."""
        return self.data / "conversations.db"

    @property
    def runs(self) -> Path:
        """The log of loads."""
        return self.data / "runs.db"

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.config / "settings.json"

    @property
    def quantized(self) -> Path:
        """The folder of the models that were quantized here."""
        return self.data / "quantized"

    @property
    def jobs(self) -> Path:
        """What is kept of quantizations and evaluations."""
        return self.data / "jobs"

    @property
    def models(self) -> Path:
        """Where models are downloaded to, unless the user names another folder."""
        return self.data / "models"

    @property
    def trusted_code(self) -> Path:
        """Which models may run code of their own."""
        return self.data / "trusted-code.json"


def app_paths(data_dir: Path | None = None) -> AppPaths:
    """The system's folders for this user, or everything below data_dir."""
    if data_dir is not None:
        data = data_dir.expanduser().absolute()
        return AppPaths(data=data, config=data / "config", cache=data / "cache", log=data / "log")
    dirs = platformdirs.PlatformDirs("turbodesk", appauthor=False)
    return AppPaths(
        data=dirs.user_data_path, config=dirs.user_config_path, cache=dirs.user_cache_path, log=dirs.user_log_path
    )


def resources_dir() -> Path:
    """The resources/ folder that the program came with."""
    return Path(__file__).parents[2] / "resources"


def demo_checkpoint() -> Path:
    """The model that makes the first run work offline."""
    return resources_dir() / "demo-checkpoint"
