"""A whole window over a scripted engine, a real store in a new folder, and real services."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import keyring
import pytest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop.domain.checkpoint import Checkpoint
from desktop.domain.hub import HubAddress
from desktop.domain.server_address import ServerModel
from desktop.engine.base import Engine
from desktop.engine.openai_engine import KEY_VARIABLE
from desktop.engine.process_engine import ProcessEngine
from desktop.engine.scripted_engine import Script, ScriptedEngine
from desktop.engine.support_asker import SupportAsker
from desktop.services.chats import Chats
from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.checkpoint_remover import CheckpointRemover
from desktop.services.checkpoint_shelf import CheckpointShelf
from desktop.services.downloads import Downloads
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState
from desktop.services.hub_browser import HubBrowser
from desktop.services.job_runner import JobRunner
from desktop.services.job_trust import JobTrust
from desktop.services.library import Library
from desktop.services.made_models import MadeModels
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.model_loader import ModelLoader
from desktop.services.models import Models
from desktop.services.notices import Notices
from desktop.services.quantization_desk import QuantizationDesk
from desktop.services.run_recorder import RunRecorder
from desktop.services.servers import Servers
from desktop.services.store_writer import StoreWriter
from desktop.storage.conversations import ConversationStore
from desktop.storage.hub import Hub, open_hub
from desktop.storage.hub_token import TokenStore
from desktop.storage.paths import app_paths
from desktop.storage.secrets import Secrets
from desktop.storage.settings import Settings
from desktop.ui.main_window import MainWindow
from desktop.ui.theme import apply_theme
from tests.storage.hub_fixtures import IMPATIENT
from tests.storage.test_hub_token import MemoryKeyring

DEMO = "/models/demo-checkpoint"
OTHER = "/models/Qwen3-8B-AWQ"


def read_checkpoint(path: str) -> Checkpoint:
    """A checkpoint without a folder."""
    return Checkpoint(
        architecture="Qwen3ForCausalLM",
        model_type="qwen3",
        quantization=None,
        context_length=32768,
        vision=False,
        needs_remote_code=False,
        tied_embeddings=True,
        layers=1,
        hidden_size=128,
        intermediate_size=256,
        heads=1,
        kv_heads=1,
        head_dim=128,
        vocab_size=256,
        path=path,
        name=path.rpartition("/")[2],
        label="",
        parameters=1,
        weight_bytes=2,
        dtypes=("F16",),
        has_tokenizer=True,
        has_chat_template=True,
    )


@dataclass
class Desk:
    """A window and all that is behind it. script: what the next load plays."""

    window: MainWindow
    host: EngineHost
    chats: Chats
    notices: Notices
    models: Models
    bot: QtBot
    script: Script = field(default_factory=Script)

    def until(self, true: Callable[[], bool]) -> None:
        """Let events run until this is so."""
        self.bot.waitUntil(true, timeout=10_000)

    def load(self, script: Script, path: str = DEMO) -> None:
        """Load the scripted engine and wait until it is ready."""
        self.script = script
        loading = lambda status: status.state is EngineState.LOADING  # noqa: E731
        with self.bot.waitSignal(self.host.status_changed, check_params_cb=loading, timeout=10_000):
            self.window.load(path)
        self.until(lambda: self.host.is_ready)

    def ask(self, text: str) -> None:
        """Type and press Enter."""
        edit = self.window.chat_page.composer.edit
        edit.setFocus()
        self.bot.keyClicks(edit, text)
        self.bot.keyClick(edit, "\r")

    def idle(self) -> None:
        """Wait until no reply is being written."""
        self.until(lambda: self.chats.generating_count == 0)


@pytest.fixture
def key_ring() -> Iterator[MemoryKeyring]:
    """The system's keyring meanwhile."""
    before = keyring.get_keyring()
    made = MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def _connect(secrets: Secrets, model: ServerModel, on_log: Callable[[str], None]) -> Engine:
    return ProcessEngine("openai", {KEY_VARIABLE: secrets.get(model.address) or ""}, on_log)


def _open_hub(tokens: TokenStore, address: HubAddress) -> Hub:
    return open_hub(address, tokens.token(address), IMPATIENT)


@pytest.fixture
def desk(qtbot: QtBot, qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An open window; the engine is not loaded. LMDeploy is not asked what it runs."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    apply_theme(qapp, "light")
    path = tmp_path / "conversations.db"
    store = ConversationStore(path)
    writer = StoreWriter(lambda: ConversationStore(path))
    secrets = Secrets()
    connect = partial(_connect, secrets)
    host = EngineHost(lambda on_log: ScriptedEngine(made.script), read_checkpoint, connect=connect)
    host.set_default(DEMO)
    library = Library(store, writer)
    chats = Chats(library, host)
    notices = Notices()
    paths = app_paths(tmp_path / "turbodesk")
    inspector = CheckpointInspector(paths.trusted_code)
    asker = SupportAsker("none", [sys.executable, "-c", "pass"])
    shelf = CheckpointShelf(paths, asker)
    tokens = TokenStore(secrets)
    open_it = partial(_open_hub, tokens)
    browser, downloads = HubBrowser(open_it, tokens.keep, asker), Downloads(open_it, reserve=0)
    downloads.model_appeared.connect(shelf.scan)
    adviser = MemoryAdviser(paths, shelf.support)
    host.name_cards = adviser.named
    recorder = RunRecorder(paths.runs, host, adviser, measure_seconds=0.05)
    runner = JobRunner(paths.jobs, host, JobTrust(inspector, shelf.entries.get).check)
    models = Models(
        shelf=shelf,
        loader=ModelLoader(host, inspector, shelf.entries.get),
        inspector=inspector,
        remover=CheckpointRemover(),
        adviser=adviser,
        recorder=recorder,
        browser=browser,
        downloads=downloads,
        own_folder=paths.models,
        quantizer=QuantizationDesk(runner, adviser, lambda: ConversationStore(path)),
        quantized_folder=paths.quantized,
        made=MadeModels(shelf),
        servers=Servers(secrets),
    )
    window = MainWindow(host, chats, notices, lambda: models, QWidget(), Settings(), DEMO)

    def apply(settings: Settings) -> None:
        host.set_config(settings.engine)
        chats.defaults = settings.chat
        chats.tools.custom = settings.tools
        chats.tools.always_allowed = frozenset(settings.always_allowed_tools)

    window.settings_changed.connect(apply)
    made = Desk(window, host, chats, notices, models, qtbot)
    window.show()
    yield made
    runner.close()
    chats.close()
    with qtbot.waitSignal(host.stopped, timeout=10_000):
        host.shutdown()
    host.wait(1000)
    assert writer.close(5.0)
    browser.close()
    downloads.close()
    shelf.close()
    recorder.close()
    adviser.close()
    window.allow_close()
    window.close()
    window.deleteLater()
    store.close()
    # What the window made is deleted with it, before the next test's window comes.
    qapp.processEvents()
