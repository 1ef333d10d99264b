"""The CPU engine against Transformers: the same tokens, losses and logits, alone and in company."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lmdeploy.messages import EngineOutput, GenerationConfig, ResponseType, TurbomindEngineConfig
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.engine import cpu_decoders
from desktop.engine.cpu_backend import CpuBackend
from desktop.engine.cpu_decoders import SeparateDecoder, SlotDecoder
from tests.engine.tiny_checkpoint import SIZES, VOCABULARY, write_tiny

CONTEXT = 256
PROMPTS = [
    torch.randint(3, VOCABULARY, (size,), generator=torch.Generator().manual_seed(size)).tolist()
    for size in (11, 3, 40, 1, 25, 8, 33, 17)
]
GREEDY: dict[str, Any] = {"top_k": 1, "ignore_eos": True}
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.2, "top_k": 30, "top_p": 0.95, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[CpuBackend]:
    engine = CpuBackend(str(folder), TurbomindEngineConfig(max_batch_size=8, max_prefill_token_num=16))
    yield engine
    engine.close()


def greedy_of(model: Any, prompt: list[int], tokens: int) -> list[int]:
    """What Transformers' generate() writes."""
    ids = torch.tensor([prompt])
    settings = {"do_sample": False, "max_new_tokens": tokens, "eos_token_id": None, "pad_token_id": 0}
    found: list[int] = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :].tolist()
    return found


def stream(engine: CpuBackend, prompt: list[int], streamed: bool = True, **changes: Any) -> AsyncIterator[EngineOutput]:
    config = GenerationConfig(**{"max_new_tokens": 20, **changes})
    return engine.create_instance().async_stream_infer(0, prompt, gen_config=config, stream_output=streamed)


async def run(engine: CpuBackend, prompt: list[int], **changes: Any) -> tuple[list[int], EngineOutput]:
    """All tokens and the last output."""
    tokens: list[int] = []
    last = EngineOutput(ResponseType.INTERNAL_ENGINE_ERROR, [])
    async for last in stream(engine, prompt, **changes):
        tokens += last.token_ids
    return tokens, last


# The same text as Transformers


async def test_the_demo_architecture_is_batched_and_recorded(backend: CpuBackend) -> None:
    assert backend._scheduler is not None
    decoder = backend._scheduler._decoder
    assert isinstance(decoder, SlotDecoder)
    assert isinstance(decoder._forward, torch.jit.ScriptModule)


@pytest.mark.parametrize("prompt", PROMPTS[:4], ids=len)
async def test_greedy_alone(backend: CpuBackend, reference: Any, prompt: list[int]) -> None:
    tokens, last = await run(backend, prompt, max_new_tokens=60, **GREEDY)
    assert tokens == greedy_of(reference, prompt, 60)
    assert last.status is ResponseType.FINISH


async def test_greedy_in_a_ragged_batch_that_others_join_and_leave(backend: CpuBackend, reference: Any) -> None:
    async def one(number: int) -> list[int]:
        await asyncio.sleep(0.01 * number)
        return (await run(backend, PROMPTS[number % 8], max_new_tokens=10 + 9 * (number % 5), **GREEDY))[0]

    texts = await asyncio.gather(*[one(number) for number in range(14)])  # more than max_batch_size
    for number, text in enumerate(texts):
        assert text == greedy_of(reference, PROMPTS[number % 8], 10 + 9 * (number % 5)), number


FAMILIES: dict[str, tuple[Any, type]] = {
    "llama": (LlamaConfig(**SIZES), SlotDecoder),
    "qwen2": (Qwen2Config(**SIZES), SlotDecoder),
    "mixture of experts": (
        Qwen3MoeConfig(**SIZES, head_dim=32, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
        SlotDecoder,
    ),
    "sliding window": (MistralConfig(**SIZES, sliding_window=8), SeparateDecoder),
    "some layers slide": (Gemma3TextConfig(**SIZES, head_dim=16, sliding_window=8), SeparateDecoder),
    "convolution states": (
        Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]),
        SeparateDecoder,
    ),
    "frequencies from the length": (
        LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
        SeparateDecoder,
    ),
}


