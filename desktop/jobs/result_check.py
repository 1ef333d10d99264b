"""Checks a quantized folder as an engine would use it: its files, its numbers, and a pass through the whole model."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from desktop.domain.errors import FailureCode, TurbodeskError, error
from desktop.engine.cpu_loading import is_out_of_memory, load_model
from desktop.hardware.host import read_host
from desktop.storage.checkpoint_reader import read_checkpoint, safetensors_files

_TOKENS = 8
# Bytes for each parameter at least, while the unpacked weights become a model: two copies, of 16 bits or of 32.
_PASS_BYTES = {"awq": 4, "smooth_quant": 8}
_NO_MEMORY = "files and numbers; there was no memory for a pass through the model"


def check_result(folder: Path, tokens: Sequence[int], trust_remote_code: bool) -> str:
    """What was checked, in words. tokens: some of the model's own, for the pass.

    The pass is left out where memory does not suffice for the unpacked model: the work of hours is worth more.
    Raises TurbodeskError (result_broken, weights_not_finite).
    """
    try:
        checkpoint = read_checkpoint(folder)
    except TurbodeskError as problem:
        raise error(FailureCode.RESULT_BROKEN, reason=problem.failure.message.rstrip(".")) from problem
    if checkpoint.quantization is None:
        raise error(FailureCode.RESULT_BROKEN, reason="its config.json does not say that it is quantized")
    if bad := first_not_finite(folder):
        raise _not_finite(bad)
    method = checkpoint.quantization.method
    # Asked before: the system answers too large a wish by killing the process, and the work of hours with it.
    if (checkpoint.parameters or 0) * _PASS_BYTES.get(method, _PASS_BYTES["awq"]) > read_host().available:
        return _NO_MEMORY
    try:
        model = _load(folder, method, trust_remote_code)
        with torch.inference_mode():
            logits = model(torch.tensor([list(tokens)[:_TOKENS] or [0]])).logits
    except Exception as problem:
        short = isinstance(problem, TurbodeskError) and problem.failure.code is FailureCode.HOST_MEMORY_EXHAUSTED
        if short or is_out_of_memory(problem):
            return _NO_MEMORY
        if isinstance(problem, TurbodeskError):
            raise error(FailureCode.RESULT_BROKEN, reason=problem.failure.message.rstrip(".")) from problem
        raise
    if not torch.isfinite(logits).all():
        raise error(FailureCode.RESULT_BROKEN, reason="it computes numbers that are not finite")
    del model, logits
    gc.collect()
    return "files, numbers, and a pass through the model"


def first_not_finite(folder: Path) -> str:
    """The first tensor of a checkpoint with a NaN or an infinity in it, "" where all are finite."""
    for path in safetensors_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and not _finite(tensor):
                    return str(name)
    return ""


def _finite(tensor: torch.Tensor) -> bool:
    if tensor.element_size() == 1:  # of FP8; its scales would not be finite either
        return True
    # A sum is not finite where a number is not, and reads the tensor once without a copy.
    return bool(torch.isfinite(tensor.sum(dtype=torch.float64)))


def _load(folder: Path, method: str, trust_remote_code: bool) -> Any:
    """The model on the CPU, its weights unpacked again."""
    if method != "smooth_quant":
        from lmdeploy.messages import TurbomindEngineConfig

        return load_model(str(folder), TurbomindEngineConfig(), "cpu", lambda fraction: None, trust_remote_code)
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    del config.quantization_config
    with torch.device("meta"):
        model_class = type(AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code))
    model, found = model_class.from_pretrained(
        None, config=config, state_dict=_unpacked_8_bits(folder), dtype=torch.float32, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):
        raise error(FailureCode.WEIGHTS_MISSING, reason=f"there is no tensor {missing[0]}")
    return model.eval()


def _unpacked_8_bits(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for path in safetensors_files(folder):
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name in names:
                scale = f"{name.removesuffix('weight')}scale"
                if name.endswith(".weight") and scale in names:
                    weights[name] = file.get_tensor(name).float() * file.get_tensor(scale)
                elif not name.endswith(".scale"):
                    weights[name] = file.get_tensor(name)
    return weights


def _not_finite(name: str) -> TurbodeskError:
    return error(
        FailureCode.WEIGHTS_NOT_FINITE,
        layer=name,
        reason="quantizing made them NaN or infinite",
        advice="Try another method, or another copy of the model.",
    )
