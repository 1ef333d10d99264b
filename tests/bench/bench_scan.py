"""Finding 1,000 models of 8B size: with nothing known and cold pages, again, and what the window feels meanwhile.

Weights are holes behind real headers. Cold means that no page of any file is in memory; names and inodes may be.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from tests.storage.model_folders import CARD, CONFIG, write_hub_snapshot

FOLDERS = 1000
_LAYERS, _SHARDS = 36, 4
_SHAPES = {
    "self_attn.q_proj.weight": [4096, 4096],
    "self_attn.k_proj.weight": [1024, 4096],
    "self_attn.v_proj.weight": [1024, 4096],
    "self_attn.o_proj.weight": [4096, 4096],
    "self_attn.q_norm.weight": [128],
    "self_attn.k_norm.weight": [128],
    "mlp.gate_proj.weight": [12288, 4096],
    "mlp.up_proj.weight": [12288, 4096],
    "mlp.down_proj.weight": [4096, 12288],
    "input_layernorm.weight": [4096],
    "post_attention_layernorm.weight": [4096],
}
# Answers at once, so that LMDeploy's own start is not measured.
_CHILD = """
import sys
print('{"lmdeploy": "1"}', flush=True)
for line in sys.stdin:
    print('{"lmdeploy": "1", "failure": "Not asked."}', flush=True)
"""


def measure() -> dict[str, float]:
    """Seconds by the clock and of the processor; milliseconds in which the window did not get its turn."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        _write(top)
        cold = _cool(top)
        found = {"files": float(cold)}
        found |= {f"cold_{key}": value for key, value in _scan(top).items()}
        _cool(top)
        found |= {f"cold_known_{key}": value for key, value in _scan(top).items()}
        found |= {f"warm_{key}": value for key, value in _scan(top).items()}
        (top / "data" / "cache" / "models.msgpack").unlink()
        found |= {f"warm_unknown_{key}": value for key, value in _scan(top).items()}
    return found


def _write(top: Path) -> None:
    headers, index = _weights()
    texts = {
        "config.json": json.dumps({**CONFIG, "num_hidden_layers": _LAYERS, "hidden_size": 4096}).encode(),
        "generation_config.json": b'{"temperature": 0.6}',
        "tokenizer_config.json": json.dumps({"chat_template": "{{ messages }} " * 300}).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": index,
        "README.md": (CARD + "word " * 2000).encode(),
    }
    for number in range(FOLDERS):
        own = {**texts, "README.md": texts["README.md"] + str(number).encode()}
        if number % 2:
            folder = write_hub_snapshot(top / "hub", f"owner/model-{number}", own, refs=("main",))
        else:
            folder = top / "models" / f"family-{number % 20}" / f"model-{number}"
            folder.mkdir(parents=True)
            for file, content in own.items():
                (folder / file).write_bytes(content)
        for file, (header, size) in headers.items():
            place = folder / file
            if number % 2:
                place = folder.parent.parent / "blobs" / file
                (folder / file).symlink_to(os.path.relpath(place, folder))
            with place.open("wb") as out:
                out.write(header)
                out.truncate(len(header) + size)


def _weights() -> tuple[dict[str, tuple[bytes, int]], bytes]:
    """The shards' headers with the size of what follows, and the index."""
    tensors = {
        "model.embed_tokens.weight": [151936, 4096],
        "lm_head.weight": [151936, 4096],
        "model.norm.weight": [4096],
    }
    tensors |= {f"model.layers.{layer}.{name}": shape for layer in range(_LAYERS) for name, shape in _SHAPES.items()}
    shards: list[dict[str, list[int]]] = [{} for _ in range(_SHARDS)]
    for place, (name, shape) in enumerate(tensors.items()):
        shards[place * _SHARDS // len(tensors)][name] = shape
    headers, weight_map = {}, {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{_SHARDS:05}.safetensors"
        entries, end = {}, 0
        for name, shape in shard.items():
            start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
            entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
            weight_map[name] = file
        text = json.dumps(entries).encode()
        headers[file] = (len(text).to_bytes(8, "little") + text, end)
    return headers, json.dumps({"metadata": {}, "weight_map": weight_map}).encode()


def _cool(top: Path) -> int:
    """Have the system forget the content of every file below; how many."""
    os.sync()
    count = 0
    for folder, _, files in os.walk(top):
        for file in files:
            path = os.path.join(folder, file)
            if not os.path.islink(path):
                number = os.open(path, os.O_RDONLY)
                os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(number)
                count += 1
    return count


def _scan(top: Path) -> dict[str, float]:
    """One scan through the service in an application whose timer says when it did not get its turn."""
    os.environ["HF_HUB_CACHE"] = str(top / "hub")
    os.environ["MODELSCOPE_CACHE"] = str(top / "modelscope")
    from PySide6.QtCore import QEventLoop, QTimer
    from PySide6.QtWidgets import QApplication

    from desktop.engine.support_asker import SupportAsker
    from desktop.services.checkpoint_shelf import CheckpointShelf
    from desktop.storage.paths import app_paths

    app = QApplication.instance() or QApplication([])
    assert app is not None
    shelf = CheckpointShelf(app_paths(top / "data"), SupportAsker("1", [sys.executable, "-c", _CHILD]))
    shelf.set_folders([str(top / "models")])
    loop = QEventLoop()
    gaps: list[float] = []
    last = [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.setInterval(4)
    timer.timeout.connect(tick)
    shelf.scan_finished.connect(loop.quit)
    timer.start()
    last[0] = begun = time.perf_counter()
    used = time.process_time()
    shelf.scan()
    loop.exec()
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    timer.stop()
    whole = sum(entry.failure is None for entry in shelf.entries.values())
    shelf.close()
    if whole != FOLDERS:
        raise AssertionError(f"{whole} models found, not {FOLDERS}")
    gaps.sort()
    return {
        "seconds": seconds,
        "cpu_seconds": used,
        "stall_max_ms": gaps[-1] * 1000,
        "stall_p99_ms": gaps[int(len(gaps) * 0.99)] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