@pytest.mark.parametrize(("config", "decoder"), FAMILIES.values(), ids=FAMILIES)
async def test_other_families_write_what_transformers_writes(tmp_path: Path, config: Any, decoder: type) -> None:
    write_tiny(tmp_path, config)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    engine = CpuBackend(str(tmp_path), TurbomindEngineConfig(max_batch_size=4))
    try:
        assert engine._scheduler is not None
        assert type(engine._scheduler._decoder) is decoder
        texts = await asyncio.gather(*[run(engine, prompt, **GREEDY) for prompt in PROMPTS[:3]])
    finally:
        engine.close()
    for (tokens, _), prompt in zip(texts, PROMPTS, strict=False):
        assert tokens == greedy_of(model, prompt, 20)


def test_a_recording_that_computes_something_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SlotDecoder.record

    def wrong(self: SlotDecoder) -> None:
        record(self)
        recorded = self._forward
        self._forward = lambda *inputs: recorded(*inputs) * 1.01

    monkeypatch.setattr(SlotDecoder, "record", wrong)
    engine = CpuBackend(str(folder))
    engine.close()
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        decoder = cpu_decoders.make_decoder(model, 4, CONTEXT, 2**24)
    assert isinstance(decoder, SlotDecoder)
    assert decoder._forward == decoder._forward_plain


# Sampling


async def test_a_seed_gives_the_same_text_alone_and_in_company(backend: CpuBackend) -> None:
    alone = [(await run(backend, PROMPTS[0], random_seed=seed, **SAMPLED))[0] for seed in range(3)]
    company = [run(backend, prompt, random_seed=9, **SAMPLED) for prompt in PROMPTS[1:5]]
    together = await asyncio.gather(
        *[run(backend, PROMPTS[0], random_seed=seed, **SAMPLED) for seed in range(3)], *company
    )
    assert [tokens for tokens, _ in together[:3]] == alone
    assert len({tuple(tokens) for tokens in alone}) == 3


