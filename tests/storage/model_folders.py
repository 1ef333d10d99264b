"""Writes model folders of a few bytes that the scan takes for whole ones, alone and in the hubs' layouts."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
}
_SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U8": 1, "I8": 1, "F8_E4M3": 1}
CARD = "---\nlicense: apache-2.0\nlanguage: [en, zh]\nbase_model:\n- some/base\n---\n# A card\n"


def safetensors_bytes(tensors: Mapping[str, tuple[str, list[int]]]) -> bytes:
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * _SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


WEIGHTS = safetensors_bytes({"model.embed_tokens.weight": ("BF16", [100, 4]), "model.norm.weight": ("F32", [4])})
PARAMETERS = 404


def files_of_a_model(**config: Any) -> dict[str, bytes]:
    """A whole model, by the names of its files; config changes its config.json."""
    return {
        "config.json": json.dumps({**CONFIG, **config}).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": json.dumps({"chat_template": "{{ messages }}"}).encode(),
        "README.md": CARD.encode(),
        "model.safetensors": WEIGHTS,
    }


def write_model(folder: Path, files: Mapping[str, bytes] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (files or files_of_a_model(**config)).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def write_hub_snapshot(cache: Path, repo_id: str, files: Mapping[str, bytes], refs: tuple[str, ...] = ()) -> Path:
    """One revision as huggingface_hub lays it out: blobs by hash, links to them, refs with the commit."""
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
    snapshot = repo / "snapshots" / commit
    for name, content in files.items():
        blob = repo / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    for ref in refs:
        (repo / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repo / "refs" / ref).write_text(commit)
    return snapshot
