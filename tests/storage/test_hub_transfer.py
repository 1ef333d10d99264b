"""Fetching one model while the hub does everything that hubs do wrong."""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.hub import DownloadPlan, HubKind
from desktop.storage import hub_http, hub_transfer
from desktop.storage.cancelling import Cancelled
from desktop.storage.hub_download import Download
from desktop.storage.hub_holding import HOLDING_FOLDER, Holding
from tests.hub_answers import Fault
from tests.hub_server import TOKEN, HubServer
from tests.storage.hub_fixtures import CONTENT, MODEL, content_of, fetch, hub_of, plan_of

WEIGHTS = "model.safetensors"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(MODEL, dict(CONTENT))
        yield server


@pytest.fixture
def plan(server: HubServer, tmp_path: Path) -> DownloadPlan:
    return plan_of(hub_of(server).model(MODEL), tmp_path / "models" / "some-model")


def part_size(plan: DownloadPlan) -> int:
    """Bytes of the weights' part."""
    destination = Path(plan.destination)
    return (destination.parent / HOLDING_FOLDER / destination.name / "parts" / f"{WEIGHTS}.part").stat().st_size


def assert_whole(plan: DownloadPlan) -> None:
    assert content_of(Path(plan.destination)) == CONTENT
    assert not (Path(plan.destination).parent / HOLDING_FOLDER).exists()


def refused(server: HubServer, plan: DownloadPlan) -> FailureCode:
    with pytest.raises(TurbodeskError) as error:
        fetch(server, plan)
    assert not Path(plan.destination).exists()
    assert "signature" not in repr(error.value.failure)
    return error.value.failure.code


@pytest.mark.parametrize("kind", HubKind)
def test_a_model_arrives(server: HubServer, tmp_path: Path, kind: HubKind) -> None:
    plan = plan_of(hub_of(server, kind).model(MODEL), tmp_path / "models" / "some-model")
    progress = fetch(server, plan).progress
    assert_whole(plan)
    assert progress.on_disk == progress.total == progress.received == sum(map(len, CONTENT.values()))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(WEIGHTS, status=500),
        Fault(WEIGHTS, status=503, times=2),
        Fault(WEIGHTS, status=429, retry_after="0"),
        Fault(WEIGHTS, cut_after=1_000_000),
        Fault("/blob/", cut_after=700_000, times=4),
        Fault("/blob/", cut_after=0, times=2),
        Fault("/blob/", flip=2_000_000),
        Fault("/blob/", endless=True),
        Fault("/blob/", drop_length=True),
        Fault("/blob/", lie=-1_000_000),
        Fault("/blob/", lie=1_000_000),
        Fault("vocab", flip=1),
        Fault("config", cut_after=3),
        Fault("/blob/", status=403),
    ],
    ids=repr,
)
def test_what_passes_is_survived(server: HubServer, plan: DownloadPlan, fault: Fault) -> None:
    server.faults.append(fault)
    fetch(server, plan)
    assert fault.times == 0
    assert_whole(plan)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(WEIGHTS, status=500), FailureCode.HUB_BUSY),
        (Fault(WEIGHTS, status=429), FailureCode.HUB_BUSY),
        (Fault(WEIGHTS, status=403), FailureCode.MODEL_GATED),
        (Fault("resolve", status=401, word="GatedRepo"), FailureCode.MODEL_GATED),
        (Fault(WEIGHTS, status=401), FailureCode.MODEL_NOT_ON_HUB),
        (Fault(WEIGHTS, status=404, word="EntryNotFound"), FailureCode.MODEL_NOT_ON_HUB),
        (Fault("/blob/", cut_after=0), FailureCode.HUB_UNREACHABLE),
        (Fault("/blob/", flip=5), FailureCode.DOWNLOAD_DAMAGED),
        (Fault("vocab", flip=1), FailureCode.DOWNLOAD_DAMAGED),
        (Fault("/blob/", lie=-1), FailureCode.HUB_ANSWER_BROKEN),
        (Fault("/blob/", lie=1), FailureCode.HUB_ANSWER_BROKEN),
        (Fault("/blob/", cut_after=500_000, no_range=True), FailureCode.HUB_UNREACHABLE),
    ],
    ids=repr,
)
def test_what_stays_ends_with_a_sentence_and_no_model(
    server: HubServer, plan: DownloadPlan, fault: Fault, code: FailureCode
) -> None:
    server.faults.append(fault)
    fault.times = 1000
    assert refused(server, plan) is code


def test_a_retry_goes_on_where_the_connection_was_cut(server: HubServer, plan: DownloadPlan) -> None:
    server.faults.append(Fault("/blob/", cut_after=1_000_000))
    fetch(server, plan)
    assert_whole(plan)
    ranges = [request.headers.get("Range") for request in server.asked("/blob/")]
    assert ranges == [None, "bytes=1000000-"]


