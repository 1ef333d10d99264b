"""Plans, which methods a model allows, what a job will need: against published figures and real families' shapes."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.domain.checkpoint import parse_config
from desktop.domain.engine_support import QuantizerSupport
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.quantization import (
    METHODS,
    QuantizationMethod,
    QuantizationPlan,
    command_line,
    facts_of,
    python_script,
)
from desktop.domain.quantization_choice import MethodChoice, method_choices
from desktop.domain.quantization_preflight import (
    CUDA_CONTEXT_BYTES,
    Room,
    advice,
    fitting_plan,
    forecast_needs,
    preflight,
)
from desktop.domain.quantization_source import QuantizationSource, quantization_source
from tests.domain.headers import Headers, entry, text_headers

M = QuantizationMethod
GIB = 2**30
KNOWN = QuantizerSupport(known=True, smooths=True)
PLENTY = Room(disk=2**50, host=2**50, card=2**50)

LLAMA_2_70B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}
QWEN1_5_7B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 151936,
}


def source(config: dict[str, Any], headers: Headers | None = None) -> QuantizationSource:
    return quantization_source(parse_config(config), headers or text_headers(config))


def plan(method: M = M.AWQ, **changes: Any) -> QuantizationPlan:
    return QuantizationPlan(**{"source": "/models/a", "target": "/models/b", "method": method, **changes})


def choices(found: QuantizationSource, quantizer: QuantizerSupport = KNOWN, card: bool = True) -> dict[M, MethodChoice]:
    return {choice.facts.method: choice for choice in method_choices(found, quantizer, card)}


def test_every_method_has_its_words() -> None:
    assert {facts.method for facts in METHODS} == set(M)
    for facts in METHODS:
        assert facts_of(facts.method) is facts
        for sentence in (facts.memory, facts.speed, facts.quality, facts.engine):
            assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group_size": 64}, "TurboMind loads 128 only"),
        ({"samples": 0}, "between 1 and 4096 samples"),
        ({"sequence_length": 8}, "between 16 and 32,768 tokens"),
        ({"batch_size": 200}, "at most as many as there are samples"),
        ({"method": M.AWQ_SEARCH, "samples": 10, "batch_size": 4}, "multiple of the batch size"),
        ({"method": M.GPTQ, "device": "cpu"}, "GPTQ needs a card"),
        ({"kept": (" ",)}, "has no name"),
    ],
)
def test_a_plan_that_cannot_work_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TurbodeskError, match=words) as caught:
        plan(**changes).check()
    assert caught.value.failure.code is FailureCode.QUANTIZATION_REFUSED


def test_a_plan_crosses_process_borders() -> None:
    sent = plan(M.FP8, kept=("layers.0.",), device="cpu")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=QuantizationPlan) == sent
    assert (sent.dtype, plan().dtype) == ("float16", "auto")
    assert (plan(M.ROUND).calibration_tokens, plan().calibration_tokens) == (0, 128 * 2048)


def test_a_command_line_survives_the_shell() -> None:
    line = command_line(plan(M.AWQ_SEARCH, source="/my models/it's", device="cpu"))
    words = shlex.split(line)
    assert words[:5] == ["CUDA_VISIBLE_DEVICES=", "lmdeploy", "lite", "auto_awq", "/my models/it's"]
    assert "--search-scale" in words
    assert words[words.index("--dtype") + 1] == "float16"


@pytest.mark.parametrize("method", [M.AWQ, M.AWQ_SEARCH, M.ROUND, M.INT8, M.FP8])
def test_a_script_is_python(method: M) -> None:
    script = python_script(plan(method, kept=("layers.0.",)), "/models/b/calibration.jsonl")
    compile(script, "script", "exec")
    assert ("get_calib_loaders" in script) == facts_of(method).calibrates


def test_all_is_possible_with_a_plain_model() -> None:
    found = choices(source(LLAMA_2_70B))
    assert [method for method, choice in found.items() if not choice.possible] == [M.GPTQ]
    assert [method for method, choice in found.items() if choice.recommended] == [M.AWQ]
    assert "not installed" in found[M.GPTQ].why_not
    with_gptq = msgspec.structs.replace(KNOWN, gptq=True)
    assert choices(source(LLAMA_2_70B), with_gptq)[M.GPTQ].possible
    assert "card" in choices(source(LLAMA_2_70B), with_gptq, card=False)[M.GPTQ].why_not


def test_a_quantized_model_is_not_quantized_again() -> None:
    config = {**LLAMA_2_70B, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    found = choices(source(config))
    assert all("already quantized (awq)" in choice.why_not for choice in found.values())
    assert not any(choice.recommended for choice in found.values())


def test_layers_that_do_not_divide_leave_eight_bits() -> None:
    config = {**LLAMA_2_70B, "intermediate_size": 1000, "num_hidden_layers": 2}
    found = choices(source(config))
    assert "mlp.down_proj has 1000 inputs" in found[M.AWQ].why_not
    assert "128" in found[M.ROUND].why_not
    assert [method for method, choice in found.items() if choice.possible] == [M.INT8, M.FP8]
    assert found[M.INT8].recommended


def test_a_family_without_maps_is_rounded_only() -> None:
    config = {**LLAMA_2_70B, "num_experts": 4, "moe_intermediate_size": 768, "num_hidden_layers": 2}
    reason = "Qwen3MoeForCausalLM has no mlp.gate_proj in its layers, which LMDeploy expects there."
    quantizer = QuantizerSupport(known=True, smooths=False, reason=reason, skipped=("mlp.gate",))
    found = choices(source(config), quantizer)
    assert [method for method, choice in found.items() if choice.possible] == [M.ROUND]
    assert found[M.ROUND].recommended
    assert reason in found[M.AWQ].why_not


def test_an_unknown_family_and_pictures_are_refused() -> None:
    unknown = QuantizerSupport(known=False, reason="LMDeploy's quantizers do not know the architecture X.")
    assert {choice.why_not for choice in choices(source(LLAMA_2_70B), unknown).values()} >= {unknown.reason}
    pictures = msgspec.structs.replace(KNOWN, pictures=True)
    assert not any(choice.possible for choice in choices(source(LLAMA_2_70B), pictures).values())


@pytest.mark.parametrize(("config", "length", "reported"), [(LLAMA_2_70B, 2048, 18.10), (QWEN1_5_7B, 1024, 5.56)])
def test_video_memory_agrees_with_what_was_reported_until_the_last_layer(
    config: dict[str, Any], length: int, reported: float
) -> None:
    """LMDeploy issues 1729 and 1656, 128 samples. The last norm is derived to need more."""
    found = source(config)
    states = 2 * 128 * length * config["hidden_size"]
    layers = 4 * states + found.embedding_bytes + found.layer_bytes
    assert layers / GIB == pytest.approx(reported, abs=0.03)
    card = forecast_needs(plan(sequence_length=length), found).card - CUDA_CONTEXT_BYTES
    assert card == max(layers, 6 * states + found.embedding_bytes)


def test_needs_by_device_and_method() -> None:
    found = source(QWEN1_5_7B)
    on_card, on_cpu = forecast_needs(plan(), found), forecast_needs(plan(device="cpu"), found)
    assert on_cpu.card == 0
    assert on_cpu.host > on_card.host >= found.model_bytes
    assert forecast_needs(plan(M.ROUND), found).card < on_card.card
    assert forecast_needs(plan(M.AWQ_SEARCH), found).card >= on_card.card
    assert on_card.result < forecast_needs(plan(M.INT8), found).result < found.model_bytes
    kept = forecast_needs(plan(kept=("layers.0.",)), found).result
    assert kept - on_card.result == pytest.approx(found.layer_bytes * (1 - 133 / 512), rel=0.01)


def test_each_shortage_has_a_number_and_settings_that_fit() -> None:
    found = source(QWEN1_5_7B)
    needs = forecast_needs(plan(), found)
    assert preflight(plan(), found, PLENTY).fits
    short = preflight(plan(), found, Room(disk=GIB, host=2 * GIB, card=6 * GIB))
    disk, host, card = short.warnings
    assert "on the disk, and 1.0 GB are free" in disk
    assert "of memory, and 2.0 GB are free" in host
    assert "6.0 GB are free on the card" in card
    assert short.suggestion is None  # no setting makes the disk larger
    tight = preflight(plan(), found, msgspec.structs.replace(PLENTY, card=9 * GIB))
    assert f"{needs.card / GIB:.1f} GB of video memory, and 9.0 GB are free" in tight.warnings[0]
    assert tight.suggestion is not None
    assert tight.suggestion.samples == 64
    assert "no card" in preflight(plan(), found, msgspec.structs.replace(PLENTY, card=None)).warnings[0]
    assert "64 samples of 2048 tokens" in advice(plan(), found, msgspec.structs.replace(PLENTY, card=9 * GIB))
    assert "64 samples" in advice(plan(), found, PLENTY)  # where the forecast itself was too low
    assert "smaller model" in advice(plan(), found, msgspec.structs.replace(PLENTY, card=GIB // 2))


@given(
    card=st.integers(0, 40 * GIB),
    samples=st.integers(1, 512),
    length=st.sampled_from((64, 512, 2048, 8192)),
    batch=st.integers(1, 8),
)
def test_what_is_suggested_fits_and_asks_for_no_more(card: int, samples: int, length: int, batch: int) -> None:
    found = source(QWEN1_5_7B)
    asked = plan(samples=samples, sequence_length=length, batch_size=min(batch, samples))
    room = msgspec.structs.replace(PLENTY, card=card)
    fitting = fitting_plan(asked, found, room)
    if fitting is None:
        assert forecast_needs(asked, found).card > card
        return
    assert forecast_needs(fitting, found).card <= card
    assert not fitting.problems()
    assert (fitting.samples, fitting.sequence_length) <= (samples, length)
    if forecast_needs(asked, found).card <= card:
        assert fitting == asked


def test_tied_heads_and_what_training_left_do_not_count() -> None:
    config = {**LLAMA_2_70B, "num_hidden_layers": 2, "tie_word_embeddings": True}
    plain = source(config)
    more = {
        **text_headers(config),
        "lm_head.weight": entry(32000, 8192),
        "model.layers.0.self_attn.rotary_emb.inv_freq": entry(64, dtype="F32"),
        "mtp.layers.0.mlp.up_proj.weight": entry(64, 64),
    }
    assert source(config, more).result_bytes(M.AWQ) == plain.result_bytes(M.AWQ)
    assert plain.layers == 2
