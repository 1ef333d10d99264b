"""Finding models: the hubs' caches by their own layouts, the user's folders, and only what changed a second time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from desktop.domain.errors import FailureCode
from desktop.domain.shelf import Precision, ScanReport, ShelfEntry, SourceKind
from desktop.storage import checkpoint_describe, checkpoint_walk
from desktop.storage.cancelling import Cancelled
from desktop.storage.checkpoint_roots import ScanRoot, hugging_face_cache, modelscope_cache, scan_roots
from desktop.storage.checkpoint_scan import open_cache, scan
from desktop.storage.paths import app_paths, demo_checkpoint, resources_dir
from tests.storage.model_folders import PARAMETERS, WEIGHTS, files_of_a_model, write_hub_snapshot, write_model


def look(path: Path, kind: SourceKind = SourceKind.FOLDER, cache: Path | None = None) -> ScanReport:
    return scan([ScanRoot(str(path), kind, True)], open_cache(cache or path.parent / "scan-cache"))


def only(report: ScanReport) -> ShelfEntry:
    assert len(report.entries) == 1, [entry.path for entry in report.entries]
    return report.entries[0]


def test_the_demo_model_is_found_whole() -> None:
    entry = only(scan([ScanRoot(str(resources_dir()), SourceKind.FOLDER, True)], open_cache(Path("/nowhere"))))
    assert entry.path == str(demo_checkpoint())
    assert entry.failure is None
    assert entry.checkpoint is not None
    assert (entry.checkpoint.parameters, entry.family, entry.precision) == (3_739_648, "Qwen3", Precision.BITS_16)
    assert (entry.checkpoint.context_length, entry.checkpoint.has_chat_template) == (2048, True)
    assert (entry.card.license, entry.card.languages, entry.card.task) == (
        "apache-2.0",
        ("en", "zh"),
        "text-generation",
    )
    assert entry.disk_bytes == sum(file.stat().st_size for file in demo_checkpoint().iterdir())
    assert not entry.needs_consent


def test_models_at_every_depth_and_their_own_subfolders(tmp_path: Path) -> None:
    top = tmp_path / "models"
    write_model(top / "a" / "b" / "deep")
    write_model(top / "trained")
    write_model(top / "trained" / "checkpoint-500")
    write_model(top / "trained" / "original", {"consolidated.00.pth": b"x", "params.json": b"{}"})
    write_model(top / "trained" / "1_Pooling", {"config.json": b"{}"})
    write_model(top / ".hidden" / "model")
    (top / "program").mkdir()
    (top / "program" / "config.json").write_text('{"name": "no model"}')
    found = {os.path.relpath(entry.path, top): entry for entry in look(top).entries}
    assert set(found) == {"a/b/deep", "trained", "trained/checkpoint-500"}
    assert found["trained"].disk_bytes > found["trained/checkpoint-500"].disk_bytes
    assert all(entry.checkpoint and entry.checkpoint.parameters == PARAMETERS for entry in found.values())


def test_the_root_itself_may_be_the_model(tmp_path: Path) -> None:
    assert only(look(write_model(tmp_path / "mine"))).name == "mine"


@pytest.mark.parametrize(
    ("files", "code", "word"),
    [
        ({"model.Q4_K_M.gguf": b"GGUF"}, FailureCode.NOT_A_CHECKPOINT, "GGUF"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, FailureCode.NOT_A_CHECKPOINT, "adapter"),
        ({"model_index.json": b"{}"}, FailureCode.NOT_A_CHECKPOINT, "pipeline"),
        ({"config.json": b'{"model_type": "x"}', "pytorch_model.bin": b""}, FailureCode.WEIGHTS_BROKEN, "is empty"),
        ({"config.json": b'{"architectures": ["X"]}'}, FailureCode.WEIGHTS_MISSING, "no .safetensors"),
    ],
)
def test_what_no_engine_loads_is_listed_with_a_sentence(
    tmp_path: Path, files: dict[str, bytes], code: FailureCode, word: str
) -> None:
    entry = only(look(write_model(tmp_path / "models" / "one", files).parent))
    assert entry.failure is not None
    assert entry.failure.code is code
    assert word in entry.failure.message
    assert not entry.needs_consent


def test_pickle_weights_are_described_without_being_opened(tmp_path: Path) -> None:
    config = json.loads((demo_checkpoint() / "config.json").read_text())
    files = {
        **files_of_a_model(**config),
        "pytorch_model.bin": b"cposix\nsystem\n(S'touch ran'\ntR.",
        "README.md": b"x",
    }
    del files["model.safetensors"]
    entry = only(look(write_model(tmp_path / "models" / "one", files).parent))
    assert (entry.failure, entry.needs_consent, entry.pickles) == (None, True, ("pytorch_model.bin",))
    assert entry.checkpoint is not None
    assert entry.checkpoint.parameters == pytest.approx(3_739_648, rel=0.01)
    assert (entry.precision, entry.precision_words, entry.checkpoint.dtypes) == (None, "", ())
    assert only(look(tmp_path / "models")) == entry, "kept from the first scan"


def test_a_pipelines_parts_are_no_models(tmp_path: Path) -> None:
    pipeline = write_model(tmp_path / "models" / "pictures", {"model_index.json": b"{}"})
    write_model(pipeline / "text_encoder")
    assert only(look(tmp_path / "models")).path == str(pipeline)


def test_links_and_cycles(tmp_path: Path) -> None:
    top = tmp_path / "models"
    model = write_model(top / "z-real")
    elsewhere = write_model(tmp_path / "other disk" / "far")
    (top / "a-alias").symlink_to(model)
    (top / "far").symlink_to(elsewhere.parent)
    (top / "up").symlink_to(top)
    (model / "round").symlink_to("..")
    (top / "self").symlink_to("self")
    (top / "nothing").symlink_to("not there")
    assert sorted(entry.path for entry in look(top).entries) == [str(top / "far" / "far"), str(model)]


def test_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "models"
    write_model(top / "/".join("abcdefghijkl"))
    report = look(top)
    assert not report.entries
    assert [problem.code for problem in report.problems] == [FailureCode.SCAN_INCOMPLETE]
    assert "deep" in report.problems[0].message
    monkeypatch.setattr(checkpoint_walk, "_FOLDERS_LIMIT", 3)
    assert "more than 3 folders" in look(top).problems[0].message
    monkeypatch.setattr(checkpoint_walk, "_NAMES_LIMIT", 2)
    assert "more than 2 files" in look(write_model(tmp_path / "wide")).problems[0].message


def test_a_named_folder_that_is_not_there_is_said_and_a_cache_is_not(tmp_path: Path) -> None:
    roots = [ScanRoot(str(tmp_path / "gone"), SourceKind.FOLDER, True), ScanRoot(str(tmp_path / "x"), SourceKind.OWN)]
    report = scan(roots, open_cache(tmp_path))
    assert [problem.code for problem in report.problems] == [FailureCode.CHECKPOINT_NOT_FOUND]


def test_folders_that_may_not_be_read(ordinary_folder: Path) -> None:
    model = write_model(ordinary_folder / "models" / "closed")
    cache = ordinary_folder / "cache"
    assert only(look(model.parent, cache=cache)).failure is None
    (model / "model.safetensors").chmod(0)
    entry = only(look(model.parent, cache=cache))
    assert entry.failure is not None
    assert entry.failure.code is FailureCode.CHECKPOINT_NOT_READABLE
    (model / "model.safetensors").chmod(0o600)
    assert only(look(model.parent, cache=cache)).failure is None
    model.parent.chmod(0)
    report = look(model.parent, cache=cache)
    model.parent.chmod(0o700)
    assert [problem.code for problem in report.problems] == [FailureCode.CHECKPOINT_NOT_READABLE]


# The hubs' caches


def test_hugging_faces_cache_as_its_own_library_sees_it(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    old = write_hub_snapshot(cache, "owner/model-7b", files_of_a_model(), refs=("v1",))
    new = write_hub_snapshot(cache, "owner/model-7b", files_of_a_model(rope_theta=5), refs=("main", "refs/pr/1"))
    write_hub_snapshot(cache, "gpt2", {**files_of_a_model(), "vae/config.json": b"{}"}, refs=("main",))
    (cache / "datasets--some--data" / "snapshots" / "abc").mkdir(parents=True)
    (cache / ".locks" / "models--owner--model-7b").mkdir(parents=True)
    ours = {
        (entry.source.repo_id, entry.source.revision, entry.source.refs, entry.path, entry.disk_bytes)
        for entry in look(cache, SourceKind.HUGGING_FACE).entries
    }
    from huggingface_hub import scan_cache_dir

    theirs = scan_cache_dir(cache)
    assert not theirs.warnings
    assert ours == {
        (repo.repo_id, each.commit_hash, tuple(sorted(each.refs)), str(each.snapshot_path), each.size_on_disk)
        for repo in theirs.repos
        if repo.repo_type == "model"
        for each in repo.revisions
    }
    assert {str(old), str(new)} < {path for *_, path, _ in ours}


def test_a_hub_cache_below_a_named_folder_is_known_as_one(tmp_path: Path) -> None:
    write_hub_snapshot(tmp_path / "disk" / "hub", "owner/model", files_of_a_model(), refs=("main",))
    entry = only(look(tmp_path / "disk"))
    assert (entry.source.kind, entry.title) == (SourceKind.HUGGING_FACE, "owner/model")


def test_a_folder_that_only_looks_like_a_hubs_is_searched(tmp_path: Path) -> None:
    model = write_model(tmp_path / "my--own" / "snapshots" / "one")
    assert only(look(tmp_path / "my--own")).path == str(model)
    assert only(look(tmp_path)).source.repo_id == ""


def test_a_half_downloaded_snapshot(tmp_path: Path) -> None:
    snapshot = write_hub_snapshot(tmp_path / "hub", "owner/model", files_of_a_model(), refs=("main",))
    (snapshot / "model.safetensors").resolve().unlink()
    (snapshot.parent.parent / "blobs" / "abc.incomplete").write_bytes(b"half")
    entry = only(look(tmp_path / "hub", SourceKind.HUGGING_FACE))
    assert entry.failure is not None
    assert entry.failure.code is FailureCode.WEIGHTS_MISSING


def test_a_ref_that_moves_is_seen_though_no_file_changed(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    first = write_hub_snapshot(cache, "owner/model", files_of_a_model(), refs=("main",))
    second = write_hub_snapshot(cache, "owner/model", files_of_a_model(rope_theta=5))
    refs = {entry.path: entry.source.refs for entry in look(cache, SourceKind.HUGGING_FACE).entries}
    assert refs == {str(first): ("main",), str(second): ()}
    (first.parent.parent / "refs" / "main").write_text(second.name)
    refs = {entry.path: entry.source.refs for entry in look(cache, SourceKind.HUGGING_FACE).entries}
    assert refs == {str(first): (), str(second): ("main",)}


@pytest.mark.parametrize(
    ("place", "repo_id", "revision"),
    [
        ("hub/Qwen/Qwen2___5-7B", "Qwen/Qwen2.5-7B", "master"),
        ("hub/models/Qwen/Qwen2___5-7B", "Qwen/Qwen2.5-7B", "master"),
        ("models/Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "master"),
        ("models/Qwen--Qwen3-8B/snapshots/v1.0", "Qwen/Qwen3-8B", "v1.0"),
    ],
)
def test_modelscopes_cache(tmp_path: Path, place: str, repo_id: str, revision: str) -> None:
    model = write_model(tmp_path / "modelscope" / place)
    (model / ".mv").write_text("Revision:master,CreatedAt:1700000000")
    # Its library writes these with pickle; opening them as such would run what they say.
    (model / ".mdl").write_bytes(b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    if "___" in place:
        (model.parent / model.name.replace("___", ".")).symlink_to(model)
    entry = only(look(tmp_path / "modelscope", SourceKind.MODELSCOPE))
    assert entry.source.kind is SourceKind.MODELSCOPE
    assert (entry.source.repo_id, entry.source.revision, entry.path) == (repo_id, revision, str(model))


def test_a_folder_that_was_downloaded_from_a_hub_remembers_the_commit(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = write_model(tmp_path / "mine")
    kept = model / ".cache" / "huggingface" / "download" / "config.json.metadata"
    kept.parent.mkdir(parents=True)
    kept.write_text(f"{commit}\netag\n1700000000.0\n")
    assert only(look(model)).source.revision == commit


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"model_id": "owner/model", "revision": "abc", "files": []}, ("owner/model", "abc")),
        ({"model_id": "a\nb", "revision": "c\x1b"}, ("a\ufffdb", "c\ufffd")),
        ({"model_id": 5, "revision": "abc"}, ("", "")),
        ([], ("", "")),
        ("[" * 100_000, ("", "")),
    ],
)
def test_our_own_downloads_remember_where_they_came_from(
    tmp_path: Path, origin: object, expected: tuple[str, str]
) -> None:
    model = write_model(tmp_path / "mine")
    (model / ".turbodesk-origin.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    source = only(look(model)).source
    assert (source.repo_id, source.revision) == expected


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HUB_CACHE": "/a/hub"},
        {"HF_HOME": "/b"},
        {"HF_HOME": "~/b", "HUGGINGFACE_HUB_CACHE": "/c"},
        {"HF_HOME": "$HOME/d", "XDG_CACHE_HOME": "/e"},
        {"XDG_CACHE_HOME": "/e"},
    ],
)
def test_the_cache_is_where_the_library_has_it(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    program = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert str(hugging_face_cache()) == theirs.stdout.strip()


def test_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", "/m")
    assert modelscope_cache() == Path("/m")
    roots = scan_roots(app_paths(tmp_path), ["relative", "~/home"])
    kinds = [SourceKind.OWN, SourceKind.DOWNLOADED, SourceKind.HUGGING_FACE, SourceKind.MODELSCOPE]
    assert [root.kind for root in roots[:4]] == kinds
    assert [root.path for root in roots[4:]] == [os.path.abspath("relative"), os.path.expanduser("~/home")]
    assert roots[0].path == str(tmp_path / "quantized")


def test_a_model_below_two_roots_is_listed_as_the_first_ones(tmp_path: Path) -> None:
    write_model(tmp_path / "data" / "quantized" / "mine-awq")
    roots = [
        ScanRoot(str(tmp_path / "data" / "quantized"), SourceKind.OWN),
        ScanRoot(str(tmp_path), SourceKind.FOLDER, True),
    ]
    assert only(scan(roots, open_cache(tmp_path / "c"))).source.kind is SourceKind.OWN


# The second scan


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "models"
    for number in range(5):
        write_model(top / f"model-{number}")
    write_model(top / "broken", {"config.json": b'{"model_type": 5}', "model.safetensors": WEIGHTS})
    read: list[str] = []
    original = checkpoint_describe.read_checkpoint
    monkeypatch.setattr(checkpoint_describe, "read_checkpoint", lambda path: read.append(path) or original(path))
    first = look(top)
    assert len(read) == 6
    read.clear()
    assert look(top).entries == first.entries
    assert read == []
    config = top / "model-3" / "config.json"
    facts = config.stat()
    config.write_text(config.read_text().replace("4096", "8192"))
    os.utime(config, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # same size, same time
    second = look(top)
    assert read == [str(config.parent)]
    assert second.entries[4].checkpoint is not None
    assert second.entries[4].checkpoint.context_length == 8192


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b'["1", {}]'])
def test_a_damaged_cache_costs_only_time(tmp_path: Path, content: bytes) -> None:
    top = write_model(tmp_path / "models" / "one").parent
    first = look(top)
    (tmp_path / "scan-cache" / "models.msgpack").write_bytes(content)
    assert look(top).entries == first.entries


def test_names_that_no_cache_file_can_hold_do_not_spoil_it(tmp_path: Path) -> None:
    top = tmp_path / "models"
    write_model(top / "good")
    write_model(top / "odd", architectures=["\ud800"])
    write_model(Path(os.fsdecode(os.fsencode(top) + b"/\xff")))
    first = look(top)
    assert [entry.failure for entry in first.entries] == [None] * 3
    assert look(top).entries == first.entries
    assert b"good" in (tmp_path / "scan-cache" / "models.msgpack").read_bytes()


def test_a_scan_is_given_up_at_once(tmp_path: Path) -> None:
    top = tmp_path / "models"
    for number in range(5):
        write_model(top / f"model-{number}")
    found: list[ShelfEntry] = []
    with pytest.raises(Cancelled):
        scan([ScanRoot(str(top), SourceKind.FOLDER)], open_cache(tmp_path), found.append, lambda: len(found) >= 2)
    assert len(found) == 2


def test_folders_that_come_and_go_meanwhile(tmp_path: Path) -> None:
    """A thread moves folders about while twenty scans look at them: sentences or values, never an error."""
    top = tmp_path / "models"
    for number in range(10):
        write_model(top / f"model-{number}")
    over = threading.Event()

    def stir() -> None:
        while not over.is_set():
            for number in range(10):
                folder = top / f"model-{number}"
                shutil.rmtree(folder, ignore_errors=True)
                write_model(folder)

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        for _ in range(20):
            for entry in look(top).entries:
                assert entry.failure is None or entry.failure.code is not FailureCode.INTERNAL, entry.failure
    finally:
        over.set()
        thread.join()


def test_a_cached_entry_is_the_same_as_a_fresh_one(tmp_path: Path) -> None:
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
    top = write_model(tmp_path / "models" / "one", quantization_config=awq, vision_config={"a": 1}).parent
    fresh, cached = only(look(top)), only(look(top))
    assert cached == fresh
    assert cached.precision_words == "AWQ, 4 bits, groups of 128"
    assert json.loads((top / "one" / "config.json").read_text())["quantization_config"] == awq