def test_what_was_fetched_before_is_hashed_and_not_fetched_again(server: HubServer, plan: DownloadPlan) -> None:
    server.faults.append(Fault("/blob/", cut_after=1_000_000, times=1))
    server.faults.append(Fault(f"{plan.revision}/{WEIGHTS}", status=403, skip=1))  # at the second try
    assert refused(server, plan) is FailureCode.MODEL_GATED
    assert part_size(plan) == 1_000_000
    download = fetch(server, plan)
    assert_whole(plan)
    assert download.progress.received == 2_000_000
    assert download.progress.on_disk == sum(map(len, CONTENT.values()))


def test_a_part_that_was_damaged_on_disk_is_fetched_anew(server: HubServer, plan: DownloadPlan) -> None:
    holding = Holding.create(plan)
    weights = next(file for file in plan.files if file.path == WEIGHTS)
    holding.part(weights).write_bytes(b"\0" * 1_000_000)
    fetch(server, plan)
    assert_whole(plan)
    holding = Holding.create(msgspec.structs.replace(plan, destination=plan.destination + "2"))
    holding.part(weights).write_bytes(b"\0" * 4_000_000)  # more than there is
    fetch(server, holding.plan)
    assert content_of(Path(holding.plan.destination)) == CONTENT


def test_a_hub_that_ignores_ranges_sends_everything_again(server: HubServer, plan: DownloadPlan) -> None:
    server.faults.append(Fault("/blob/", cut_after=1_000_000))
    server.faults.append(Fault("/blob/", no_range=True))
    progress = fetch(server, plan).progress
    assert_whole(plan)
    assert progress.on_disk == progress.total


def test_a_body_without_end_is_cut_at_the_listed_size(server: HubServer, plan: DownloadPlan) -> None:
    server.faults.append(Fault("/blob/", endless=True, times=100))
    fetch(server, plan)
    assert_whole(plan)
    assert len(server.asked("/blob/")) == 1


def test_a_file_that_changed_between_two_runs_is_refused(server: HubServer, plan: DownloadPlan) -> None:
    server.faults += [Fault("/blob/", cut_after=1_000_000), Fault(f"{plan.revision}/{WEIGHTS}", status=403, skip=1)]
    assert refused(server, plan) is FailureCode.MODEL_GATED
    commit = server.models[MODEL].commit
    server.add(MODEL, {**CONTENT, WEIGHTS: bytes(3_000_000)}).commit = commit
    assert refused(server, plan) is FailureCode.HUB_ANSWER_BROKEN
    assert len(server.asked("/blob/")) == 2  # the new content was looked up, and not fetched to its end


def test_a_file_without_a_hash_is_never_mixed_of_two_versions(server: HubServer, plan: DownloadPlan) -> None:
    files = tuple(msgspec.structs.replace(file, sha256="", git_sha1="") for file in plan.files)
    plan = msgspec.structs.replace(plan, files=files)
    new = bytes(3_000_000)

    def change() -> None:
        deadline = time.monotonic() + 10
        while len(server.asked("/blob/")) < 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        server.models[MODEL].files[WEIGHTS] = server.add("x/new", {WEIGHTS: new}).files[WEIGHTS]

    server.faults.append(Fault("/blob/", cut_after=1_000_000, rate=20e6))
    changer = threading.Thread(target=change)
    changer.start()
    fetch(server, plan)
    changer.join()
    assert (Path(plan.destination) / WEIGHTS).read_bytes() == new


def test_the_token_stays_with_the_hub(server: HubServer, tmp_path: Path) -> None:
    server.models[MODEL].gated = True
    plan = plan_of(hub_of(server, token=TOKEN).model(MODEL), tmp_path / "some-model")
    assert refused(server, plan) is FailureCode.MODEL_GATED
    fetch(server, plan, token=TOKEN)
    assert_whole(plan)
    assert server.asked(WEIGHTS, "hub")[-1].headers["Authorization"] == f"Bearer {TOKEN}"
    assert server.asked("/blob/", "cdn")
    assert not any(TOKEN in str(request.headers) for request in server.asked("", "cdn"))
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in written)


def test_a_stop_ends_a_stalled_transfer_at_once(server: HubServer, plan: DownloadPlan) -> None:
    server.faults.append(Fault("/blob/", rate=1000, times=100))
    download = Download(Holding.create(plan), lambda: hub_of(server), reserve=0)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            download.run()
        except Cancelled as problem:
            ended.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    while not server.asked("/blob/"):
        time.sleep(0.01)
    time.sleep(0.1)
    download.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(ended) == 1
    assert not Path(plan.destination).exists()
    server.faults.clear()
    fetch(server, plan)
    assert_whole(plan)


