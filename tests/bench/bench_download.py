"""Fetching a file of 1 GB from a hub on loopback, hash checked and on disk, against curl's fetch of the same."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desktop.domain.hub import DownloadPlan, HubAddress, HubKind
from desktop.storage.hub import Hub, open_hub
from desktop.storage.hub_download import Download
from desktop.storage.hub_holding import Holding

ROOT = Path(__file__).parents[2]
SIZE = 1 << 30  # bytes
ROUNDS = 7
MODEL = "bench/large"
FILE = "model.safetensors"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a hub in a process of its own that publishes the folder."""
    command = [sys.executable, "-m", "tests.hub_server", folder, MODEL]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()


def _write_random(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def _curl_seconds(url: str, out: Path) -> tuple[float, float]:
    """Until curl ends, and until what it wrote is on the disk."""
    started = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "--location", "--output", out, url], check=True)
    ended = time.perf_counter()
    subprocess.run(["sync", out], check=True)
    synced = time.perf_counter()
    out.unlink()
    return ended - started, synced - started


def _our_seconds(hub: Hub, folder: Path) -> float:
    """One download, from the plan to the model's folder."""
    model = hub.model(MODEL)
    plan = DownloadPlan(
        address=model.address,
        model_id=MODEL,
        revision=model.revision,
        files=model.files,
        destination=str(folder / "ours"),
    )
    holding = Holding.create(plan)
    started = time.perf_counter()
    Download(holding, lambda: open_hub(model.address), reserve=0).run()
    seconds = time.perf_counter() - started
    assert (folder / "ours" / FILE).stat().st_size == SIZE
    shutil.rmtree(folder / "ours")
    return seconds


def measure() -> dict[str, float]:
    """The best times of rounds measured in turn, in seconds, and their ratios. Empty where curl is missing.

    The best, since whatever else the machine does only adds to a time, and two busy threads suffer more than one.

    ratio: ours, which waits until the file is on the disk, to curl, which does not; ratio_synced: to curl and sync.
    """
    if shutil.which("curl") is None:
        print("curl is not installed, so there is nothing to compare with", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hub").mkdir()
        _write_random(folder / "hub" / FILE)
        with served(folder / "hub") as url:
            hub = open_hub(HubAddress(HubKind.HUGGING_FACE, url))
            address = hub.file_url(MODEL, "main", FILE)
            rounds = [(*_curl_seconds(address, folder / "curl"), _our_seconds(hub, folder)) for _ in range(ROUNDS + 1)]
    rounds = rounds[1:]  # the first warms the disk cache
    curl, synced, ours = (min(times) for times in zip(*rounds, strict=True))
    return {
        "ratio": ours / curl,
        "ratio_synced": ours / synced,
        "ratio_median": statistics.median(ours / curl for curl, _, ours in rounds),
        "curl_s": curl,
        "curl_synced_s": synced,
        "ours_s": ours,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
