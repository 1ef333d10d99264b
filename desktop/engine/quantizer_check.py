"""Asks the installed LMDeploy's quantizers whether they know a checkpoint, from its config alone. Imports torch.

LMDeploy describes the layers of a family in maps (lmdeploy/lite/apis/calibrate.py, lmdeploy/lite/quantization/awq.py).
A family may stand in them and yet have other layers than they say, so the names are looked for in an empty model.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from desktop.domain.engine_support import QuantizerSupport
from desktop.domain.one_line import one_line


def check_quantizer(path: str) -> QuantizerSupport:
    """What they know of a model folder; code in the folder is not run. Raises whatever Transformers raises for it."""
    from lmdeploy.archs import get_model_arch
    from lmdeploy.lite.apis.calibrate import HEAD_NAME_MAP, LAYER_TYPE_MAP, NORM_TYPE_MAP, check_vl_llm
    from lmdeploy.lite.model import MODELS
    from lmdeploy.lite.quantization.awq import FC_FCS_MAP, NORM_FCS_MAP

    architecture, config = get_model_arch(path, trust_remote_code=False)
    rebuilder = MODELS.get(architecture)
    skipped = tuple(rebuilder.skipped_modules() or ()) if rebuilder else ()
    pictures = check_vl_llm("turbomind", config.to_dict())
    gptq = importlib.util.find_spec("auto_gptq") is not None
    layer = LAYER_TYPE_MAP.get(architecture)
    if layer is None or architecture not in NORM_TYPE_MAP or architecture not in HEAD_NAME_MAP:
        reason = f"LMDeploy's quantizers do not know the architecture {one_line(architecture, 80)}."
        return QuantizerSupport(known=False, reason=reason, pictures=pictures, gptq=gptq)
    reason = ""
    if layer not in NORM_FCS_MAP or layer not in FC_FCS_MAP:
        reason = f"LMDeploy does not know which layers of {architecture} follow each other."
    elif not pictures and (missing := _missing(config, layer, {**NORM_FCS_MAP[layer], **FC_FCS_MAP[layer]})):
        reason = f"{architecture} has no {one_line(missing, 80)} in its layers, which LMDeploy expects there."
    return QuantizerSupport(
        known=True, smooths=not reason, reason=reason, skipped=skipped, pictures=pictures, gptq=gptq
    )


def _missing(config: Any, layer: str, followers: dict[str, list[str]]) -> str:
    """The first module that the map names and a layer of the model has not; "" where all are there.

    Nothing is said of a model whose classes come with its folder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if type(config) not in AutoModelForCausalLM._model_mapping:
        return ""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    for module in model.modules():
        if type(module).__name__ != layer:
            continue
        there = {name for name, _ in module.named_modules()}
        for before, after in followers.items():
            for name in (before, *after):
                if name.replace("{i}", "0") not in there:
                    return name.replace("{i}", "0")
    return ""