def test_a_hub_that_says_nothing_is_left_after_a_while(
    server: HubServer, plan: DownloadPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_http, "_READ_SECONDS", 0.2)
    server.faults.append(Fault("/blob/", hang=True))
    fetch(server, plan)
    assert_whole(plan)
    server.faults.append(Fault("config", hang=True, times=100))
    again = msgspec.structs.replace(plan, destination=plan.destination + "2")
    assert refused(server, again) is FailureCode.HUB_UNREACHABLE


@pytest.mark.parametrize(
    ("text", "least", "most"), [("7", 7, 7), ("soon", 0, 1), ("", 0, 1), ("99999999999", 1e6, 1e6)]
)
def test_a_hub_says_how_long_to_wait(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, text: str, least: float, most: float
) -> None:
    hub = hub_of(server)
    waits: list[float] = []
    monkeypatch.setattr(hub.connection.leaving, "wait", lambda seconds: waits.append(seconds) or False)
    server.faults.append(Fault("config", status=429, retry_after=text))
    read = partial(hub.connection.read, hub.file_url(MODEL, "main", "config.json"), MODEL, 0, 100)
    if most > 600:  # longer than anyone waits before a window
        with pytest.raises(TurbodeskError) as error:
            read()
        assert error.value.failure.code is FailureCode.HUB_BUSY
    else:
        assert read() == CONTENT["config.json"]
        assert least <= waits[0] <= most


def test_a_hub_names_the_time_to_come_back(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = hub_of(server)
    waits: list[float] = []
    monkeypatch.setattr(hub.connection.leaving, "wait", lambda seconds: waits.append(seconds) or False)
    date = email.utils.formatdate(time.time() + 300, usegmt=True)
    server.faults.append(Fault("config", status=503, retry_after=date))
    hub.connection.read(hub.file_url(MODEL, "main", "config.json"), MODEL, 0, 100)
    assert 200 < waits[0] <= 300


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/a", "file:///etc/passwd", "http://[bad", "?again"])
def test_redirects_to_nowhere_are_refused(server: HubServer, plan: DownloadPlan, location: str) -> None:
    server.faults.append(Fault("config", status=302, location=location, times=100))
    assert refused(server, plan) is FailureCode.HUB_ANSWER_BROKEN


def test_a_proxy_of_the_environment_is_used(
    server: HubServer, plan: DownloadPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def proxy() -> None:
        client, _ = listener.accept()
        with client:
            asked.append(client.recv(4096))
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=proxy)
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    hub = hub_of(server)
    with pytest.raises(TurbodeskError), hub.connection.get(hub.file_url(MODEL, "main", "config.json"), MODEL):
        pass
    thread.join()
    listener.close()
    assert asked[0].startswith(b"GET " + server.url.encode())
    assert b"Proxy-Authorization: Basic" in asked[0] or b"proxy-authorization: Basic" in asked[0]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(server, plan)
    assert_whole(plan)


def test_a_disk_that_fills_up_meanwhile(server: HubServer, plan: DownloadPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_transfer, "_STRIDE", 1)
    free = iter([10**10, *[0] * 100])
    usage = type("Usage", (), {"free": property(lambda self: next(free))})
    monkeypatch.setattr(hub_transfer.shutil, "disk_usage", lambda path: usage())
    download = Download(Holding.create(plan), lambda: hub_of(server), reserve=1000)
    with pytest.raises(TurbodeskError) as error:
        download.run()
    assert error.value.failure.code is FailureCode.DOWNLOAD_NO_ROOM
    assert not Path(plan.destination).exists()


def test_too_little_room_is_said_before_anything_is_fetched(server: HubServer, plan: DownloadPlan) -> None:
    before = len(server.seen)
    with pytest.raises(TurbodeskError) as error:
        Download(Holding.create(plan), lambda: hub_of(server), reserve=1 << 60).run()
    assert error.value.failure.code is FailureCode.DOWNLOAD_NO_ROOM
    assert len(server.seen) == before


def test_a_disk_that_is_really_small(server: HubServer, small_disk: Path) -> None:
    plan = plan_of(hub_of(server).model(MODEL), small_disk / "some-model")
    download = Download(Holding.create(plan), lambda: hub_of(server), reserve=-(1 << 40))  # not asked before
    with pytest.raises(TurbodeskError) as error:
        download.run()
    assert error.value.failure.code is FailureCode.DOWNLOAD_NO_ROOM
    assert not Path(plan.destination).exists()
