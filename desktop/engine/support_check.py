"""Asks the installed LMDeploy whether each backend runs a checkpoint, from its config alone. Imports torch.

TurboMind's checks of quantized weights stand in a module of LMDeploy that loads only beside a driver, so they are
repeated here; a test compares them with the installed source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineVerdict
from desktop.domain.errors import TurbodeskError
from desktop.domain.one_line import one_line
from desktop.engine.lmdeploy_config import CPU_READS_PICTURES, check_architecture

# LMDeploy's turbomind/converter.py: group sizes by quantization, and the one that counts where none is named.
TURBOMIND_GROUP_SIZES = {
    "awq": (128, frozenset({128})),
    "gptq": (128, frozenset({128})),
    "compressed-tensors": (128, frozenset({32, 128})),
    "fp8": (128, frozenset({128})),
    "mxfp4": (32, frozenset({32})),
}
# Head sizes for which TurboMind has kernels to read a KV cache of so many bits (kernels/attention in its source).
_KV_HEAD_SIZES = {8: (64, 128, 192, 256), 4: (64, 128, 256)}


def lmdeploy_version() -> str:
    """Of the installed one, without importing it."""
    import importlib.metadata

    try:
        return importlib.metadata.version("lmdeploy")
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_support(path: str) -> tuple[EngineVerdict, ...]:
    """The verdicts on a model folder; code in the folder is not run. Raises whatever Transformers raises for it."""
    from lmdeploy.archs import get_model_arch
    from lmdeploy.turbomind.supported_models import is_supported

    architecture, config = get_model_arch(path, trust_remote_code=False)
    quantization = _quantization(config.to_dict())
    return (
        _turbomind(architecture, config, quantization, is_supported(path, trust_remote_code=False)),
        _pytorch(architecture, config, quantization),
        _cpu(architecture, config, quantization),
    )


def _turbomind(architecture: str, config: Any, quantization: Mapping[str, Any], known: bool) -> EngineVerdict:
    from lmdeploy.turbomind.supported_models import SUPPORTED_ARCHS

    backend = Backend.TURBOMIND
    if architecture not in SUPPORTED_ARCHS:
        return _no(backend, f"TurboMind does not know the architecture {architecture}.")
    method = str(quantization.get("quant_method", ""))
    if method == "smooth_quant":
        return _no(backend, "W8A8 weights (smooth_quant) run on the PyTorch engine only.")
    if not known:
        return _no(backend, f"TurboMind does not run this kind of {architecture}.")
    if quantization and (reason := turbomind_refusal(quantization)):
        return _no(backend, reason)
    return EngineVerdict(
        backend=backend,
        runs=True,
        reason=f"TurboMind runs {architecture}" + (f" with {method} weights." if method else "."),
        notes=_kv_notes(config),
    )


def turbomind_refusal(quantization: Mapping[str, Any]) -> str:
    """Why TurboMind refuses weights that config.json describes so, as a sentence; "" where it does not."""
    method = str(quantization.get("quant_method"))
    if method not in TURBOMIND_GROUP_SIZES:
        return f"TurboMind does not know weights quantized with {one_line(method, 40)}."
    group_size = quantization.get("group_size", 0)
    if method == "awq" and quantization.get("version") != "gemm":
        return f"AWQ layout {quantization.get('version')}: TurboMind runs the gemm layout only."
    if method == "gptq" and (quantization.get("desc_act", False) or not quantization.get("sym", True)):
        return "GPTQ with desc_act or without sym: TurboMind runs neither."
    if method == "mxfp4":
        group_size = 32
    if method == "compressed-tensors":
        group = _at(quantization, "config_groups", "group_0")
        weights = _at(group, "weights")
        if group.get("format") != "pack-quantized":
            return f"compressed-tensors of the format {group.get('format')}: TurboMind runs pack-quantized only."
        if weights.get("num_bits") != 4 or weights.get("type") != "int":
            return "compressed-tensors: TurboMind runs integers of 4 bits only."
        group_size = weights.get("group_size")
    default, sizes = TURBOMIND_GROUP_SIZES[method]
    if (group_size or default) not in sizes:
        allowed = " and ".join(map(str, sorted(sizes)))
        return f"Group size {group_size}: with {method} weights TurboMind runs {allowed} only."
    return ""


def _pytorch(architecture: str, config: Any, quantization: Mapping[str, Any]) -> EngineVerdict:
    from lmdeploy.pytorch.config import QuantizationConfig
    from lmdeploy.pytorch.models.module_map import REMOVED_MODEL_MAP

    backend = Backend.PYTORCH
    if architecture in REMOVED_MODEL_MAP:
        return _no(backend, f"LMDeploy no longer runs {REMOVED_MODEL_MAP[architecture]}.")
    try:
        check_architecture(backend, architecture, EngineConfig())
    except TurbodeskError:
        return _no(backend, f"LMDeploy's PyTorch engine does not know the architecture {architecture}.")
    method = str(quantization.get("quant_method", ""))
    if method == "compressed-tensors" and not _has_experts(config):
        return _no(backend, "The PyTorch engine runs compressed-tensors weights in layers of experts only.")
    try:
        QuantizationConfig.from_config(config)
    except Exception as problem:
        return _no(backend, f"The PyTorch engine cannot use these weights: {_first_line(problem)}.")
    return EngineVerdict(
        backend=backend,
        runs=True,
        reason=f"LMDeploy's PyTorch engine runs {architecture}" + (f" with {method} weights." if method else "."),
    )


def _cpu(architecture: str, config: Any, quantization: Mapping[str, Any]) -> EngineVerdict:
    import transformers
    from transformers.models.auto import modeling_auto

    backend = Backend.CPU
    text = set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    pictures = set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
    if not hasattr(transformers, architecture):
        return _no(backend, f"Transformers {transformers.__version__} does not know the architecture {architecture}.")
    if architecture not in text | pictures:
        return _no(backend, f"{architecture} does not write text.")
    method = str(quantization.get("quant_method", ""))
    if quantization and method != "awq":
        return _no(backend, f"The CPU engine runs 16-bit and AWQ weights, not {one_line(method, 40)}.")
    bits = quantization.get("bits", quantization.get("w_bit"))
    if quantization and (bits != 4 or quantization.get("version", "gemm") != "gemm"):
        return _no(backend, "The CPU engine runs AWQ weights of 4 bits in the gemm layout only.")
    words = f"The CPU engine runs {architecture}, slowly"
    blind = architecture in pictures - CPU_READS_PICTURES
    return EngineVerdict(backend=backend, runs=True, reason=f"{words} and without pictures." if blind else f"{words}.")


def _kv_notes(config: Any) -> tuple[str, ...]:
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    size = getattr(text, "head_dim", None)
    heads, hidden = getattr(text, "num_attention_heads", None), getattr(text, "hidden_size", None)
    if not isinstance(size, int):
        if not isinstance(heads, int) or not isinstance(hidden, int) or heads < 1:
            return ()
        size = hidden // heads
    return tuple(
        f"Head size {size}: TurboMind has no KV cache of {bits} bits for it."
        for bits, sizes in _KV_HEAD_SIZES.items()
        if size not in sizes
    )


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    from lmdeploy.archs import search_nested_config

    found = search_nested_config(config, "quantization_config")
    return found if isinstance(found, dict) else {}


def _has_experts(config: Any) -> bool:
    return "experts" in json.dumps(config.to_dict(), default=str)


def _at(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = value.get(key)
        value = found if isinstance(found, dict) else {}
    return value


def _no(backend: Backend, reason: str) -> EngineVerdict:
    return EngineVerdict(backend=backend, runs=False, reason=one_line(reason, 300))


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return one_line(lines[0].rstrip("."), 200) if lines else type(problem).__name__
