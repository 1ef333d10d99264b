"""Kills a process that downloads, at random moments, and resumes: the model is byte-identical or absent, never half.

python -m tests.storage.chaos_kill_download --rounds 100
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from desktop.domain.hub import HUGGING_FACE, HubAddress
from desktop.storage.hub import open_hub
from desktop.storage.hub_download import Download
from desktop.storage.hub_holding import HOLDING_FOLDER, Holding, unfinished
from tests.hub_answers import Fault
from tests.hub_server import HubServer
from tests.storage.hub_fixtures import IMPATIENT, MODEL, content_of, plan_of

ROOT = Path(__file__).parents[2]
RATE = 4e6  # bytes a second of each large file
LONGEST_LIFE = 1.2  # seconds after the child says that it begins


class Report(NamedTuple):
    """What the rounds showed. models: downloads that were brought to their end. by_themselves: before a kill came."""

    rounds: int
    models: int
    by_themselves: int
    kills_with_a_model: int


def download(url: str, destination: Path) -> None:
    """The child: begins the download, or takes up the one that is there, and brings it to its end."""
    address = HubAddress(HUGGING_FACE.kind, url)
    waiting = unfinished(destination.parent)
    if waiting:
        holding = waiting[0]
    else:
        model = open_hub(address, patience=IMPATIENT).model(MODEL)
        print("begins", flush=True)
        holding = Holding.create(plan_of(model, destination))
    print("begins", flush=True)
    Download(holding, lambda: open_hub(address, patience=IMPATIENT), reserve=0).run()
    print("ended", flush=True)


def kill_download(rounds: int, folder: Path, seed: int | None = None) -> Report:
    """Let a child download, kill -9 it, check; the next child resumes. Raises AssertionError on a broken promise."""
    chance = random.Random(seed)
    content = {
        "config.json": b"{}",
        "model-1.safetensors": chance.randbytes(5_000_000),
        "model-2.safetensors": chance.randbytes(2_500_000),
        "tokenizer/vocab.txt": b"a\nb\n",
        **{f"small-{number}": chance.randbytes(500) for number in range(5)},
    }
    destination = folder / "models" / "some-model"
    models = by_themselves = kills_with_a_model = 0
    with HubServer() as server:
        server.add(MODEL, dict(content))
        server.faults += [
            Fault("/blob/", cut_after=1_200_000, skip=4, times=3, rate=RATE),
            Fault("/blob/", rate=RATE, times=1 << 30),
        ]
        for number in range(rounds):
            killed = _one_kill(server.url, destination, chance.uniform(0, LONGEST_LIFE))
            if os.path.lexists(destination):
                assert content_of(destination) == content, f"round {number}: the model is there and is not whole"
                models += 1
                by_themselves += not killed
                kills_with_a_model += killed
                if unfinished(destination.parent):  # killed before it tidied up
                    _run_to_the_end(server.url, destination)
                    assert content_of(destination) == content
                left = destination.parent / HOLDING_FOLDER
                assert not left.exists() or not list(left.iterdir())
                shutil.rmtree(destination)
            else:
                assert killed, f"round {number}: the download ended without a model"
        _run_to_the_end(server.url, destination)
        assert content_of(destination) == content
    return Report(rounds, models + 1, by_themselves, kills_with_a_model)


def _one_kill(url: str, destination: Path, life: float) -> bool:
    """Whether the child was killed, rather than at its end before."""
    with _start(url, destination) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(life)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        code = child.wait(10)
    assert code in (0, -signal.SIGKILL), f"the download ended with code {code}"
    return code != 0


def _run_to_the_end(url: str, destination: Path) -> None:
    with _start(url, destination) as child:
        assert child.wait(60) == 0


def _start(url: str, destination: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.storage.chaos_kill_download", "--child", url, str(destination)]
    # An engine that was loaded in this process keeps it from the network.
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        download(arguments.child[0], Path(arguments.child[1]))
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_download(arguments.rounds, Path(folder), arguments.seed)
    print(json.dumps({**report._asdict(), "seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
