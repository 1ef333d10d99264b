"""What the hub tests share: a hub, a model on it, and connections that do not wait long."""

from __future__ import annotations

import random
from pathlib import Path

from desktop.domain.hub import DownloadPlan, HubAddress, HubKind, HubModel
from desktop.storage.hub import Hub, open_hub
from desktop.storage.hub_download import Download
from desktop.storage.hub_holding import Holding
from desktop.storage.hub_http import Patience
from tests.hub_server import HubServer

MODEL = "someone/some-model"
IMPATIENT = Patience(tries=3, first_wait=0.01, longest_wait=0.02)
CONTENT = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "model.safetensors": random.Random(1).randbytes(3_000_000),
    "tokenizer/vocab.txt": b"a\nb\n",
    "empty.txt": b"",
}


def hub_of(server: HubServer, kind: HubKind = HubKind.HUGGING_FACE, token: str | None = None) -> Hub:
    """The hub as the program opens it."""
    return open_hub(HubAddress(kind, server.url), token, IMPATIENT)


def plan_of(model: HubModel, destination: Path) -> DownloadPlan:
    """A plan for every file."""
    return DownloadPlan(
        address=model.address,
        model_id=model.model_id,
        revision=model.revision,
        files=model.files,
        destination=str(destination),
    )


def fetch(server: HubServer, plan: DownloadPlan, token: str | None = None) -> Download:
    """Fetch a model to its end, or raise what stopped it."""
    download = Download(Holding.create(plan), lambda: hub_of(server, plan.address.kind, token), reserve=0)
    download.run()
    return download


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file that the hub published, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".turbodesk")
    }
