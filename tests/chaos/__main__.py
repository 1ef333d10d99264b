"""`make chaos`: the long proofs, one after the other; prints what was counted. ARGS="--rounds 20" for a short one."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.chaos.kills import kill_engine, kill_window
from tests.jobs.kill_jobs import kill_quantization
from tests.storage.chaos_kill_download import kill_download
from tests.storage.chaos_kill_writer import kill_writer

OUT = Path(__file__).parents[2] / "build" / "chaos.json"


def kill_store_writer(rounds: int) -> dict[str, float]:
    """kill_writer in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return kill_writer(rounds, Path(folder))._asdict()


def kill_model_download(rounds: int) -> dict[str, float]:
    """kill_download in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return kill_download(rounds, Path(folder))._asdict()


PROOFS = {
    "kill the engine": kill_engine,
    "kill the window": kill_window,
    "kill the writer": kill_store_writer,
    "kill a download": kill_model_download,
    "kill a quantization": kill_quantization,
}


def main() -> None:
    """Run all proofs; an AssertionError ends the run."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="kills of each kind (default 200)")
    rounds = parser.parse_args().rounds
    results = {}
    for name, proof in PROOFS.items():
        started = time.monotonic()
        results[name] = {"figures": proof(rounds), "seconds": round(time.monotonic() - started, 1)}
        print(name, json.dumps(results[name], default=str), flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(
        json.dumps({"measured_at": time.strftime("%Y-%m-%d %H:%M"), "proofs": results}, indent=2, default=str)
    )


if __name__ == "__main__":
    main()
