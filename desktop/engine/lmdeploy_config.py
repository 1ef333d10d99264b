"""Our settings in LMDeploy's words, and what is refused before LMDeploy is asked."""

from __future__ import annotations

import os
from typing import Any

from desktop.domain.engine_config import Backend, EngineConfig, visible_devices
from desktop.domain.errors import FailureCode, error
from desktop.domain.generation import SamplingParams

# The architectures whose pictures the CPU engine reads: their replies are Transformers' own, by tests/engine/
# test_pictures.py. LMDeploy prepares pictures for more, but by code from the model's folder, or otherwise than
# Transformers does (Gemma 3), or not with this version of it (LLaVA-NeXT).
CPU_READS_PICTURES = frozenset(
    {
        "Glm4vForConditionalGeneration",
        "InternVLForConditionalGeneration",
        "LlavaForConditionalGeneration",
        "Qwen2VLForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3VLForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForConditionalGeneration",
    }
)


def backend_config(backend: Backend, config: EngineConfig) -> Any:
    """LMDeploy's configuration object; the CPU backend takes TurboMind's."""
    from lmdeploy import PytorchEngineConfig, TurbomindEngineConfig

    common: dict[str, Any] = {
        "dtype": config.dtype,
        "model_format": None if config.model_format == "hf" else config.model_format,
        "tp": config.tp,
        "session_len": config.session_len,
        "max_batch_size": config.max_batch_size,
        "cache_max_entry_count": config.cache_max_entry_count,
        "quant_policy": config.quant_policy,
        "enable_prefix_caching": config.enable_prefix_caching,
        "max_prefill_token_num": config.max_prefill_token_num,
        "language_model_only": config.language_model_only,
        "hf_overrides": config.hf_overrides,
        "enable_metrics": config.enable_metrics,
    }
    devices = visible_devices(config)
    if backend is Backend.PYTORCH:
        if config.devices is not None and not config.card_uuids:
            # The PyTorch engine takes the visible cards in order; CUDA is not initialised before the first use.
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.devices))
        return PytorchEngineConfig(**common, block_size=config.cache_block_seq_len)
    return TurbomindEngineConfig(
        **common,
        devices=list(devices) if devices is not None else None,
        cache_block_seq_len=config.cache_block_seq_len,
        rope_scaling_factor=config.rope_scaling_factor,
        communicator=config.communicator,
    )


def show_cards(config: EngineConfig) -> None:
    """Let CUDA see the chosen cards only; a child was started so. Imports torch. Raises engine_config_invalid."""
    import torch

    wanted = ",".join(config.card_uuids)
    if not wanted or os.environ.get("CUDA_VISIBLE_DEVICES") == wanted:
        return
    if torch.cuda.is_initialized():
        reason = "this process has begun to use other cards; run the engine in a process of its own"
        raise error(FailureCode.ENGINE_CONFIG_INVALID, reason=reason)
    os.environ["CUDA_VISIBLE_DEVICES"] = wanted


def check_architecture(backend: Backend, architecture: str, config: EngineConfig) -> None:
    """Raise architecture_unsupported before anything is loaded. TurboMind was asked when it was chosen."""
    if backend is Backend.PYTORCH:
        from lmdeploy.pytorch.models.module_map import MODULE_MAP

        if architecture not in MODULE_MAP and not config.trust_remote_code:
            reason = "neither TurboMind nor LMDeploy's PyTorch engine knows it"
            raise error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=architecture, reason=reason)
    elif backend is Backend.CPU and not config.trust_remote_code:
        import transformers

        if not hasattr(transformers, architecture):
            reason = f"Transformers {transformers.__version__} does not know it, and code from model folders is not run"
            raise error(FailureCode.ARCHITECTURE_UNSUPPORTED, architecture=architecture, reason=reason)


def generation_config(params: SamplingParams) -> Any:
    """LMDeploy's GenerationConfig."""
    from lmdeploy import GenerationConfig

    return GenerationConfig(
        max_new_tokens=params.max_new_tokens,
        do_sample=params.temperature > 0,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        random_seed=params.seed,
        stop_words=list(params.stop) or None,
    )
