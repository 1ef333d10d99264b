"""What LMDeploy's quantizers say of families, from their own maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desktop.engine.quantizer_check import check_quantizer
from desktop.engine.support_asker import SupportAsker
from desktop.storage.paths import demo_checkpoint
from tests.storage.model_folders import CONFIG


def written(folder: Path, **config: Any) -> str:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return str(folder)


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [
        ("Qwen3ForCausalLM", "qwen3"),
        ("Qwen2ForCausalLM", "qwen2"),
        ("LlamaForCausalLM", "llama"),
        ("MistralForCausalLM", "mistral"),
    ],
)
def test_plain_families_are_known(architecture: str, model_type: str, tmp_path: Path) -> None:
    found = check_quantizer(written(tmp_path, architectures=[architecture], model_type=model_type))
    assert (found.known, found.smooths, found.reason, found.pictures) == (True, True, "", False)


def test_experts_are_known_and_cannot_be_smoothed(tmp_path: Path) -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "decoder_sparse_step": 1}
    found = check_quantizer(
        written(tmp_path, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", mlp_only_layers=[], **experts)
    )
    assert (found.known, found.smooths, found.skipped) == (True, False, ("mlp.gate",))
    assert "does not know which layers of Qwen3MoeForCausalLM follow each other" in found.reason


def test_a_map_of_other_layers_than_the_model_has(tmp_path: Path) -> None:
    """LMDeploy's map of Mixtral has the names of an older Transformers."""
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    found = check_quantizer(written(tmp_path, architectures=["MixtralForCausalLM"], model_type="mixtral", **experts))
    assert (found.known, found.smooths) == (True, False)
    assert "MixtralForCausalLM has no block_sparse_moe" in found.reason


def test_families_without_maps(tmp_path: Path) -> None:
    found = check_quantizer(written(tmp_path, architectures=["Gemma2ForCausalLM"], model_type="gemma2"))
    assert (found.known, found.smooths) == (False, False)
    assert "do not know the architecture Gemma2ForCausalLM" in found.reason


def test_the_child_answers_when_asked() -> None:
    folder = str(demo_checkpoint())
    asked = dict(SupportAsker("").ask([folder], quantizer=True))[folder]
    assert asked.quantizer is not None
    assert asked.quantizer.smooths
    assert asked.verdicts
    assert dict(SupportAsker("").ask([folder]))[folder].quantizer is None
