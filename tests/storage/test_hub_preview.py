"""Seeing what a model is before it is fetched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.hub import HubKind
from desktop.storage.checkpoint_reader import read_checkpoint
from desktop.storage.hub_preview import preview, skeleton
from desktop.storage.paths import demo_checkpoint
from tests.hub_answers import Fault
from tests.hub_server import HubServer
from tests.storage.hub_fixtures import MODEL, hub_of

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode()


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_folder(MODEL, demo_checkpoint())
        yield server


def shard(tensors: int, size: int = 64) -> bytes:
    """A safetensors file of so many tensors of `size` 16-bit numbers."""
    header = {
        f"model.layers.{n}.weight": {
            "dtype": "BF16",
            "shape": [size],
            "data_offsets": [n * size * 2, (n + 1) * size * 2],
        }
        for n in range(tensors)
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(tensors * size * 2)


@pytest.mark.parametrize("kind", HubKind)
def test_a_preview_says_what_the_folder_will_say(server: HubServer, kind: HubKind) -> None:
    hub = hub_of(server, kind)
    model = hub.model(MODEL)
    found = preview(hub, model)
    expected = read_checkpoint(demo_checkpoint())
    assert found.checkpoint == msgspec.structs.replace(expected, path="", name="some-model")
    assert found.problem is None
    assert found.size == sum(path.stat().st_size for path in demo_checkpoint().iterdir())
    assert (demo_checkpoint() / "README.md").read_text().strip().endswith(found.card)
    assert len(found.card) > 500
    assert not found.card.startswith("---")


def test_only_headers_are_fetched(server: HubServer) -> None:
    server.add(MODEL, {"config.json": CONFIG, "model.safetensors": shard(10, size=1_000_000)})
    hub = hub_of(server)
    found = preview(hub, hub.model(MODEL)).checkpoint
    assert found is not None
    assert (found.parameters, found.weight_bytes) == (10_000_000, 20_000_000)
    (asked,) = server.asked("/blob/")
    assert asked.headers["Range"] == "bytes=0-65535"


def test_a_long_header_takes_a_second_range(server: HubServer) -> None:
    content = shard(2000)
    server.add(MODEL, {"config.json": CONFIG, "model.safetensors": content})
    hub = hub_of(server)
    found = preview(hub, hub.model(MODEL)).checkpoint
    assert found is not None
    assert found.parameters == 2000 * 64
    length = 8 + int.from_bytes(content[:8], "little")
    assert [request.headers["Range"] for request in server.asked("/blob/")] == [
        "bytes=0-65535",
        f"bytes=65536-{length - 1}",
    ]


def test_shards_are_read_as_the_index_names_them(server: HubServer) -> None:
    index = {"weight_map": {"model.layers.0.weight": "a.safetensors", "model.layers.1.weight": "b.safetensors"}}
    files = {
        "config.json": CONFIG,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "a.safetensors": shard(1, 4000),
        "b.safetensors": shard(2, 4000),
        "other.safetensors": shard(9, 4000),
    }
    server.add(MODEL, dict(files))
    hub = hub_of(server)
    found = preview(hub, hub.model(MODEL)).checkpoint
    assert found is not None
    assert found.parameters == 8000
    assert not server.asked("other")


@pytest.mark.parametrize(
    "fault", [Fault("/blob/", no_range=True), Fault("/blob/", cut_after=100), Fault("config", status=503)]
)
def test_what_passes_is_survived(server: HubServer, fault: Fault) -> None:
    hub = hub_of(server)
    server.faults.append(fault)
    assert preview(hub, hub.model(MODEL)).checkpoint is not None
    assert fault.times == 0


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"config.json": b"{"}, FailureCode.CONFIG_BROKEN),
        ({"readme.md": b"hello"}, FailureCode.NOT_A_CHECKPOINT),
        ({"config.json": CONFIG}, FailureCode.WEIGHTS_MISSING),
        (
            {"config.json": CONFIG, "pytorch_model.bin.index.json": b'{"weight_map": {"a": "pytorch_model-1.bin"}}'},
            FailureCode.WEIGHTS_MISSING,
        ),
        ({"config.json": CONFIG, "model.safetensors": b"\xff" * 2000}, FailureCode.WEIGHTS_BROKEN),
        ({"config.json": CONFIG, "model.safetensors": shard(2)[:-1]}, FailureCode.WEIGHTS_BROKEN),
        ({"config.json": CONFIG, "model.safetensors": b""}, FailureCode.WEIGHTS_BROKEN),
        (
            {"config.json": CONFIG, "model.safetensors.index.json": b"[]", "a.safetensors": shard(2)},
            FailureCode.CONFIG_BROKEN,
        ),
    ],
)
def test_a_model_that_no_engine_could_read_says_why(
    server: HubServer, files: dict[str, bytes | Path], code: FailureCode
) -> None:
    server.add(MODEL, files)
    hub = hub_of(server)
    found = preview(hub, hub.model(MODEL))
    assert found.checkpoint is None
    assert found.problem is not None
    assert found.problem.code is code


def test_pickles_are_named_and_not_fetched(server: HubServer) -> None:
    index = {"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}
    files = {
        "config.json": (demo_checkpoint() / "config.json").read_bytes(),
        "pytorch_model.bin.index.json": json.dumps(index).encode(),
        "pytorch_model-1.bin": b"x" * 2000,
        "pytorch_model-2.bin": b"x" * 3000,
    }
    server.add(MODEL, dict(files))
    hub = hub_of(server)
    found = preview(hub, hub.model(MODEL))
    assert (found.problem, found.size) == (None, sum(map(len, files.values())))
    assert found.checkpoint is not None
    assert found.checkpoint.pickles == ("pytorch_model-1.bin", "pytorch_model-2.bin")
    assert found.shape is not None
    assert not found.shape.weights.exact
    assert not server.asked("/blob/")
    server.add(MODEL, {"config.json": CONFIG, "pytorch_model.bin": b"x" * 2000})
    unsized = preview(hub, hub.model(MODEL))
    assert (unsized.problem, unsized.shape) == (None, None)
    assert unsized.checkpoint is not None
    assert unsized.checkpoint.parameters is None


def test_a_gated_model_says_so(server: HubServer) -> None:
    server.models[MODEL].gated = True
    hub = hub_of(server)
    model = hub.model(MODEL)
    assert model.gated
    with pytest.raises(TurbodeskError) as error:
        preview(hub, model)
    assert error.value.failure.code is FailureCode.MODEL_GATED
    assert f"{server.url}/{MODEL}" in error.value.failure.next_step
    server.models[MODEL].gated = False
    assert preview(hub, model).checkpoint is not None


def test_a_skeleton_takes_no_room_and_goes_away(server: HubServer) -> None:
    server.add(MODEL, {"config.json": CONFIG, "model.safetensors": shard(10, size=1_000_000)})
    hub = hub_of(server)
    with skeleton(hub, hub.model(MODEL)) as folder:
        weights = folder / "model.safetensors"
        assert weights.stat().st_size > 20_000_000
        assert weights.stat().st_blocks * 512 < 1_000_000
        assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    assert not folder.exists()


def test_a_huge_configuration_is_not_fetched(server: HubServer) -> None:
    server.add(MODEL, {"config.json": bytes(20_000_000)})
    hub = hub_of(server)
    with pytest.raises(TurbodeskError) as error:
        preview(hub, hub.model(MODEL))
    assert error.value.failure.code is FailureCode.HUB_ANSWER_BROKEN
    assert not server.asked("/blob/")
