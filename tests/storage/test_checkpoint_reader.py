"""Model folders of every kind, whole, broken and hostile; headers are judged as the safetensors library judges them."""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.domain.checkpoint import Quantization
from desktop.domain.errors import Failure, FailureCode, TurbodeskError
from desktop.storage.checkpoint_reader import read_checkpoint, read_memory_shape, read_pickles
from desktop.storage.safetensors_header import read_header

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U8": 1, "I8": 1, "F8_E4M3": 1}
WEIGHTS = {"model.embed_tokens.weight": ("BF16", [1000, 256]), "model.norm.weight": ("F32", [256])}
INDEX = "model.safetensors.index.json"


def with_header(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors_bytes(tensors: dict[str, tuple[str, list[int]]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return with_header(header, bytes(end))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small whole checkpoint."""
    folder = tmp_path / "Tiny-Qwen"
    folder.mkdir()
    write(folder, "config.json", CONFIG)
    write(folder, "tokenizer.json", {})
    write(folder, "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    (folder / "model.safetensors").write_bytes(safetensors_bytes(WEIGHTS))
    return folder


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def failure_of(path: Path, code: FailureCode) -> Failure:
    with pytest.raises(TurbodeskError) as caught:
        read_checkpoint(path)
    assert caught.value.failure.code is code, caught.value
    return caught.value.failure


def test_a_whole_checkpoint(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert (found.path, found.name, found.label) == (str(folder), "Tiny-Qwen", "")
    assert (found.architecture, found.model_type) == ("Qwen3ForCausalLM", "qwen3")
    assert found.parameters == 1000 * 256 + 256
    assert found.weight_bytes == 1000 * 256 * 2 + 256 * 4
    assert found.dtypes == ("BF16", "F32")
    assert found.quantization is None
    assert (found.layers, found.hidden_size, found.intermediate_size) == (2, 256, 512)
    assert (found.heads, found.kv_heads, found.head_dim) == (4, 2, 128)
    assert (found.vocab_size, found.context_length, found.tied_embeddings) == (1000, 4096, True)
    assert (found.vision, found.needs_remote_code) == (False, False)
    assert (found.has_tokenizer, found.has_chat_template) == (True, True)


def test_shards_with_an_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    more = {"lm_head.weight": ("BF16", [1000, 256]), "unused": ("F32", [9])}
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors_bytes(more))
    (folder / "consolidated.safetensors").write_bytes(b"another copy, which nobody loads")
    weight_map = dict.fromkeys(WEIGHTS, "model-00001-of-00002.safetensors")
    weight_map["lm_head.weight"] = "model-00002-of-00002.safetensors"
    write(folder, INDEX, {"weight_map": weight_map})
    found = read_checkpoint(folder)
    assert found.parameters == 2 * 1000 * 256 + 256, "what the index does not name is not loaded"

    write(folder, INDEX, {"weight_map": {**weight_map, "ghost": "model-00002-of-00002.safetensors"}})
    assert "ghost" in failure_of(folder, FailureCode.WEIGHTS_MISSING).message

    write(folder, INDEX, {"weight_map": weight_map})
    (folder / "model-00002-of-00002.safetensors").unlink()
    message = failure_of(folder, FailureCode.WEIGHTS_MISSING).message
    assert "model-00002-of-00002.safetensors is not there" in message


def test_shards_without_an_index_are_all_counted(folder: Path) -> None:
    (folder / "model-2.safetensors").write_bytes(safetensors_bytes({"lm_head.weight": ("F16", [10, 10])}))
    assert read_checkpoint(folder).parameters == 1000 * 256 + 256 + 100


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd.safetensors", "..\\m.safetensors", "a.bin", 5])
def test_an_index_that_points_elsewhere_is_refused(folder: Path, name: object) -> None:
    write(folder, INDEX, {"weight_map": {"model.norm.weight": name}})
    assert "not the name of a weights file" in failure_of(folder, FailureCode.CONFIG_BROKEN).message


@pytest.mark.parametrize("content", [[], {}, {"weight_map": []}, {"weight_map": {}}])
def test_an_index_without_sense_is_refused(folder: Path, content: object) -> None:
    write(folder, INDEX, content)
    assert INDEX in failure_of(folder, FailureCode.CONFIG_BROKEN).message


def test_links_into_a_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert read_checkpoint(folder).parameters == 1000 * 256 + 256
    (tmp_path / "blob").unlink()
    failure_of(folder, FailureCode.WEIGHTS_MISSING)


def test_awq_counts_what_was_packed(folder: Path) -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
    write(folder, "config.json", {**CONFIG, "quantization_config": awq})
    layer = "model.layers.0.mlp.up_proj."
    packed = {
        "model.embed_tokens.weight": ("F16", [1000, 256]),
        layer + "qweight": ("I32", [256, 512 // 8]),
        layer + "qzeros": ("I32", [256 // 128, 512 // 8]),
        layer + "scales": ("F16", [256 // 128, 512]),
        layer + "bias": ("F16", [512]),
    }
    (folder / "model.safetensors").write_bytes(safetensors_bytes(packed))
    found = read_checkpoint(folder)
    assert found.quantization == Quantization(method="awq", bits=4, group_size=128)
    assert found.parameters == 1000 * 256 + 256 * 512 + 512
    assert found.weight_bytes == 1000 * 256 * 2 + 256 * 512 // 2 + 2 * 64 * 4 + 2 * 512 * 2 + 512 * 2


def test_a_label_of_its_own(folder: Path) -> None:
    write(folder, "turbodesk.json", {"label": "demo model,\nknows only this guide" + "!" * 1000})
    assert read_checkpoint(folder).label == ("demo model, knows only this guide" + "!" * 1000)[:100]
    write(folder, "turbodesk.json", {"label": 5})
    assert read_checkpoint(folder).label == ""


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_named_not_run(folder: Path, name: str) -> None:
    content = json.loads((folder / name).read_text())
    write(folder, name, {**content, "auto_map": {"AutoModelForCausalLM": "evil.Model"}})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    assert read_checkpoint(folder).needs_remote_code


def test_tokenizer_and_template_files(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer.json").unlink()
    found = read_checkpoint(folder)
    assert (found.has_tokenizer, found.has_chat_template) == (False, False)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "qwen.tiktoken").touch()
    found = read_checkpoint(folder)
    assert (found.has_tokenizer, found.has_chat_template) == (True, True)


# Folders that are none


@pytest.mark.parametrize("name", ["missing", "a\0b", "\ud800", "x" * 300, "config.json/deeper"])
def test_no_such_folder(folder: Path, name: str) -> None:
    assert "There is no model folder" in failure_of(folder / name, FailureCode.CHECKPOINT_NOT_FOUND).message


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    failure_of(tmp_path / "loop", FailureCode.CHECKPOINT_NOT_FOUND)


def test_what_is_no_model_folder(folder: Path, tmp_path: Path) -> None:
    assert "it is a file" in failure_of(folder / "config.json", FailureCode.NOT_A_CHECKPOINT).message
    (tmp_path / "m.GGUF").touch()
    assert "GGUF" in failure_of(tmp_path / "m.GGUF", FailureCode.NOT_A_CHECKPOINT).message
    (tmp_path / "empty").mkdir()
    assert "no files" in failure_of(tmp_path / "empty", FailureCode.NOT_A_CHECKPOINT).message
    (folder / "config.json").unlink()
    assert "no config.json" in failure_of(folder, FailureCode.NOT_A_CHECKPOINT).message
    os.mkfifo(folder / "config.json")
    assert "no config.json" in failure_of(folder, FailureCode.NOT_A_CHECKPOINT).message


def test_gguf_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")
    assert "GGUF" in failure_of(folder, FailureCode.NOT_A_CHECKPOINT).message
    (folder / "config.json").unlink()
    assert "GGUF" in failure_of(folder, FailureCode.NOT_A_CHECKPOINT).message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "c.00.pth"])
def test_pickles_are_named_and_estimated(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    counted = read_checkpoint(folder)
    assert counted.pickles == (), "beside model.safetensors nobody opens it"
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    usual = name.startswith("pytorch_model")
    assert read_checkpoint(folder).pickles == ((name,) if usual else ()), "LMDeploy prefers these and no others"
    (folder / "other.safetensors").unlink()
    found = read_checkpoint(folder)
    assert (found.pickles, found.weight_bytes, found.dtypes) == ((name,), (folder / name).stat().st_size, ())
    shape = read_memory_shape(folder)
    assert not shape.weights.exact
    assert found.parameters == shape.weights.parameters
    assert read_pickles(folder) == (name,)
    (folder / name).write_bytes(b"")
    assert f"{name} is damaged: it is empty" in failure_of(folder, FailureCode.WEIGHTS_BROKEN).message


def test_pickles_of_a_model_whose_size_is_not_said(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    write(folder, "config.json", {"model_type": "x"})
    assert read_checkpoint(folder).parameters is None


def test_pickled_shards_with_an_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = "pytorch_model.bin.index.json"
    write(folder, index, {"weight_map": {"a": "one.bin", "b": "two.bin"}})
    (folder / "one.bin").write_bytes(b"1")
    (folder / "three.bin").write_bytes(b"3")
    assert "two.bin is not there" in failure_of(folder, FailureCode.WEIGHTS_MISSING).message
    (folder / "two.bin").write_bytes(b"22")
    found = read_checkpoint(folder)
    assert (found.pickles, found.weight_bytes) == (("one.bin", "two.bin"), 3)
    (folder / "pytorch_model.bin").write_bytes(b"4")
    pickles = ("one.bin", "pytorch_model.bin", "two.bin")
    assert read_checkpoint(folder).pickles == pickles, "LMDeploy's PyTorch engine prefers the one, TurboMind the others"
    for name in ("../one.bin", "/etc/x.bin", "config.json", "model.safetensors"):
        write(folder, index, {"weight_map": {"a": name}})
        assert "not the name of a weights file" in failure_of(folder, FailureCode.CONFIG_BROKEN).message


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "training_args.bin")
    failure_of(folder, FailureCode.WEIGHTS_MISSING)
    (folder / "model.safetensors").write_bytes(safetensors_bytes({}))
    assert "empty" in failure_of(folder, FailureCode.WEIGHTS_MISSING).message


# JSON that is none


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'{"architectures": "Qwen"}', "architectures"),
        (b'{"num_hidden_layers": "2"}', "num_hidden_layers"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * (16 << 20) + b"{}", "larger than 16 MB"),
    ],
)
def test_a_broken_config(folder: Path, content: bytes, reason: str) -> None:
    (folder / "config.json").write_bytes(content)
    message = failure_of(folder, FailureCode.CONFIG_BROKEN).message
    assert "config.json" in message
    assert reason in message


@pytest.mark.parametrize("content", [b"{", b"[]", b"[" * 100_000])
def test_a_broken_tokenizer_config(folder: Path, content: bytes) -> None:
    (folder / "tokenizer_config.json").write_bytes(content)
    assert "tokenizer_config.json" in failure_of(folder, FailureCode.TOKENIZER_BROKEN).message


# Weights that are none


def entry(start: object, end: object, dtype: object = "F32", shape: object = (1,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut off"),
        (b"\x05\x00", "cut off"),
        (struct.pack("<Q", 1000) + b"{", "cut off"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "does not begin like"),
        (with_header(b"{{{", b""), "not JSON"),
        (with_header(b"\xff\xff", b""), "not JSON"),
        (with_header(b"[" * 100_000, b""), "not JSON"),
        (with_header([], b""), "not an object"),
        (with_header({"a": []}, b""), "malformed"),
        (with_header({"a": {"dtype": "F32"}}, b""), "malformed"),
        (with_header({"a": entry(0, 4.5)}, bytes(4)), "malformed"),
        (with_header({"a": entry(0, 4, shape=["1"])}, bytes(4)), "malformed"),
        (with_header({"a": entry(0, 4, shape=[-1, -1])}, bytes(4)), "malformed"),
        (with_header({"a": entry(0, 4, dtype="F31")}, bytes(4)), "unknown type"),
        (with_header({"a": entry(0, 8)}, bytes(8)), "does not fit"),
        (with_header({"a": entry(-4, 0)}, bytes(4)), "does not fit"),
        (with_header({"a": entry(4, 0)}, bytes(4)), "does not fit"),
        (with_header({"a": entry(0, 4, shape=[2**40] * 1000)}, bytes(4)), "impossible"),
        (with_header({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)), "overlaps"),
        (with_header({"a": entry(0, 4), "b": entry(2, 6)}, bytes(8)), "overlaps"),
        (with_header({"a": entry(4, 8)}, bytes(8)), "gap"),
        (with_header({"a": entry(0, 4)}, bytes(3)), "it lacks 1 byte"),
        (with_header({"a": entry(0, 4)}, bytes(5)), "1 byte too many"),
    ],
)
def test_broken_weights(folder: Path, content: bytes, reason: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    message = failure_of(folder, FailureCode.WEIGHTS_BROKEN).message
    assert "model.safetensors" in message
    assert reason in message


def test_a_hostile_name_does_not_fill_the_screen(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(with_header({"n" * 1_000_000: 5}, b""))
    assert len(failure_of(folder, FailureCode.WEIGHTS_BROKEN).message) < 500


def test_weights_are_never_read(folder: Path) -> None:
    """A file of 4 TB, all of it a hole, is read at once."""
    size = 1 << 42
    header = {"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    path = folder / "model.safetensors"
    path.write_bytes(with_header(header, b""))
    os.truncate(path, path.stat().st_size + size)
    assert read_checkpoint(folder).parameters == size


VALID = safetensors_bytes({"first": ("F16", [2, 3]), "second": ("I32", [2])})


@settings(deadline=None, max_examples=400)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.sampled_from(b'0123456789{}[]:,"- \x00\xff')), max_size=3
    ),
    cut=st.integers(0, 40),
    extra=st.integers(0, 2),
)
def test_headers_are_judged_as_the_library_judges_them(edits: list[tuple[int, int]], cut: int, extra: int) -> None:
    content = bytearray(VALID)
    for place, value in edits:
        content[place] = value
    content = content[: len(content) - cut] + bytes(extra)
    try:
        theirs = {name: (info["dtype"], tuple(info["shape"])) for name, info in safetensors.deserialize(bytes(content))}
    except safetensors.SafetensorError:
        theirs = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        try:
            ours = {name: (info.dtype, info.shape) for name, info in read_header(path).items()}
        except TurbodeskError:
            ours = None
    assert ours == theirs


# Folders that may not be read


@pytest.mark.parametrize("name", ["", "config.json", "tokenizer_config.json", "model.safetensors"])
def test_files_without_permission(ordinary_folder: Path, name: str) -> None:
    write(ordinary_folder, "config.json", CONFIG)
    write(ordinary_folder, "tokenizer_config.json", {})
    (ordinary_folder / "model.safetensors").write_bytes(safetensors_bytes(WEIGHTS))
    read_checkpoint(ordinary_folder)
    (ordinary_folder / name).chmod(0)
    message = failure_of(ordinary_folder, FailureCode.CHECKPOINT_NOT_READABLE).message
    assert str(ordinary_folder / name) in message


@pytest.mark.parametrize("problem", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_files_that_the_system_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch, problem: OSError) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise problem

    monkeypatch.setattr(Path, "open", refuse)
    failure = failure_of(folder, FailureCode.CHECKPOINT_NOT_READABLE)
    assert str(problem) in failure.detail
