"""Pickled weights: after consent they answer as the same weights do in safetensors, and what they ask to run is not."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lmdeploy.pytorch.weight_loader import model_weight_loader
from lmdeploy.turbomind.checkpoint import PytorchCheckpoint
from safetensors.torch import load_file

from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import Failure, FailureCode, TurbodeskError
from desktop.domain.generation import ChatMessage, GenerationRequest, SamplingParams, TextDelta
from desktop.domain.weight_files import PICKLE_INDEX
from desktop.engine.cpu_backend import CpuBackend
from desktop.engine.lmdeploy_engine import LMDeployEngine
from desktop.engine.lmdeploy_failures import load_failure
from desktop.storage.paths import demo_checkpoint

QUESTION = "What is the KV cache?"
TRUSTED = EngineConfig(backend=Backend.CPU, trust_remote_code=True)
NAME = "pytorch_model.bin"


class Runs:
    """Unpickled in the ordinary way, it runs a program."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def demo_weights() -> dict[str, torch.Tensor]:
    return load_file(demo_checkpoint() / "model.safetensors")


def pickled(folder: Path, *parts: dict[str, torch.Tensor], **options: Any) -> Path:
    """The demo model with its weights, or these, in one pickle or in several with an index."""
    for file in demo_checkpoint().iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    parts = parts or (demo_weights(),)
    if len(parts) == 1:
        torch.save(parts[0], folder / NAME, **options)
        return folder
    index = {}
    for number, part in enumerate(parts, 1):
        name = f"pytorch_model-{number:05}-of-{len(parts):05}.bin"
        torch.save(part, folder / name, **options)
        index.update(dict.fromkeys(part, name))
    (folder / PICKLE_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


async def answer(folder: Path, config: EngineConfig = TRUSTED) -> str:
    engine = LMDeployEngine()
    await engine.load(str(folder), config, lambda progress: None)
    params = SamplingParams(temperature=0.0, max_new_tokens=200)
    request = GenerationRequest(request_id="r", messages=(ChatMessage("user", QUESTION),), params=params)
    text = "".join([event.text async for event in engine.generate(request) if isinstance(event, TextDelta)])
    await engine.close()
    return text


async def test_after_consent_it_answers_as_the_same_weights_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    expected = await answer(demo_checkpoint(), EngineConfig(backend=Backend.CPU))
    assert "two vectors per layer" in expected
    assert await answer(pickled(tmp_path / "one")) == expected
    weights = demo_weights()
    names = sorted(weights)
    halves = [OrderedDict((name, weights[name]) for name in part) for part in (names[::2], names[1::2])]
    # Of the older format, as models of its time have it, and with a file beside it that no model is made of.
    folder = pickled(tmp_path / "two", *halves, _use_new_zipfile_serialization=False)
    (folder / "training_args.bin").write_bytes(b"not a tensor")
    assert await answer(folder) == expected


async def test_without_consent_it_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    pickled(tmp_path)
    engine = LMDeployEngine()
    with pytest.raises(TurbodeskError) as caught:
        await engine.load(str(tmp_path), EngineConfig(backend=Backend.CPU), lambda progress: None)
    await engine.close()
    assert caught.value.failure.code is FailureCode.PICKLE_WEIGHTS
    assert "models page" in caught.value.failure.next_step
    assert failure_of(tmp_path, trusted=False).code is FailureCode.PICKLE_WEIGHTS


def failure_of(folder: Path, trusted: bool = True) -> Failure:
    with pytest.raises(TurbodeskError) as caught:
        CpuBackend(str(folder), trust_remote_code=trusted)
    failure = caught.value.failure
    assert failure.message.endswith(".")
    assert "\n" not in failure.message
    return failure


def test_whole_safetensors_hide_the_pickle_beside_them(tmp_path: Path) -> None:
    pickled(tmp_path)
    (tmp_path / NAME).write_bytes(b"nobody opens this")
    shutil.copy(demo_checkpoint() / "model.safetensors", tmp_path)
    for trusted in (False, True):
        CpuBackend(str(tmp_path), trust_remote_code=trusted).close()


def hostile(kind: str, command: str) -> bytes:
    """A pickle that runs the command where the ordinary reader opens it."""
    if kind == "bare":
        return pickle.dumps(Runs(command), protocol=2)
    if kind == "oldest protocol":
        return f"cposix\nsystem\n(S'{command}'\ntR.".encode()
    if kind == "by way of builtins":
        return f'c__builtin__\neval\n(S\'__import__("os").system("{command}")\'\ntR.'.encode()
    content = io.BytesIO()
    weights: dict[str, Any] = demo_weights()
    if kind == "beside whole weights":
        torch.save({**weights, "more": Runs(command)}, content)
    elif kind == "in the old format":
        torch.save({**weights, "more": Runs(command)}, content, _use_new_zipfile_serialization=False)
    else:
        with_attribute = OrderedDict(weights)
        with_attribute._metadata = Runs(command)  # type: ignore[attr-defined]
        torch.save(with_attribute, content)
    return content.getvalue()


KINDS = [
    *("bare", "oldest protocol", "by way of builtins"),
    *("beside whole weights", "in the old format", "as an attribute"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_pickle_asks_to_run_is_not_run_after_consent(tmp_path: Path, kind: str) -> None:
    ran = tmp_path / "ran"
    pickled(tmp_path)
    (tmp_path / NAME).write_bytes(hostile(kind, f"touch {ran}"))
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.PICKLE_NOT_WEIGHTS
    assert failure.message.startswith(f"{NAME} is more than weights: opening it would use ")
    assert ("eval" if "builtins" in kind else "posix") in failure.message
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["bare", "oldest protocol", "by way of builtins"])
def test_these_pickles_do_run_what_they_ask_elsewhere(tmp_path: Path, kind: str) -> None:
    pickle.loads(hostile(kind, f"touch {tmp_path / 'ran'}"))
    assert (tmp_path / "ran").exists(), "else the test above proves nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_lmdeploys_own_loaders_do_not_run_it_either(tmp_path: Path, kind: str) -> None:
    ran = tmp_path / "ran"
    (tmp_path / NAME).write_bytes(hostile(kind, f"touch {ran}"))
    with pytest.raises(pickle.UnpicklingError) as turbomind:
        PytorchCheckpoint(str(tmp_path), file_pattern=NAME)
    with pytest.raises(pickle.UnpicklingError) as pytorch:
        list(model_weight_loader._get_pt_weights_iterator(str(tmp_path / NAME), None))
    for caught in (turbomind, pytorch):
        failure = load_failure(caught.value)
        assert failure.code is FailureCode.PICKLE_NOT_WEIGHTS
        assert failure.message.startswith(NAME)
    assert not ran.exists()


def damaged(kind: str, whole: bytes) -> bytes:
    if kind == "a program in TorchScript":
        content = io.BytesIO()
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), content)
        return content.getvalue()
    if kind == "another zip file":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("data.pkl", b"x")
        return content.getvalue()
    return {
        "empty": b"",
        "cut off": whole[:-1000],
        "only its beginning": whole[:100],
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "noise": bytes(range(256)) * 20,
    }[kind]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    "kind",
    ["empty", "cut off", "only its beginning", "a pointer", "noise", "another zip file", "a program in TorchScript"],
)
@pytest.mark.parametrize("new", [True, False])
def test_a_damaged_pickle_is_named(tmp_path: Path, kind: str, new: bool) -> None:
    file = pickled(tmp_path, demo_weights(), _use_new_zipfile_serialization=new) / NAME
    file.write_bytes(damaged(kind, file.read_bytes()))
    failure = failure_of(tmp_path)
    program = kind == "a program in TorchScript"
    assert failure.code is (FailureCode.PICKLE_NOT_WEIGHTS if program else FailureCode.WEIGHTS_BROKEN), failure
    assert NAME in failure.message
    with pytest.raises(Exception) as caught:
        PytorchCheckpoint(str(tmp_path), file_pattern=NAME)
    assert load_failure(caught.value).message == failure.message


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        ([1, 2], FailureCode.WEIGHTS_BROKEN, "no tensors"),
        ({"state_dict": {}}, FailureCode.WEIGHTS_BROKEN, "no tensors"),
        ({"a": torch.zeros(2, device="meta")}, FailureCode.WEIGHTS_BROKEN, "no tensors"),
        ({"model.norm.weight": torch.ones(7)}, FailureCode.WEIGHTS_MISSING, "there is no tensor"),
        ({**demo_weights(), "model.norm.weight": torch.ones(7)}, FailureCode.WEIGHTS_BROKEN, "model.norm.weight"),
    ],
)
def test_a_pickle_of_something_else_is_named(tmp_path: Path, content: Any, code: FailureCode, word: str) -> None:
    pickled(tmp_path)
    torch.save(content, tmp_path / NAME)
    failure = failure_of(tmp_path)
    assert failure.code is code
    assert word in failure.message


def test_a_pickle_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (pickled(tmp_path) / NAME).unlink()
    (tmp_path / NAME).mkdir()
    failure = failure_of(tmp_path)
    assert failure.code is FailureCode.WEIGHTS_BROKEN
    assert f"{NAME} is damaged: Is a directory" in failure.message


def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    pickled(tmp_path)
    (tmp_path / PICKLE_INDEX).write_text('{"weight_map": {"a": "../elsewhere.bin"}}')
    assert failure_of(tmp_path).code is FailureCode.CONFIG_BROKEN
    (tmp_path / PICKLE_INDEX).write_text('{"weight_map": {"a": "gone.bin"}}')
    assert failure_of(tmp_path).code is FailureCode.WEIGHTS_MISSING
    (tmp_path / PICKLE_INDEX).write_text("{")
    assert failure_of(tmp_path).code is FailureCode.CONFIG_BROKEN
