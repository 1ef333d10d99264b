"""Two real models over the same text: the figures are those of an independent computation with Transformers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import msgspec
import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from desktop.domain.calibration import TextFile
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.evaluation import Grade
from desktop.jobs.evaluate import LOG_PROBABILITIES, TOKENS, compare, measure
from desktop.jobs.messages import CompareJob, EvaluationText, JobEvent, Measured, MeasureJob
from desktop.storage.paths import demo_checkpoint

DEMO = demo_checkpoint()
PROMPTS = ("What is the KV cache?", "How do I load a model?")
GUIDE = DEMO.parent / "demo-guide" / "guide.en.toml"
TEXT = EvaluationText(sources=(TextFile(str(GUIDE)),), name="the guide", tokens=600, window=128)
CPU = EngineConfig(backend=Backend.CPU)


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with coarser weights."""
    folder = tmp_path_factory.mktemp("rounded") / "model"
    shutil.copytree(DEMO, folder)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if "mlp" in name:
            step = tensor.abs().max() / 24
            weights[name] = ((tensor / step).round() * step).to(tensor.dtype)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def run(other: Path, work: Path, **changes: object) -> tuple[Measured, object, list[JobEvent]]:
    told: list[JobEvent] = []
    first = MeasureJob(
        checkpoint=str(DEMO), name="demo", config=CPU, text=TEXT, prompts=PROMPTS, reply_tokens=48, work=str(work)
    )
    measured = measure(first, told.append)
    second = msgspec.structs.replace(first, checkpoint=str(other), name="other", **changes)
    compared = compare(CompareJob(original=measured.side, other=second), told.append)
    return measured, compared.evaluation, told


@torch.inference_mode()
def by_hand(first: Path, second: Path, tokens: list[int], window: int) -> dict[str, float]:
    """The same figures with nothing of ours: float64, a window at a time."""
    models = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in (first, second)]
    sums = {"nll p": 0.0, "nll q": 0.0, "kl": 0.0, "same": 0}
    count = 0
    for start in range(0, len(tokens), window):
        ids = torch.tensor([tokens[start : start + window]])
        p, q = (model(ids).logits[0, :-1].double().log_softmax(-1) for model in models)
        targets = ids[0, 1:]
        rows = torch.arange(len(targets))
        sums["nll p"] -= float(p[rows, targets].sum())
        sums["nll q"] -= float(q[rows, targets].sum())
        sums["kl"] += float((p.exp() * (p - q)).sum())
        sums["same"] += int((p.argmax(-1) == q.argmax(-1)).sum())
        count += len(targets)
    return {name: value / count for name, value in sums.items()} | {"count": count}


def test_the_figures_are_those_of_transformers(rounded: Path, tmp_path: Path) -> None:
    measured, found, told = run(rounded, tmp_path)
    tokens = numpy.fromfile(tmp_path / TOKENS, "<i8").tolist()
    assert len(tokens) == 512
    wanted = by_hand(DEMO, rounded, tokens, TEXT.window)
    assert found.tokens == wanted["count"]
    assert found.original == measured.side
    assert found.original.perplexity.value == pytest.approx(math.exp(wanted["nll p"]), rel=1e-3)
    assert found.other.perplexity.value == pytest.approx(math.exp(wanted["nll q"]), rel=1e-3)
    assert found.kl.value == pytest.approx(wanted["kl"], rel=1e-3)
    assert found.top1.value == pytest.approx(wanted["same"])
    assert found.kl.low < found.kl.value < found.kl.high
    assert found.kl_999.value > found.kl.value
    assert len(found.kl_of) == found.tokens
    assert sum(found.kl_of) / found.tokens == pytest.approx(found.kl.value)
    assert [place.kl for place in found.worst] == sorted((place.kl for place in found.worst), reverse=True)
    assert found.worst[0].kl == pytest.approx(max(found.kl_of))
    assert all(0 < place.position < 512 and place.position % TEXT.window for place in found.worst)
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    for place in found.worst[:5]:
        assert place.token == tokenizer.decode([tokens[place.position]])
    fractions = [event.fraction for event in told]
    assert max(fractions) <= 1.0
    for side in (found.original, found.other):
        assert side.tokens_per_second > 0
        assert side.time_to_first_token > 0
        assert side.memory_bytes > side.disk_bytes
        assert side.backend is Backend.CPU
    assert found.original.replies[0].startswith("To write the next token")


def test_a_model_against_itself_is_indistinguishable(tmp_path: Path) -> None:
    _, found, _ = run(DEMO, tmp_path)
    assert found.kl.value < 1e-9
    assert found.top1.value == 1.0
    assert found.grade is Grade.INDISTINGUISHABLE
    assert found.parted(0) is None
    assert found.perplexity_ratio == pytest.approx(1.0)


def test_models_with_other_tokens_are_not_compared(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(DEMO, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-200]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(TurbodeskError) as caught:
        run(other, tmp_path)
    assert caught.value.failure.code is FailureCode.EVALUATION_IMPOSSIBLE
    assert "same tokenizer" in caught.value.failure.message


def test_too_little_text_is_a_sentence_with_a_number(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("A few words.\n\nAnd some more.", encoding="utf-8")
    text = EvaluationText(sources=(TextFile(str(short)),), name="short", tokens=600, window=128)
    job = MeasureJob(checkpoint=str(DEMO), name="demo", config=CPU, text=text, work=str(tmp_path))
    with pytest.raises(TurbodeskError) as caught:
        measure(job, lambda event: None)
    assert caught.value.failure.code is FailureCode.EVALUATION_IMPOSSIBLE
    assert "64 are needed" in caught.value.failure.message


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(DEMO, broken)
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TurbodeskError) as caught:
        run(broken, tmp_path)
    assert caught.value.failure.code is FailureCode.EVALUATION_IMPOSSIBLE


def test_the_log_probabilities_take_what_is_forecast(tmp_path: Path) -> None:
    job = MeasureJob(checkpoint=str(DEMO), name="demo", config=CPU, text=TEXT, work=str(tmp_path))
    measure(job, lambda event: None)
    assert (tmp_path / LOG_PROBABILITIES).stat().st_size == (512 - 4) * 3072 * 4
