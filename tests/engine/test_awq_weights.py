"""AWQ folders against what LMDeploy packs and against LMDeploy's own unpacking."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lmdeploy.lite.quantization.modules import WeightOnlyQLinear
from lmdeploy.lite.quantization.weight import WeightQuantizer
from lmdeploy.messages import TurbomindEngineConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.engine import awq_weights
from desktop.engine.cpu_loading import load_model
from tests.engine.tiny_checkpoint import GROUP, write_tiny

SETTINGS = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}


def pack(weight: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """LMDeploy's packed tensors of a linear layer, and the weight they stand for."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    linear.weight.data = weight
    quantizer = WeightQuantizer(4, False, "per_group", GROUP)
    packed = WeightOnlyQLinear.from_linear(linear, quantizer)
    tensors = {"qweight": packed.qweight, "qzeros": packed.qzeros, "scales": packed.scales}
    return tensors, quantizer.quant(weight, quantizer.calculate_qparams(weight))


def load(path: Path) -> Any:
    return load_model(str(path), TurbomindEngineConfig(), "cpu", lambda _: None, False)


@pytest.fixture(scope="module")
def awq_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder packed by LMDeploy, and one with the 16-bit weights that its packed layers stand for."""
    plain, packed = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("packed")
    write_tiny(plain, dtype=torch.float16)
    shutil.copytree(plain, packed, dirs_exist_ok=True)
    weights = load_file(plain / "model.safetensors")
    stored: dict[str, torch.Tensor] = {}
    for name, weight in list(weights.items()):
        if name.endswith("_proj.weight"):
            tensors, weights[name] = pack(weight)
            stored |= {f"{name.removesuffix('.weight')}.{kind}": tensor for kind, tensor in tensors.items()}
        else:
            stored[name] = weight
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, packed / "model.safetensors")
    save_file(weights, plain / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(json.dumps({**config, "quantization_config": SETTINGS}))
    return packed, plain


def test_unpacking_undoes_lmdeploys_packing() -> None:
    weight = torch.randn(24, 2 * GROUP, dtype=torch.float16, generator=torch.Generator().manual_seed(0))
    tensors, expected = pack(weight)
    found = awq_weights.dequantize(**tensors)
    assert found.shape == weight.shape
    torch.testing.assert_close(found, expected.float(), rtol=2e-3, atol=2e-3)


def test_agrees_with_lmdeploys_own_dequantization() -> None:
    from lmdeploy.pytorch.backends.default.awq_modules import dequantize_gemm

    random = torch.Generator().manual_seed(1)
    qweight = torch.randint(-(2**31), 2**31 - 1, (2 * GROUP, 6), generator=random, dtype=torch.int32)
    qzeros = torch.randint(-(2**31), 2**31 - 1, (2, 6), generator=random, dtype=torch.int32)
    scales = torch.rand(2, 48, generator=random)
    expected = dequantize_gemm(qweight, qzeros, scales, 4, GROUP).t()
    assert torch.equal(awq_weights.dequantize(qweight, qzeros, scales), expected)


def test_a_packed_folder_is_the_model_of_its_16_bit_weights(awq_folder: tuple[Path, Path]) -> None:
    packed, plain = awq_folder
    ids = torch.tensor([[5, 9, 33, 2, 17]])
    model = load(packed)
    expected = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, expected(ids).logits, rtol=1e-2, atol=1e-2)
    assert not hasattr(model.config, "quantization_config")
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("kind", ["qweight", "qzeros", "scales"])
def test_a_missing_packed_tensor_is_named(awq_folder: tuple[Path, Path], tmp_path: Path, kind: str) -> None:
    name = f"model.layers.1.mlp.up_proj.{kind}"
    shutil.copytree(awq_folder[0], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(TurbodeskError) as caught:
        load(tmp_path)
    assert caught.value.failure.code is FailureCode.WEIGHTS_MISSING
    assert name in caught.value.failure.message


@pytest.mark.parametrize("name", ["model.stray", "model.layers.7.mlp.up_proj.bias"])
def test_a_stray_tensor_of_a_packed_folder_is_named(awq_folder: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(awq_folder[0], tmp_path, dirs_exist_ok=True)
    weights = {**load_file(tmp_path / "model.safetensors"), name: torch.zeros(3)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(TurbodeskError) as caught:
        load(tmp_path)
    assert caught.value.failure.code is FailureCode.WEIGHTS_BROKEN
    assert name in caught.value.failure.message


def test_shapes_that_do_not_fit_are_named(awq_folder: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(awq_folder[0], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.scales"] = torch.zeros(3, 8, dtype=torch.float16)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(TurbodeskError) as caught:
        load(tmp_path)
    assert caught.value.failure.code is FailureCode.WEIGHTS_BROKEN
    assert "model.layers.0.mlp.up_proj" in caught.value.failure.message


@pytest.mark.parametrize(
    "changes", [{"quant_method": "gptq"}, {"quant_method": "fp8"}, {"bits": 8}, {"version": "gemv"}], ids=str
)
def test_other_quantizations_are_refused(
    awq_folder: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(awq_folder[0], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TurbodeskError) as caught:
        load(tmp_path)
    assert caught.value.failure.code is FailureCode.ARCHITECTURE_UNSUPPORTED
