"""The knobs of a load, checked before anything is started."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from desktop.domain.counting import counted
from desktop.domain.errors import FailureCode, error


class Backend(StrEnum):
    """What runs the model. AUTO picks the first that can: TurboMind, the PyTorch engine, the CPU.

    SERVER is never chosen: it is what a model at an address has.
    """

    AUTO = "auto"
    TURBOMIND = "turbomind"
    PYTORCH = "pytorch"
    CPU = "cpu"
    SERVER = "server"


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one load; names and meanings are those of LMDeploy's TurbomindEngineConfig.

    cache_max_entry_count: share of the video memory that is free after the weights, 0 < ratio < 1
    (TurboMind aborts at 1 and above). quant_policy: bits of the KV cache, 0 for 16.
    session_len, max_prefill_token_num, cache_block_seq_len: tokens. max_batch_size: requests running at once.
    devices: numbers of cards and MIG instances as the gauge shows them, None for CUDA's choice. card_uuids: what CUDA
    calls them, filled in as a load begins (card_choice.py); "" for one that is not there, () where that is not known.
    """

    backend: Backend = Backend.AUTO
    dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    model_format: Literal["hf", "awq", "gptq", "compressed-tensors", "fp8", "mxfp4"] | None = None
    tp: int = 1
    devices: tuple[int, ...] | None = None
    card_uuids: tuple[str, ...] = ()
    session_len: int | None = None
    max_batch_size: int = 16
    cache_max_entry_count: float = 0.8
    cache_block_seq_len: int = 64
    quant_policy: Literal[0, 4, 8] = 0
    enable_prefix_caching: bool = False
    max_prefill_token_num: int = 8192
    rope_scaling_factor: float = 0.0
    language_model_only: bool = False
    communicator: Literal["nccl", "cuda-ipc"] = "nccl"
    hf_overrides: dict[str, Any] | None = None
    enable_metrics: bool = True
    trust_remote_code: bool = False

    def problems(self) -> list[str]:
        """What cannot work, in words; empty when all is well."""
        found = []
        if self.backend is Backend.SERVER:
            found.append("a folder is loaded by an engine on this machine, not by a server")
        if not 0 < self.cache_max_entry_count < 1:
            found.append("the cache ratio must be above 0 and below 1")
        if self.tp < 1 or self.tp & (self.tp - 1):
            found.append("tensor parallelism must be 1, 2, 4, 8 …")
        if self.devices is not None:
            if len(set(self.devices)) != len(self.devices) or any(device < 0 for device in self.devices):
                found.append("each card may be named once, by its number")
            if len(self.devices) != self.tp:
                found.append(f"{counted(self.tp, 'card')} must be named, not {len(self.devices)}")
        if "" in self.card_uuids:
            found.append("a card that was chosen is not there")
        if len(self.card_uuids) > 1 and any(uuid.startswith("MIG-") for uuid in self.card_uuids):
            found.append("a process can use one MIG instance only, so the model cannot be split over several")
        if self.session_len is not None and self.session_len < 1:
            found.append("the session length must be at least 1 token")
        if not 1 <= self.max_batch_size <= 1024:
            found.append("the batch size must be between 1 and 1024")
        if self.cache_block_seq_len < 16 or self.cache_block_seq_len & (self.cache_block_seq_len - 1):
            found.append("a KV block must hold 16, 32, 64, 128 … tokens")
        if self.quant_policy not in (0, 4, 8):
            found.append("the KV cache can have 16, 8 or 4 bits (quant policy 0, 8 or 4)")
        if self.max_prefill_token_num < 1:
            found.append("the prefill step must be at least 1 token")
        if self.rope_scaling_factor < 0:
            found.append("the rope scaling factor must not be negative")
        return found

    def check(self) -> None:
        """Raise TurbodeskError (engine_config_invalid) naming every problem."""
        if found := self.problems():
            raise error(FailureCode.ENGINE_CONFIG_INVALID, reason="; ".join(found))


def visible_devices(config: EngineConfig) -> tuple[int, ...] | None:
    """The numbers that devices have for a process that sees only those of card_uuids."""
    return tuple(range(len(config.card_uuids))) if config.card_uuids else config.devices


def with_setting(config: EngineConfig, setting: dict[str, object]) -> EngineConfig:
    """config with what a Failure.setting changes; as it is where that cannot be, as an older program may have left."""
    try:
        changed = msgspec.convert({**msgspec.to_builtins(config), **setting}, EngineConfig)
    except msgspec.ValidationError:
        return config
    return config if changed.problems() else changed
