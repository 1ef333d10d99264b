"""What the installed LMDeploy says of models, and that what is repeated from it still says the same."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from desktop.domain.engine_config import Backend
from desktop.engine.support_check import (
    TURBOMIND_GROUP_SIZES,
    check_support,
    lmdeploy_version,
    turbomind_refusal,
)
from desktop.storage.paths import demo_checkpoint
from tests.storage.model_folders import CONFIG

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
PACKED = {"num_bits": 4, "type": "int", "group_size": 32, "strategy": "group", "symmetric": True, "dynamic": False}


def compressed(**weights: Any) -> dict[str, Any]:
    group = {"format": "pack-quantized", "targets": ["Linear"], "weights": {**PACKED, **weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
    }


def verdicts(folder: Path, **config: Any) -> dict[Backend, tuple[bool, str]]:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return {verdict.backend: (verdict.runs, verdict.reason) for verdict in check_support(str(folder))}


def test_the_demo_model_runs_everywhere() -> None:
    found = check_support(str(demo_checkpoint()))
    assert [(verdict.backend, verdict.runs) for verdict in found] == [
        (Backend.TURBOMIND, True),
        (Backend.PYTORCH, True),
        (Backend.CPU, True),
    ]
    assert found[0].notes == ()


@pytest.mark.parametrize(
    ("config", "runs", "sentence"),
    [
        ({}, (True, True, True), "TurboMind runs Qwen3ForCausalLM."),
        ({"quantization_config": AWQ}, (True, True, True), "with awq weights"),
        (
            {"quantization_config": {**AWQ, "group_size": 64}},
            (False, True, True),
            "Group size 64: with awq weights TurboMind runs 128 only.",
        ),
        (
            {"quantization_config": {"quant_method": "smooth_quant", "quant_dtype": "int8"}},
            (False, True, False),
            "W8A8 weights (smooth_quant) run on the PyTorch engine only.",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
            (True, False, False),
            "The PyTorch engine cannot use these weights: Unsupported quant method: gptq.",
        ),
        ({"quantization_config": {"quant_method": "fp8"}}, (True, True, False), "not fp8"),
        ({"quantization_config": compressed()}, (True, False, False), "layers of experts only"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            (False, False, False),
            "TurboMind does not know weights quantized with bitsandbytes.",
        ),
        (
            {"architectures": ["MistralForCausalLM"], "model_type": "mistral"},
            (False, True, True),
            "TurboMind does not know the architecture MistralForCausalLM.",
        ),
        (
            {"architectures": ["BertModel"], "model_type": "bert"},
            (False, False, False),
            "BertModel does not write text.",
        ),
        (
            {"architectures": ["QWenLMHeadModel"], "model_type": "qwen"},
            (False, False, False),
            "LMDeploy no longer runs Qwen and Qwen-VL.",
        ),
        (
            {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"},
            (True, True, True),
            "The CPU engine runs Qwen2_5_VLForConditionalGeneration, slowly.",
        ),
        (
            {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"},
            (False, True, True),
            "The CPU engine runs Gemma3ForConditionalGeneration, slowly and without pictures.",
        ),
    ],
)
def test_verdicts(tmp_path: Path, config: dict[str, Any], runs: tuple[bool, ...], sentence: str) -> None:
    found = verdicts(tmp_path, **config)
    assert tuple(runs for runs, _ in found.values()) == runs, found
    assert any(sentence in reason for _, reason in found.values()), found
    for _, reason in found.values():
        assert reason.endswith(".")
        assert ".." not in reason


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "configuration_x.py").write_text("raise SystemExit('this was run')")
    auto_map = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "configuration_x.XForCausalLM"}
    found = verdicts(tmp_path, architectures=["XForCausalLM"], model_type="x", auto_map=auto_map)
    assert not any(runs for runs, _ in found.values())


def test_a_head_size_without_kernels_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "head_dim": 192}))
    assert check_support(str(tmp_path))[0].notes == ("Head size 192: TurboMind has no KV cache of 4 bits for it.",)


@pytest.mark.parametrize(
    ("quantization", "word"),
    [
        ({**AWQ, "version": "gemv"}, "gemm layout only"),
        ({**AWQ, "group_size": 0}, ""),
        ({"quant_method": "gptq", "group_size": 128, "desc_act": True}, "desc_act"),
        ({"quant_method": "gptq", "group_size": 128, "sym": False}, "sym"),
        ({"quant_method": "gptq", "group_size": 32}, "128 only"),
        ({"quant_method": "mxfp4"}, ""),
        (compressed(), ""),
        (compressed(group_size=64), "32 and 128 only"),
        (compressed(num_bits=8), "4 bits only"),
        (compressed(type="float"), "4 bits only"),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"format": "int-quantized"}}}, "format"),
        ({"quant_method": "compressed-tensors", "config_groups": 5}, "format"),
        ({"quant_method": "hqq"}, "hqq"),
        ({}, "None"),
    ],
)
def test_what_turbomind_refuses(quantization: dict[str, Any], word: str) -> None:
    reason = turbomind_refusal(quantization)
    assert (word in reason) if word else (reason == "")


def test_our_group_sizes_are_those_of_the_installed_lmdeploy() -> None:
    """The module loads only where a driver is, so its source is read."""
    spec = importlib.util.find_spec("lmdeploy.turbomind")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).with_name("converter.py").read_text())
    tables = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in ("_DEFAULT_GROUP_SIZES", "_SUPPORTED_GROUP_SIZES"):
                tables[name] = eval(compile(ast.Expression(statement.value), "", "eval"), {"frozenset": frozenset})
    assert tables["_DEFAULT_GROUP_SIZES"] == {name: default for name, (default, _) in TURBOMIND_GROUP_SIZES.items()}
    assert tables["_SUPPORTED_GROUP_SIZES"] == {name: sizes for name, (_, sizes) in TURBOMIND_GROUP_SIZES.items()}


def test_the_version_is_the_one_that_runs() -> None:
    import lmdeploy

    assert lmdeploy_version() == lmdeploy.__version__
