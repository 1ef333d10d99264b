"""What LMDeployEngine hands to LMDeploy, and how LMDeploy's words come back."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import SamplingParams
from desktop.engine import lmdeploy_config, lmdeploy_engine, lmdeploy_failures
from desktop.storage.paths import demo_checkpoint

FULL = EngineConfig(
    dtype="float16",
    model_format="awq",
    tp=2,
    devices=(1, 3),
    session_len=4096,
    max_batch_size=7,
    cache_max_entry_count=0.33,
    cache_block_seq_len=128,
    quant_policy=4,
    enable_prefix_caching=True,
    max_prefill_token_num=1024,
    rope_scaling_factor=2.0,
    language_model_only=True,
    communicator="cuda-ipc",
    hf_overrides={"rope_parameters": {"factor": 2.0}},
    enable_metrics=False,
)
# Named otherwise in LMDeploy, or not a setting of its engine.
OURS = {"backend", "trust_remote_code", "card_uuids"}


def test_every_setting_reaches_turbomind() -> None:
    given: Any = lmdeploy_config.backend_config(Backend.TURBOMIND, FULL)
    for name in set(FULL.__struct_fields__) - OURS:
        value = getattr(FULL, name)
        assert getattr(given, name) == (list(value) if isinstance(value, tuple) else value), name
        assert value != getattr(EngineConfig(), name), f"{name} must differ from its default to prove anything"


def test_the_pytorch_engine_gets_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    given: Any = lmdeploy_config.backend_config(Backend.PYTORCH, FULL)
    assert given.block_size == 128
    assert given.quant_policy == 4
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"


def test_cards_that_are_shown_by_name_have_new_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = msgspec.structs.replace(FULL, card_uuids=("GPU-b", "GPU-d"))
    given: Any = lmdeploy_config.backend_config(Backend.TURBOMIND, chosen)
    assert given.devices == [0, 1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b,GPU-d")
    lmdeploy_config.backend_config(Backend.PYTORCH, chosen)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-d"


def test_the_cards_are_shown_before_cuda_starts_and_never_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    chosen = EngineConfig(devices=(1,), card_uuids=("MIG-b",))
    lmdeploy_config.show_cards(EngineConfig())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    lmdeploy_config.show_cards(chosen)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-b"
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    lmdeploy_config.show_cards(chosen)
    with pytest.raises(TurbodeskError) as caught:
        lmdeploy_config.show_cards(EngineConfig(devices=(0,), card_uuids=("MIG-a",)))
    assert caught.value.failure.code is FailureCode.ENGINE_CONFIG_INVALID


@pytest.mark.parametrize("backend", [Backend.PYTORCH, Backend.CPU])
def test_an_architecture_nobody_runs_is_named(backend: Backend) -> None:
    lmdeploy_config.check_architecture(backend, "Qwen3ForCausalLM", EngineConfig())
    with pytest.raises(TurbodeskError) as caught:
        lmdeploy_config.check_architecture(backend, "UnheardOfForCausalLM", EngineConfig())
    assert caught.value.failure.code is FailureCode.ARCHITECTURE_UNSUPPORTED
    assert "UnheardOfForCausalLM" in caught.value.failure.message


def test_temperature_zero_is_greedy_and_the_rest_is_passed_on() -> None:
    assert lmdeploy_config.generation_config(SamplingParams(temperature=0.0)).do_sample is False
    params = SamplingParams(
        max_new_tokens=9,
        temperature=0.5,
        top_p=0.6,
        top_k=7,
        min_p=0.1,
        repetition_penalty=1.2,
        seed=11,
        stop=("end",),
    )
    given: Any = lmdeploy_config.generation_config(params)
    assert given.do_sample is True
    assert given.random_seed == 11
    assert given.stop_words == ["end"]
    for name in ("max_new_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
        assert getattr(given, name) == getattr(params, name)


def test_errors_of_a_load_are_sorted_by_their_words() -> None:
    sorted_by = {
        "CUDA out of memory. Tried to allocate 2 GiB": FailureCode.VIDEO_MEMORY_EXHAUSTED,
        "Try apply_chat_template failed: 'x'": FailureCode.TOKENIZER_BROKEN,
        "something else": FailureCode.LOAD_FAILED,
    }
    for words, code in sorted_by.items():
        assert lmdeploy_failures.load_failure(RuntimeError(words)).code is code
    assert lmdeploy_failures.load_failure(MemoryError()).code is FailureCode.HOST_MEMORY_EXHAUSTED


def test_a_picture_that_fills_the_video_memory_is_told_apart() -> None:
    reading = RuntimeError("preprocessing failed")
    reading.__cause__ = RuntimeError("CUDA out of memory. Tried to allocate 5.50 GiB.")
    for problem in (reading, RuntimeError("CUDA out of memory. Tried to allocate 5.50 GiB.")):
        told = lmdeploy_failures.request_failure(problem)
        assert told.code is FailureCode.VIDEO_MEMORY_EXHAUSTED
        assert "Tried to allocate 5.50 GiB" in told.detail
    assert lmdeploy_failures.request_failure(RuntimeError("no")).code is FailureCode.REQUEST_FAILED


async def test_code_that_is_not_allowed_is_not_run(tmp_path: Path) -> None:
    for file in demo_checkpoint().iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **own}))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    engine = lmdeploy_engine.LMDeployEngine()
    with pytest.raises(TurbodeskError) as caught:
        await engine.load(str(tmp_path), EngineConfig(backend=Backend.CPU), lambda progress: None)
    assert caught.value.failure.code is FailureCode.CODE_NOT_ALLOWED
    assert not (tmp_path / "was run").exists()
    await engine.close()


async def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    for file in demo_checkpoint().iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text("{}")
    engine = lmdeploy_engine.LMDeployEngine()
    with pytest.raises(TurbodeskError) as caught:
        await engine.load(str(tmp_path), EngineConfig(backend=Backend.CPU), lambda progress: None)
    assert caught.value.failure.code is FailureCode.TOKENIZER_BROKEN
    await engine.close()
