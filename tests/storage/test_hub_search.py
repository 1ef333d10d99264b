"""Searching and listing, with the hubs' own libraries against a hub on loopback."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.hub import HubAddress, HubFile, HubKind, is_model_id, is_safe_path, wanted_files
from desktop.storage.hub import open_hub
from tests.hub_answers import Fault
from tests.hub_server import TOKEN, HubServer
from tests.storage.hub_fixtures import CONTENT, MODEL, hub_of

KINDS = pytest.mark.parametrize("kind", HubKind)


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(MODEL, dict(CONTENT), downloads=5)
        server.add("someone/other-model", {"a": b"b"}, downloads=7, gated=True)
        yield server


def failure_code(error: pytest.ExceptionInfo[TurbodeskError]) -> FailureCode:
    return error.value.failure.code


@KINDS
def test_a_search_finds_models_with_what_is_known_of_them(server: HubServer, kind: HubKind) -> None:
    hits = {hit.model_id: hit for hit in hub_of(server, kind).search("-model")}
    assert set(hits) == {MODEL, "someone/other-model"}
    hit = hits[MODEL]
    assert (hit.downloads, hit.gated, hit.licence) == (5, False, "apache-2.0")
    assert hit.updated_at == 1772359200.0
    assert hits["someone/other-model"].gated
    assert hub_of(server, kind).search("nothing") == []


@KINDS
def test_a_model_lists_its_files_with_sizes_and_hashes(server: HubServer, kind: HubKind) -> None:
    model = hub_of(server, kind).model(MODEL)
    assert {file.path: file.size for file in model.files} == {path: len(data) for path, data in CONTENT.items()}
    weights = next(file for file in model.files if file.path == "model.safetensors")
    assert weights.sha256 == hashlib.sha256(CONTENT["model.safetensors"]).hexdigest()
    assert all(file.sha256 or file.git_sha1 for file in model.files)
    assert model.licence == "apache-2.0"
    assert not model.gated


def test_a_revision_is_pinned_to_its_commit(server: HubServer) -> None:
    commit = server.models[MODEL].commit
    assert hub_of(server).model(MODEL).revision == commit
    assert hub_of(server).model(MODEL, "main").revision == commit
    assert server.asked(f"/tree/{commit}")


def test_long_lists_come_in_pages(server: HubServer) -> None:
    server.page_size = 2
    assert len(hub_of(server).model(MODEL).files) == len(CONTENT)
    for number in range(5):
        server.add(f"someone/many-{number}", {"a": b"b"})
    assert len(hub_of(server).search("many")) == 5
    assert len(hub_of(server).search("many", limit=3)) == 3


@KINDS
def test_a_model_that_is_not_there_says_so(server: HubServer, kind: HubKind) -> None:
    with pytest.raises(TurbodeskError) as error:
        hub_of(server, kind).model("someone/missing")
    assert failure_code(error) is FailureCode.MODEL_NOT_ON_HUB
    assert "someone/missing" in error.value.failure.message
    with pytest.raises(TurbodeskError) as error:
        hub_of(server, kind).model("../../etc")
    assert failure_code(error) is FailureCode.MODEL_NOT_ON_HUB


def test_an_unknown_revision_and_a_wrong_token_say_so(server: HubServer) -> None:
    with pytest.raises(TurbodeskError) as error:
        hub_of(server).model(MODEL, "v9")
    assert failure_code(error) is FailureCode.MODEL_NOT_ON_HUB
    with pytest.raises(TurbodeskError) as error:
        hub_of(server, token="hf_wrong").model(MODEL)
    assert failure_code(error) is FailureCode.TOKEN_REFUSED
    assert "hf_wrong" not in repr(error.value.failure)
    assert hub_of(server, token=TOKEN).model(MODEL)


@KINDS
def test_no_token_of_another_tool_is_sent(server: HubServer, kind: HubKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms_of_the_user")
    hub_of(server, kind).search("model")
    hub_of(server, kind).model(MODEL)
    assert server.seen
    assert not any("of_the_user" in str(request.headers) for request in server.seen)


@KINDS
def test_a_hub_that_is_not_there_says_so_at_once(kind: HubKind, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)  # the libraries' own retries
    with pytest.raises(TurbodeskError) as error:
        open_hub(HubAddress(kind, "http://127.0.0.1:9")).search("model")
    assert failure_code(error) is FailureCode.HUB_UNREACHABLE
    assert waits == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, FailureCode.MODEL_GATED), (418, FailureCode.HUB_ANSWER_BROKEN), (500, FailureCode.HUB_BUSY)],
)
def test_refusals_are_sentences(server: HubServer, status: int, code: FailureCode) -> None:
    server.faults.append(Fault("/api/models", status=status))
    with pytest.raises(TurbodeskError) as error:
        hub_of(server).model(MODEL)
    assert failure_code(error) is code


@KINDS
def test_a_refused_search_names_no_model(server: HubServer, kind: HubKind) -> None:
    server.faults.append(Fault("/models", status=403))
    with pytest.raises(TurbodeskError) as error:
        hub_of(server, kind).search("some")
    assert failure_code(error) is FailureCode.HUB_ANSWER_BROKEN
    server.faults.append(Fault("/models", status=401))
    with pytest.raises(TurbodeskError) as error:
        hub_of(server, kind, token=TOKEN).search("some")
    assert failure_code(error) is FailureCode.TOKEN_REFUSED


def test_neither_library_brings_an_engine_into_the_window() -> None:
    program = (
        "import sys; from desktop.domain.hub import *; from desktop.storage.hub import open_hub; "
        "import desktop.storage.hub_token, keyring, desktop.storage.hub_preview, desktop.storage.hub_download; "
        "[open_hub(address) for address in (HUGGING_FACE, MODELSCOPE)]; "
        "print([name for name in ('torch', 'transformers', 'lmdeploy', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.parametrize("path", ["../a", "a/../b", "/a", "a//b", "", ".", "a/", "a\\b", "a\nb", "a\0b", "a" * 256])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    assert not is_safe_path(path)


@pytest.mark.parametrize("path", ["a", "a/b", "模型.json", "a b", ".hidden", "..a"])
def test_other_paths_are_not(path: str) -> None:
    assert is_safe_path(path)


def test_model_names() -> None:
    assert is_model_id("gpt2")
    assert is_model_id("a/b")
    assert not any(map(is_model_id, ("", "a/b/c", "/", "a/", "../b", "a/..")))


def test_only_one_format_of_the_weights_is_wanted() -> None:
    def chosen(*paths: str) -> list[str]:
        return [file.path for file in wanted_files([HubFile(path=path, size=1) for path in paths])]

    assert chosen("model.safetensors", "pytorch_model.bin", "a.gguf", "config.json", "original/c.00.pth") == [
        "model.safetensors",
        "config.json",
    ]
    assert chosen("pytorch_model.bin", "tf_model.h5", "tokenizer.model") == ["pytorch_model.bin", "tokenizer.model"]