async def test_first_tokens_follow_the_models_distribution(backend: CpuBackend, reference: Any) -> None:
    draws = 400
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 1}
    runs = [run(backend, PROMPTS[0], random_seed=seed, **settings) for seed in range(draws)]
    first = torch.tensor([tokens[0] for tokens, _ in await asyncio.gather(*runs)])
    with torch.inference_mode():
        expected = reference(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(0)
    drawn = first.bincount(minlength=VOCABULARY) / draws
    assert bool(((drawn - expected).abs() <= 5 * (expected * (1 - expected) / draws).sqrt() + 1.5 / draws).all())


# Ends


async def test_a_stop_token_is_the_last_id(backend: CpuBackend, reference: Any) -> None:
    text = greedy_of(reference, PROMPTS[0], 20)
    stop = next(token for token in text if token != text[0])
    tokens, last = await run(backend, PROMPTS[0], top_k=1, stop_token_ids=[stop])
    assert tokens == text[: text.index(stop) + 1]
    assert last.status is ResponseType.FINISH
    assert last.token_ids[-1] == stop


async def test_stop_tokens_wait_for_min_new_tokens_and_are_ignored_on_request(
    backend: CpuBackend, reference: Any
) -> None:
    text = greedy_of(reference, PROMPTS[0], 20)
    later, _ = await run(backend, PROMPTS[0], top_k=1, stop_token_ids=text[:1], min_new_tokens=5)
    assert text[0] not in later[:5]
    ignored, _ = await run(backend, PROMPTS[0], top_k=1, stop_token_ids=text[:1], ignore_eos=True)
    assert ignored == text


async def test_a_reply_ends_where_the_session_is_full(backend: CpuBackend) -> None:
    prompt = (PROMPTS[2] * 7)[:250]
    tokens, last = await run(backend, prompt, max_new_tokens=100, **GREEDY)
    assert len(tokens) == CONTEXT - 250
    assert last.status is ResponseType.FINISH


@pytest.mark.parametrize("length", [0, CONTEXT, CONTEXT + 50])
async def test_a_prompt_that_cannot_fit_is_refused(backend: CpuBackend, length: int) -> None:
    tokens, last = await run(backend, [5] * length)
    assert (tokens, last.status) == ([], ResponseType.INPUT_LENGTH_ERROR)


@pytest.mark.parametrize(
    "changes",
    [{"response_format": {"type": "no such"}}, {"output_last_hidden_state": "all"}, {"multimodal": [{}]}],
    ids=str,
)
async def test_what_is_not_there_is_refused(backend: CpuBackend, changes: dict[str, Any]) -> None:
    pictures = changes.pop("multimodal", None)
    config = GenerationConfig(**changes)
    outputs = [
        output
        async for output in backend.create_instance().async_stream_infer(0, [5], gen_config=config, multimodal=pictures)
    ]
    assert [output.status for output in outputs] == [ResponseType.NOT_SUPPORTED]


async def test_a_grammar_that_no_token_fits_fails_its_request_alone(backend: CpuBackend) -> None:
    # The folder has no tokenizer, so no token stands for any text.
    tokens, last = await run(backend, [5] * 4, response_format={"type": "json_object"})
    assert (tokens, last.status) == ([], ResponseType.INTERNAL_ENGINE_ERROR)
    tokens, last = await run(backend, [5] * 4, max_new_tokens=3)
    assert (len(tokens), last.status) == (3, ResponseType.FINISH)


async def test_an_unknown_token_fails_its_own_request_only(backend: CpuBackend, reference: Any) -> None:
    (good, _), (_, bad) = await asyncio.gather(
        run(backend, PROMPTS[0], **GREEDY), run(backend, [5, VOCABULARY + 7], **GREEDY)
    )
    assert bad.status is ResponseType.INTERNAL_ENGINE_ERROR
    assert good == greedy_of(reference, PROMPTS[0], 20)


async def test_a_failing_step_ends_all_and_the_next_request_works(
    backend: CpuBackend, reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend._scheduler is not None
    decoder = backend._scheduler._decoder
    step, calls = decoder.step, 0

    def sometimes(tokens: list[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RuntimeError("broken")
        return step(tokens)

    monkeypatch.setattr(decoder, "step", sometimes)
    _, last = await run(backend, PROMPTS[0], **GREEDY)
    assert last.status is ResponseType.INTERNAL_ENGINE_ERROR
    tokens, _ = await run(backend, PROMPTS[0], **GREEDY)
    assert tokens == greedy_of(reference, PROMPTS[0], 20)


async def test_a_full_cache_ends_the_longest_request_only(
    folder: Path, reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_decoders, "_KEEP_BYTES", 0)
    engine = CpuBackend(str(folder), TurbomindEngineConfig(max_batch_size=2))
    try:
        assert engine._scheduler is not None
        decoder = engine._scheduler._decoder
        decoder.capacity = 2 * 64  # two rows of 64 tokens
        (short, fine), (_, full) = await asyncio.gather(
            run(engine, PROMPTS[1], max_new_tokens=50, **GREEDY), run(engine, PROMPTS[2], max_new_tokens=99, **GREEDY)
        )
        _, last = await run(engine, PROMPTS[2] * 4, **GREEDY)
    finally:
        engine.close()
    assert full.status is ResponseType.OUT_OF_MEMORY
    assert fine.status is ResponseType.FINISH
    assert short == greedy_of(reference, PROMPTS[1], 50)
    assert last.status is ResponseType.OUT_OF_MEMORY


# Extra outputs


@pytest.mark.parametrize("prompt", PROMPTS[:3], ids=len)
async def test_prompt_loss(backend: CpuBackend, reference: Any, prompt: list[int]) -> None:
    _, last = await run(backend, prompt, streamed=False, max_new_tokens=1, top_k=1, return_ppl=True)
    with torch.inference_mode():
        logits = reference(torch.tensor([prompt])).logits[0, :-1].double()
    expected = -logits.log_softmax(1)[range(len(prompt) - 1), prompt[1:]].sum()
    assert last.ce_loss == pytest.approx(float(expected), rel=1e-4)


async def test_logits_of_the_prompt_and_of_the_reply(backend: CpuBackend, reference: Any) -> None:
    prompt = PROMPTS[2]
    text, every = await run(backend, prompt, streamed=False, output_logits="all", **GREEDY)
    with torch.inference_mode():
        expected = reference(torch.tensor([prompt + text[:-1]])).logits[0]
    torch.testing.assert_close(every.logits, expected, rtol=1e-3, atol=1e-3)
    _, generated = await run(backend, prompt, output_logits="generation", **GREEDY)
    torch.testing.assert_close(generated.logits, expected[len(prompt) - 1 :], rtol=1e-3, atol=1e-3)
    nothing, only = await run(backend, prompt, output_logits="all", max_new_tokens=0, top_k=1)
    assert nothing == []
    torch.testing.assert_close(only.logits, expected[: len(prompt)], rtol=1e-3, atol=1e-3)


async def test_logprobs_of_each_token(backend: CpuBackend, reference: Any) -> None:
    rows: list[dict[int, float]] = []
    tokens: list[int] = []
    async for output in stream(backend, PROMPTS[0], logprobs=2, **GREEDY):
        assert len(output.logprobs) == len(output.token_ids)
        rows += output.logprobs
        tokens += output.token_ids
    with torch.inference_mode():
        expected = reference(torch.tensor([PROMPTS[0] + tokens])).logits[0, len(PROMPTS[0]) - 1 : -1].log_softmax(1)
    for row, token, values in zip(rows, tokens, expected, strict=True):
        assert set(row) == set(values.topk(2).indices.tolist())
        assert row[token] == pytest.approx(float(values[token]), abs=1e-3)


async def test_without_streaming_there_is_one_output(backend: CpuBackend, reference: Any) -> None:
    outputs = [output async for output in stream(backend, PROMPTS[0], streamed=False, **GREEDY)]
    assert len(outputs) == 1
    assert outputs[0].token_ids == greedy_of(reference, PROMPTS[0], 20)


async def test_metrics(backend: CpuBackend) -> None:
    before = time.time()
    outputs = [output async for output in stream(backend, PROMPTS[0], **GREEDY)]
    stamps = [output.req_metrics.token_timestamp for output in outputs]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time()
    assert [event.type.name for event in outputs[0].req_metrics.engine_events] == ["QUEUED", "SCHEDULED"]
    assert all(output.req_metrics.cached_tokens == 0 for output in outputs)
    health = await backend.get_health_status()
    assert health["alive"]
    assert health["schedule_metrics"].scheduler_tick > 0


async def test_counters_while_requests_run(folder: Path) -> None:
    engine = CpuBackend(str(folder), TurbomindEngineConfig(max_batch_size=2))
    try:
        streams = [stream(engine, prompt, max_new_tokens=150, **GREEDY) for prompt in PROMPTS[:3]]
        first = [asyncio.ensure_future(anext(one)) for one in streams[:2]]
        await asyncio.gather(*first)
        third = asyncio.ensure_future(anext(streams[2]))
        await asyncio.sleep(0.01)
        counters = engine.get_schedule_metrics()
        assert (counters.active_seqs, counters.waiting_seqs) == (2, 1)
        assert 0 < counters.cache_usage < 1
    finally:
        engine.close()
    assert (await third).status is ResponseType.CANCEL
    for one in streams:
        await one.aclose()


# Cancelling and closing


async def test_cancel_takes_effect_at_the_next_token(backend: CpuBackend) -> None:
    instance = backend.create_instance()
    config = GenerationConfig(max_new_tokens=240, **GREEDY)
    statuses: list[ResponseType] = []
    asked = took = 0.0
    async for output in instance.async_stream_infer(0, PROMPTS[3], gen_config=config, stream_output=True):
        statuses.append(output.status)
        if len(statuses) == 5:
            asked = time.perf_counter()
            await instance.async_cancel(0)
        took = time.perf_counter() - asked
    assert statuses[-1] is ResponseType.CANCEL
    assert len(statuses) < 100
    assert took < 0.1
    await instance.async_cancel(0)  # nothing runs: nothing happens
    await instance.async_end(0)


async def test_a_cancel_leaves_the_others_alone(backend: CpuBackend, reference: Any) -> None:
    others = [asyncio.ensure_future(run(backend, prompt, max_new_tokens=60, **GREEDY)) for prompt in PROMPTS[:3]]
    gone = stream(backend, PROMPTS[4], max_new_tokens=200, **GREEDY)
    async for _ in gone:
        break
    await gone.aclose()  # type: ignore[attr-defined]
    for other, prompt in zip(others, PROMPTS, strict=False):
        assert (await other)[0] == greedy_of(reference, prompt, 60)


async def test_a_waiting_request_can_be_cancelled(folder: Path) -> None:
    engine = CpuBackend(str(folder), TurbomindEngineConfig(max_batch_size=1))
    try:
        first = stream(engine, PROMPTS[0], max_new_tokens=240, **GREEDY)
        await anext(first)
        instance = engine.create_instance()
        second = instance.async_stream_infer(1, PROMPTS[1], gen_config=GenerationConfig(**GREEDY), stream_output=True)
        waiting = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0)
        await instance.async_cancel(1)
        assert (await waiting).status is ResponseType.CANCEL
        await first.aclose()  # type: ignore[attr-defined]
        await second.aclose()
    finally:
        engine.close()


async def test_close_ends_what_runs_and_gives_the_model_back(folder: Path) -> None:
    before = set(threading.enumerate())
    engine = CpuBackend(str(folder), TurbomindEngineConfig(max_batch_size=2))
    assert engine._scheduler is not None
    model = weakref.ref(engine._scheduler._model)
    streams = [asyncio.ensure_future(run(engine, prompt, max_new_tokens=220, **GREEDY)) for prompt in PROMPTS[:4]]
    await asyncio.sleep(0.02)
    engine.close()
    engine.close()
    assert [last.status for _, last in await asyncio.gather(*streams)] == [ResponseType.CANCEL] * 4
    assert (await run(engine, PROMPTS[0]))[1].status is ResponseType.CANCEL
    assert not (await engine.get_health_status())["alive"]
    assert set(threading.enumerate()) <= before
    gc.collect()
    assert model() is None


def test_a_loop_that_is_gone_does_not_stop_the_worker(backend: CpuBackend, reference: Any) -> None:
    async def leave_early() -> None:
        await anext(stream(backend, PROMPTS[0], max_new_tokens=200, **GREEDY))

    asyncio.run(leave_early())
    tokens, _ = asyncio.run(run(backend, PROMPTS[1], **GREEDY))
    assert tokens == greedy_of(reference, PROMPTS[1], 20)


# Loading


def broken(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model.safetensors"


def failure_of(path: Path, **options: Any) -> Any:
    with pytest.raises(TurbodeskError) as caught:
        CpuBackend(str(path), **options)
    return caught.value.failure


def test_progress_and_filled_in_settings(folder: Path) -> None:
    seen: list[float] = []
    engine = CpuBackend(str(folder), on_progress=seen.append)
    engine.close()
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert engine.engine_config.max_batch_size == 16
    assert engine.engine_config.session_len == CONTEXT


def test_a_missing_tensor_is_never_made_up(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = broken(folder, tmp_path)
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.WEIGHTS_MISSING
    assert "model.layers.1.mlp.up_proj.weight" in failure.message


def test_a_tensor_of_another_shape_is_named(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = broken(folder, tmp_path)
    save_file({**load_file(file), "model.norm.weight": torch.ones(7)}, file, metadata={"format": "pt"})
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.WEIGHTS_BROKEN
    assert "model.norm.weight" in failure.message


def test_a_truncated_file_is_named(folder: Path, tmp_path: Path) -> None:
    file = broken(folder, tmp_path)
    file.write_bytes(file.read_bytes()[:-1000])
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.WEIGHTS_BROKEN
    assert file.name in failure.message
    assert "Traceback" in failure.detail


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    broken(folder, tmp_path).unlink()
    assert failure_of(tmp_path).code is FailureCode.WEIGHTS_MISSING
    (tmp_path / "pytorch_model.bin").touch()
    assert failure_of(tmp_path).code is FailureCode.PICKLE_WEIGHTS
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors" in failure_of(tmp_path).message


def test_an_unknown_architecture_is_named(folder: Path, tmp_path: Path) -> None:
    broken(folder, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    own = {**config, "architectures": ["FancyForCausalLM"], "model_type": "fancy"}
    (tmp_path / "config.json").write_text(json.dumps(own))
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.ARCHITECTURE_UNSUPPORTED
    assert "FancyForCausalLM" in failure.message
    (tmp_path / "config.json").write_text(json.dumps({**own, "auto_map": {"AutoConfig": "evil.Config"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    assert failure_of(tmp_path).code is FailureCode.CODE_NOT_ALLOWED


def test_a_folder_without_a_config_and_a_broken_one(folder: Path, tmp_path: Path) -> None:
    broken(folder, tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert failure_of(tmp_path).code is FailureCode.CONFIG_BROKEN
    (tmp_path / "config.json").unlink()
    assert failure_of(tmp_path).code is FailureCode.NOT_A_CHECKPOINT


def test_too_little_memory_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 4 bytes")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", no_memory)
    failure = failure_of(folder)
    assert failure.code is FailureCode.HOST_MEMORY_EXHAUSTED
    assert "Traceback" in failure.detail
