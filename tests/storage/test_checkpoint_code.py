"""What a model would run, shown and never run; consent that holds for exactly those files of that revision."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.shelf import ShelfEntry, SourceKind
from desktop.storage.checkpoint_code import CodeReport, PickleFile, read_code
from desktop.storage.checkpoint_roots import ScanRoot
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.trust_store import TrustStore
from tests.storage.model_folders import files_of_a_model, write_hub_snapshot, write_model

AUTO_MAP = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM"}
CODE = {
    "configuration_x.py": b"raise SystemExit('this was run')\n",
    "modeling_x.py": b"from .configuration_x import X\nfrom . import (\n  helper,\n  gone,\n)\nfrom .sub import more",
    "helper.py": b"from .modeling_x import XForCausalLM  # round\n",
    "sub/more.py": b"from ..deep import y\n",
    "deep.py": b"",
    "setup.py": b"import os\n",
}


def entry_of(folder: Path) -> ShelfEntry:
    (entry,) = scan([ScanRoot(str(folder), SourceKind.FOLDER)], open_cache(folder.parent / "cache")).entries
    return entry


def custom(tmp_path: Path, **config: object) -> Path:
    write_model(tmp_path / "x", {**files_of_a_model(**(config or {"auto_map": AUTO_MAP})), **CODE})
    return tmp_path / "x"


def test_the_files_that_would_be_run_come_first(tmp_path: Path) -> None:
    entry = entry_of(custom(tmp_path))
    assert entry.needs_consent
    report = read_code(entry)
    assert report.needs_consent
    assert [file.name for file in report.files if file.starts] == [
        "configuration_x.py",
        "deep.py",
        "helper.py",
        "modeling_x.py",
        "sub/more.py",
    ]
    assert [file.name for file in report.files if not file.starts] == ["setup.py"]
    first = report.files[0]
    assert (first.text, first.size) == ("raise SystemExit('this was run')\n", 33)


def test_code_that_nothing_names_is_not_run(tmp_path: Path) -> None:
    report = read_code(entry_of(custom(tmp_path, rope_theta=1)))
    assert report.files == ()
    assert not report.needs_consent


@pytest.mark.parametrize(
    "config",
    [
        {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["modeling_x.Slow", None]}}},
        {"processor_config.json": {"auto_map": {"AutoProcessor": "modeling_x.Processor"}}},
        {"config.json": {"model_type": "x", "vision_config": {"auto_map": {"AutoConfig": "modeling_x.V"}}}},
    ],
)
def test_code_named_elsewhere_than_in_the_models_config(tmp_path: Path, config: dict[str, object]) -> None:
    folder = custom(tmp_path, rope_theta=1)
    for name, content in config.items():
        (folder / name).write_text(json.dumps(content))
    assert "modeling_x.py" in [file.name for file in read_code(entry_of(folder)).files if file.starts]


def test_code_of_another_repository(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "x", auto_map={"AutoModel": "other/repo--modeling.X"})
    report = read_code(entry_of(folder))
    assert report.elsewhere == ("other/repo",)
    assert report.needs_consent


@pytest.mark.parametrize(
    "value", [5, [], "x", {"a": 5}, {"a": [None, 5]}, {"a": "../../etc.X"}, {"a": "/etc/x.X"}, None]
)
def test_an_auto_map_without_sense(tmp_path: Path, value: object) -> None:
    report = read_code(entry_of(custom(tmp_path, auto_map=value)))
    assert not any(file.starts for file in report.files)


def test_a_pickle_needs_the_same_consent(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "old", {"config.json": b'{"model_type": "x"}', "pytorch_model.bin": b"pickle"})
    first = read_code(entry_of(folder))
    assert (first.pickles, first.needs_consent) == ((PickleFile(name="pytorch_model.bin", size=6),), True)
    (folder / "pytorch_model.bin").write_bytes(b"PICKLE")
    assert read_code(entry_of(folder)).identity != first.identity


def test_consent_for_pickles_holds_for_what_lies_there_now(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trusted.json")
    folder = write_model(tmp_path / "old", {"config.json": b'{"model_type": "x"}', "pytorch_model-1.bin": b"a"})
    entry = entry_of(folder)
    store.remember(read_code(entry), allowed=True)
    assert store.answer(read_code(entry)) is True
    (folder / "pytorch_model-2.bin").write_bytes(b"came later")
    later = read_code(entry)  # of the scan before it came
    assert [file.name for file in later.pickles] == ["pytorch_model-1.bin", "pytorch_model-2.bin"]
    assert store.answer(later) is None
    store.remember(later, allowed=True)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("raise SystemExit")  # run of every trusted model
    with_code = read_code(entry)
    assert [file.name for file in with_code.files] == ["custom_generate/generate.py"]
    assert store.answer(with_code) is None
    store.remember(with_code, allowed=True)
    store.forget(str(folder))
    assert store.answer(with_code) is None


def test_pickles_beside_whole_safetensors_need_none(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "both", {**files_of_a_model(), "pytorch_model.bin": b"pickle"})
    entry = entry_of(folder)
    assert not entry.needs_consent
    assert not read_code(entry).needs_consent


def test_consent_holds_for_exactly_what_was_shown(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "data" / "trusted.json")
    folder = custom(tmp_path)
    report = read_code(entry_of(folder))
    assert store.answer(report) is None
    store.remember(report, allowed=True)
    assert TrustStore(tmp_path / "data" / "trusted.json").answer(read_code(entry_of(folder))) is True
    (folder / "README.md").write_text("another card")
    assert store.answer(read_code(entry_of(folder))) is True, "a card is no code"
    for name in CODE:
        (folder / name).write_bytes(CODE[name] + b"#")
        assert store.answer(read_code(entry_of(folder))) is None, name
        (folder / name).write_bytes(CODE[name])
        assert store.answer(read_code(entry_of(folder))) is True
    (folder / "new.py").write_text("")
    assert store.answer(read_code(entry_of(folder))) is None


def test_each_revision_is_asked_for_once(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trusted.json")
    files = {**files_of_a_model(auto_map=AUTO_MAP), **CODE}
    write_hub_snapshot(tmp_path / "hub", "a/b", files)
    write_hub_snapshot(tmp_path / "hub", "a/b", {**files, "README.md": b"new"})
    root = ScanRoot(str(tmp_path / "hub"), SourceKind.HUGGING_FACE)
    first, second = (read_code(entry) for entry in scan([root], open_cache(tmp_path)).entries)
    store.remember(first, allowed=False)
    assert (store.answer(first), store.answer(second)) == (False, None)
    store.remember(second, allowed=True)
    assert (store.answer(first), store.answer(second)) == (False, True)
    store.forget(first.path)
    assert (store.answer(first), store.answer(second)) == (None, True)


def test_a_copy_of_the_folder_is_asked_for_again(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trusted.json")
    report = read_code(entry_of(custom(tmp_path)))
    store.remember(report, allowed=True)
    assert store.answer(msgspec.structs.replace(report, path="/somewhere/else")) is None


def test_nothing_to_ask_for_is_allowed(tmp_path: Path) -> None:
    report = CodeReport(path="/x", revision="", identity="")
    assert TrustStore(tmp_path / "none.json").answer(report) is True


@pytest.mark.parametrize("content", [b"", b"{}x", b'{"a": {"allowed": true}}', b"[" * 100_000])
def test_a_damaged_store_trusts_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trusted.json"
    report = read_code(entry_of(custom(tmp_path)))
    TrustStore(path).remember(report, allowed=True)
    path.write_bytes(content)
    assert TrustStore(path).answer(report) is None


def test_a_store_that_cannot_be_written_says_so(ordinary_folder: Path) -> None:
    report = read_code(entry_of(custom(ordinary_folder)))
    ordinary_folder.chmod(0o500)
    with pytest.raises(TurbodeskError) as caught:
        TrustStore(ordinary_folder / "trusted.json").remember(report, allowed=True)
    assert caught.value.failure.code is FailureCode.STORAGE_NOT_WRITABLE


def test_hostile_code_files(tmp_path: Path) -> None:
    folder = custom(tmp_path)
    (folder / "modeling_x.py").write_bytes(
        b"from ." + b"." * 100_000 + b"a import b\n" + b"from . import (\n" * 20_000 + b" " * 100_000 + b"\xff\x00"
    )
    (folder / "configuration_x.py").unlink()
    os.mkfifo(folder / "configuration_x.py")
    (folder / "helper.py").unlink()
    (folder / "helper.py").symlink_to("/etc/passwd")
    report = read_code(entry_of(folder))
    assert "configuration_x.py" not in [file.name for file in report.files]
    for file in report.files:
        file.text.encode()
