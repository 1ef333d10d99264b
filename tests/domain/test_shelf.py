"""The words for what is found on disk."""

from __future__ import annotations

from typing import Any

import pytest

from desktop.domain.checkpoint import Checkpoint, parse_config
from desktop.domain.engine_config import Backend
from desktop.domain.engine_support import EngineSupport, EngineVerdict
from desktop.domain.one_line import one_line
from desktop.domain.shelf import Precision, SourceKind, family_words, precision_of, precision_words


def checkpoint(dtype: str = "BF16", **quantization: Any) -> Checkpoint:
    config = parse_config({"model_type": "qwen3", "quantization_config": quantization or None})
    return Checkpoint(
        **{name: getattr(config, name) for name in config.__struct_fields__},
        path="/x",
        name="x",
        label="",
        parameters=1,
        weight_bytes=2,
        dtypes=(dtype,),
        has_tokenizer=True,
        has_chat_template=False,
    )


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (checkpoint(), Precision.BITS_16, "16-bit"),
        (checkpoint("F32"), Precision.BITS_32, "32-bit"),
        (checkpoint("F8_E4M3"), Precision.FP8, "FP8"),
        (checkpoint("I8"), Precision.OTHER, "another quantization"),
        (checkpoint("I32", quant_method="awq", bits=4, group_size=128), Precision.AWQ, "AWQ, 4 bits, groups of 128"),
        (checkpoint("I32", quant_method="gptq", bits=8, group_size=-1), Precision.GPTQ, "GPTQ, 8 bits"),
        (checkpoint("U8", quant_method="mxfp4"), Precision.MXFP4, "MXFP4, groups of 32"),
        (checkpoint("F8_E4M3", quant_method="fp8"), Precision.FP8, "FP8"),
        (checkpoint("I8", quant_method="smooth_quant"), Precision.W8A8, "W8A8 (SmoothQuant)"),
        (checkpoint("U8", quant_method="bitsandbytes", load_in_4bit=True), Precision.OTHER, "bitsandbytes, 4 bits"),
        (
            checkpoint(
                "I32",
                quant_method="compressed-tensors",
                config_groups={"group_0": {"weights": {"num_bits": 4, "group_size": 32}}},
            ),
            Precision.COMPRESSED_TENSORS,
            "compressed-tensors, 4 bits, groups of 32",
        ),
    ],
)
def test_precision(found: Checkpoint, kind: Precision, words: str) -> None:
    assert (precision_of(found), precision_words(found)) == (kind, words)


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("qwen3", "Qwen3"),
        ("qwen2_5_vl", "Qwen2.5 VL"),
        ("qwen3_moe", "Qwen3 moe"),
        ("llama", "Llama"),
        ("chatglm", "ChatGLM"),
        ("glm4_moe_lite", "GLM4 moe lite"),
        ("gpt_oss", "gpt-oss"),
        ("deepseek_v3", "DeepSeek V3"),
        ("weird", "weird"),
        ("", "Arch"),
    ],
)
def test_family(model_type: str, words: str) -> None:
    assert family_words(parse_config({"model_type": model_type, "architectures": ["Arch"]})) == words


def test_every_kind_has_words() -> None:
    assert all(kind.words for kind in [*Precision, *SourceKind])


def test_one_line() -> None:
    assert one_line("a\nb\r\tc\x1b[0m\ud800\u202ed\u2028") == "a�b��c�[0m��d�"
    assert one_line("模型 🙂") == "模型 🙂"
    assert len(one_line("x" * 1000, 50)) == 50


def verdict(backend: Backend, runs: bool) -> EngineVerdict:
    return EngineVerdict(backend=backend, runs=runs, reason="R.")


@pytest.mark.parametrize(
    ("runs", "with_card", "without"),
    [
        ((True, True, True), Backend.TURBOMIND, Backend.CPU),
        ((False, True, False), Backend.PYTORCH, None),
        ((False, False, True), None, Backend.CPU),
        ((False, False, False), None, None),
    ],
)
def test_the_engine_that_would_be_chosen(
    runs: tuple[bool, ...], with_card: Backend | None, without: Backend | None
) -> None:
    backends = (Backend.TURBOMIND, Backend.PYTORCH, Backend.CPU)
    support = EngineSupport(lmdeploy="0.18.0", verdicts=tuple(map(verdict, backends, runs)))
    for has_card, expected in ((True, with_card), (False, without)):
        chosen = support.chosen(has_card)
        assert (chosen and chosen.backend) == expected
    assert support.of(Backend.CPU) == verdict(Backend.CPU, runs[2])
