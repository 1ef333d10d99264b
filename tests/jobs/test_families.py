"""Models of other families than the demo model's, with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig, Qwen2Config, Qwen3MoeConfig

from desktop.domain.quantization import QuantizationMethod
from desktop.domain.quantization_choice import method_choices
from desktop.engine.quantizer_check import check_quantizer
from desktop.jobs.messages import Quantized
from desktop.jobs.source import read_source
from desktop.storage.paths import demo_checkpoint
from tests.engine.tiny_checkpoint import write_tiny
from tests.jobs.running import demo_job, run

M = QuantizationMethod
SIZES: dict[str, Any] = {
    "vocab_size": 3072,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "head_dim": 128}


@pytest.mark.parametrize(
    ("config", "best", "linears"),
    [(Qwen2Config(**SIZES), M.AWQ, 14), (Qwen3MoeConfig(**SIZES, **EXPERTS), M.ROUND, 32)],
    ids=["with-biases", "with-experts"],
)
async def test_what_is_recommended_works(
    config: PreTrainedConfig, best: M, linears: int, tmp_path: Path, guide: Path
) -> None:
    source = write_tiny(tmp_path / "source", config, torch.bfloat16)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(demo_checkpoint() / name, source)
    known, quantizer = read_source(str(source)), check_quantizer(str(source))
    choices = method_choices(known, quantizer, has_card=False)
    assert [choice.facts.method for choice in choices if choice.recommended] == [best]
    done = await run(demo_job(tmp_path / "out", guide, best, source=str(source)))
    assert isinstance(done.result, Quantized)
    assert len(done.result.layer_errors) == linears == len(known.packed(quantizer.skipped))
    assert known.result_bytes(best, quantizer.skipped) == pytest.approx(done.result.weight_bytes, rel=0.005)
