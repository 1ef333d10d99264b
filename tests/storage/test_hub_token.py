"""Where tokens are kept, and that they go nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from desktop.domain.errors import FailureCode
from desktop.domain.hub import HUGGING_FACE, MODELSCOPE, HubAddress, HubKind
from desktop.storage.hub_token import TokenStore

MIRROR = HubAddress(HubKind.HUGGING_FACE, "https://mirror.example")


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A system's keyring. locked: it refuses everything, and says what it was given."""

    priority = 1

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def _check(self, word: str = "") -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked(f"locked {word}")

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check(password)
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        if self.kept.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MemoryKeyring]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN", "MODELSCOPE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_a_token_is_kept_for_its_hub_and_no_other(backend: MemoryKeyring) -> None:
    assert TokenStore().keep(MIRROR, " hf_secret\n") is None
    assert TokenStore().token(MIRROR) == "hf_secret"
    assert TokenStore().token(HUGGING_FACE) is None
    store = TokenStore()
    store.forget(MIRROR)
    store.forget(MIRROR)
    assert store.token(MIRROR) is None
    assert backend.kept == {}


def test_without_a_keyring_a_token_is_used_until_the_end_of_the_run(backend: MemoryKeyring) -> None:
    backend.locked = True
    store = TokenStore()
    problem = store.keep(MIRROR, "hf_secret")
    assert problem is not None
    assert problem.code is FailureCode.TOKEN_NOT_KEPT
    assert "hf_secret" not in repr(problem)
    assert store.token(MIRROR) == "hf_secret"
    assert TokenStore().token(MIRROR) is None
    store.forget(MIRROR)
    assert store.token(MIRROR) is None


def test_a_system_without_a_keyring_is_named(backend: MemoryKeyring) -> None:
    from keyring.backends import fail

    keyring.set_keyring(fail.Keyring())
    problem = TokenStore().keep(MIRROR, "hf_secret")
    assert problem is not None
    assert problem.message == "The token cannot be kept: this system has no keyring."


def test_tokens_of_other_tools_are_used_for_their_own_hubs_only(
    backend: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = TokenStore()
    assert store.token(HUGGING_FACE) is None
    (tmp_path / "token").write_text("hf_of_the_file\n")
    assert store.token(HUGGING_FACE) == "hf_of_the_file"
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms_of_the_environment")
    assert store.token(HUGGING_FACE) == "hf_of_the_environment"
    assert store.token(MODELSCOPE) == "ms_of_the_environment"
    assert store.token(MIRROR) is None
    assert store.token(HubAddress(HubKind.MODELSCOPE, "https://mirror.example")) is None
    monkeypatch.setenv("HF_ENDPOINT", MIRROR.endpoint)
    assert store.token(MIRROR) == "hf_of_the_environment"
    store.keep(HUGGING_FACE, "hf_given")
    assert store.token(HUGGING_FACE) == "hf_given"
