"""Which files are a model's weights: no engine opens a pickle that is not named."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lmdeploy.pytorch.weight_loader import model_weight_loader
from lmdeploy.turbomind import checkpoint as turbomind
from transformers import modeling_utils

from desktop.domain.weight_files import PICKLE_INDEX, SAFETENSORS_INDEX, indexed_files, weight_files

SHARDS = {SAFETENSORS_INDEX: "model-1.safetensors", PICKLE_INDEX: "pytorch_model-1.bin"}
NAMES = [
    *("config.json", "model.safetensors", "model-1.safetensors", "other.safetensors", SAFETENSORS_INDEX),
    *("pytorch_model.bin", "pytorch_model-1.bin", "extra.bin", "model.pt", "c.00.pth", PICKLE_INDEX),
    *("training_args.bin", "optimizer.pt", "adapter.bin"),
]
PICKLES = (".bin", ".pt", ".pth")


def by_turbomind(path: str) -> list[str]:
    opened: list[str] = []

    class Recorder:
        def __init__(self, model_path: str, *, mappings: object, **names: Any) -> None:
            opened.extend(turbomind._gather_shards(model_path, names.get("index_name"), names.get("file_pattern"))[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turbomind, "SafetensorsCheckpoint", Recorder)
        patch.setattr(turbomind, "PytorchCheckpoint", Recorder)
        turbomind.create_checkpoint(path)
    return opened


def by_the_pytorch_engine(path: str) -> list[str]:
    kind, sharded = model_weight_loader._get_weight_type(path)
    return list(model_weight_loader.ModelWeightLoader._get_shard_paths(path, sharded, kind))


def by_transformers(path: str) -> list[str]:
    return list(modeling_utils._get_resolved_checkpoint_files(path, None, None, None, None, False)[0] or ())


ENGINES: list[Callable[[str], list[str]]] = [by_turbomind, by_the_pytorch_engine, by_transformers]


@settings(deadline=None, max_examples=400)
@given(names=st.sets(st.sampled_from(NAMES)))
@example(names={"model-1.safetensors", "pytorch_model.bin"})
@example(names={"pytorch_model.bin", "pytorch_model-1.bin", PICKLE_INDEX})
@example(names={"other.safetensors", "model.pt", "extra.bin"})
@example(names={"extra.bin", "optimizer.pt", "training_args.bin"})
def test_no_engine_opens_a_pickle_that_is_not_named(names: set[str]) -> None:
    chosen = weight_files(names)
    missing = chosen.index and SHARDS[chosen.index] not in names
    if missing or not (chosen.index or chosen.files):
        return  # refused before any engine sees it
    named = set(chosen.files)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            index = {"metadata": {}, "weight_map": {"a": SHARDS[name]}} if name in SHARDS else {}
            (Path(folder) / name).write_text(json.dumps(index))
            if name == chosen.index:
                named |= indexed_files(index, chosen, names).keys()
        for engine in ENGINES:
            try:
                opened = {Path(path).name for path in engine(folder)}
            except (RuntimeError, OSError):
                continue  # it knows no weights by these names
            pickles = {name for name in opened if name.endswith(PICKLES)}
            assert pickles <= (named if chosen.pickles else set()), engine.__name__
            if engine is by_turbomind and not chosen.pickles:
                assert opened == named
