"""Everything that the window does with models, on the disk and on hubs, made together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject

from desktop.services.checkpoint_inspector import CheckpointInspector
from desktop.services.checkpoint_remover import CheckpointRemover
from desktop.services.checkpoint_shelf import CheckpointShelf
from desktop.services.downloads import Downloads
from desktop.services.engine_host import EngineHost
from desktop.services.hub_browser import HubBrowser
from desktop.services.job_runner import JobRunner
from desktop.services.job_trust import JobTrust
from desktop.services.made_models import MadeModels
from desktop.services.memory_adviser import MemoryAdviser
from desktop.services.model_loader import ModelLoader
from desktop.services.quantization_desk import QuantizationDesk
from desktop.services.run_recorder import RunRecorder
from desktop.services.servers import Servers
from desktop.storage.conversations import ConversationStore
from desktop.storage.hub import open_with_token
from desktop.storage.hub_token import TokenStore
from desktop.storage.paths import AppPaths
from desktop.storage.secrets import Secrets


class Models(NamedTuple):
    """own_folder: where downloads go, unless the user names another folder. quantized_folder: where results go."""

    shelf: CheckpointShelf
    loader: ModelLoader
    inspector: CheckpointInspector
    remover: CheckpointRemover
    adviser: MemoryAdviser
    recorder: RunRecorder
    browser: HubBrowser
    downloads: Downloads
    own_folder: Path
    quantizer: QuantizationDesk
    quantized_folder: Path
    made: MadeModels
    servers: Servers


def make_models(
    paths: AppPaths, host: EngineHost, open_store: Callable[[], ConversationStore], secrets: Secrets, parent: QObject
) -> Models:
    """Build them all; nothing is read yet. The caller closes the shelf, adviser, recorder, browser, downloads and jobs.

    open_store: the conversations, for whoever wants to calibrate with them. secrets: tokens of hubs, keys of servers.
    """
    inspector = CheckpointInspector(paths.trusted_code, parent=parent)
    shelf = CheckpointShelf(paths, parent=parent)
    adviser = MemoryAdviser(paths, shelf.support, parent=parent)
    tokens = TokenStore(secrets)
    open_hub = partial(open_with_token, tokens)
    downloads = Downloads(open_hub, parent=parent)
    downloads.model_appeared.connect(shelf.scan)
    runner = JobRunner(paths.jobs, host, JobTrust(inspector, shelf.entries.get).check, parent=parent)
    return Models(
        shelf=shelf,
        loader=ModelLoader(host, inspector, shelf.entries.get, parent=parent),
        inspector=inspector,
        remover=CheckpointRemover(parent=parent),
        adviser=adviser,
        recorder=RunRecorder(paths.runs, host, adviser, parent=parent),
        browser=HubBrowser(open_hub, tokens.keep, parent=parent),
        downloads=downloads,
        own_folder=paths.models,
        quantizer=QuantizationDesk(runner, adviser, open_store, parent=parent),
        quantized_folder=paths.quantized,
        made=MadeModels(shelf, parent=parent),
        servers=Servers(secrets, parent=parent),
    )
