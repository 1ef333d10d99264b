"""Writes checkpoints of a few thousand weights for the CPU engine's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, Qwen3Config
from transformers.utils import logging

VOCABULARY = 128
GROUP = 32  # of the quantized layers; their inputs are multiples of it

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Ten times the usual: with it the logits depend on the positions and on every token of the prompt.
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}


def write_tiny(folder: Path, config: PreTrainedConfig | None = None, dtype: torch.dtype = torch.float32) -> Path:
    """A model with seeded random weights in folder; Qwen3 with tied embeddings unless config says otherwise."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = config or Qwen3Config(**SIZES, head_dim=32, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(folder)
    return folder
