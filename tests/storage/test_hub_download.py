"""What is kept of a download between two runs, how a model appears, and how it is mended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.hub import DownloadPlan, HubFile
from desktop.storage.hub_download import Download
from desktop.storage.hub_holding import HOLDING_FOLDER, Holding, is_whole, read_origin, unfinished
from tests.hub_answers import Fault
from tests.hub_server import HubServer
from tests.storage.chaos_kill_download import kill_download
from tests.storage.hub_fixtures import CONTENT, MODEL, content_of, fetch, hub_of, plan_of

WEIGHTS = "model.safetensors"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(MODEL, dict(CONTENT))
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def plan(server: HubServer, models: Path) -> DownloadPlan:
    return plan_of(hub_of(server).model(MODEL), models / "some-model")


def test_a_model_says_where_it_came_from(server: HubServer, plan: DownloadPlan) -> None:
    fetch(server, plan)
    assert read_origin(Path(plan.destination)) == plan
    assert read_origin(Path(plan.destination).parent) is None


def test_what_was_interrupted_is_found_again_as_it_was_left(
    server: HubServer, plan: DownloadPlan, models: Path
) -> None:
    assert unfinished(models) == []
    server.faults += [Fault("/blob/", cut_after=1_000_000), Fault("/blob/", status=500, times=100)]
    with pytest.raises(TurbodeskError):
        fetch(server, plan)
    (found,) = unfinished(models)
    assert found.plan == plan
    assert found.bytes_on_disk() > 1_000_000
    problem = failure(FailureCode.HUB_BUSY, hub="a hub", reason="a reason")
    found.save(paused=True, failure=problem)
    (again,) = unfinished(models)
    assert (again.record.paused, again.record.failure) == (True, problem)
    server.faults.clear()
    Download(again, lambda: hub_of(server), reserve=0).run()
    assert content_of(Path(plan.destination)) == CONTENT
    assert unfinished(models) == []


def test_the_same_model_again_takes_up_what_is_there_and_another_revision_does_not(plan: DownloadPlan) -> None:
    weights = next(file for file in plan.files if file.path == WEIGHTS)
    Holding.create(plan).part(weights).write_bytes(b"abc")
    assert Holding.create(plan).bytes_on_disk() == 3
    assert Holding.create(msgspec.structs.replace(plan, revision="other")).bytes_on_disk() == 0


def test_a_destination_that_is_taken_is_left_alone(server: HubServer, plan: DownloadPlan) -> None:
    holding = Holding.create(plan)
    destination = Path(plan.destination)
    destination.mkdir()
    (destination / "mine").write_text("precious")
    for act in (lambda: Holding.create(plan), Download(holding, lambda: hub_of(server), reserve=0).run):
        with pytest.raises(TurbodeskError) as error:
            act()
        assert error.value.failure.code is FailureCode.DOWNLOAD_TARGET_TAKEN
    assert content_of(destination) == {"mine": b"precious"}
    (destination / "mine").unlink()
    destination.rmdir()
    before = len(server.seen)
    Download(holding, lambda: hub_of(server), reserve=0).run()
    assert content_of(destination) == CONTENT
    assert len(server.seen) == before  # all was there already


def test_hostile_names_are_refused_before_anything_is_made(plan: DownloadPlan, models: Path) -> None:
    for name in ("../outside", "/etc/passwd", "a/../../b"):
        with pytest.raises(TurbodeskError) as error:
            Holding.create(msgspec.structs.replace(plan, files=(HubFile(path=name, size=1),)))
        assert error.value.failure.code is FailureCode.HUB_ANSWER_BROKEN
    assert not models.exists()


def test_a_model_without_files_is_refused(plan: DownloadPlan, models: Path) -> None:
    with pytest.raises(TurbodeskError):
        Holding.create(msgspec.structs.replace(plan, files=()))
    assert not models.exists()


def test_a_record_from_elsewhere_and_a_broken_one_are_not_taken_up(plan: DownloadPlan, models: Path) -> None:
    Holding.create(plan)
    os.rename(models / HOLDING_FOLDER / "some-model", models / HOLDING_FOLDER / "moved")
    assert unfinished(models) == []
    (models / HOLDING_FOLDER / "moved" / "download.json").write_text("{")
    assert unfinished(models) == []
    assert (models / HOLDING_FOLDER / "moved" / "files").exists()


def test_a_cancel_that_was_cut_short_leaves_nothing_for_long(plan: DownloadPlan, models: Path) -> None:
    Holding.create(plan)
    (models / HOLDING_FOLDER / "some-model" / "download.json").unlink()
    assert unfinished(models) == []
    assert list((models / HOLDING_FOLDER).iterdir()) == []
    Holding.create(plan).discard()
    assert list(models.iterdir()) == []


def test_an_end_between_the_rename_and_the_tidying_is_made_good(server: HubServer, plan: DownloadPlan) -> None:
    holding = Holding.create(plan)
    fetch(server, plan)
    holding.parts.mkdir(parents=True)
    holding.save()
    Download(holding, lambda: hub_of(server), reserve=0).run()
    assert content_of(Path(plan.destination)) == CONTENT
    assert not holding.folder.exists()


def test_two_processes_do_not_work_on_one_download(server: HubServer, plan: DownloadPlan) -> None:
    holding = Holding.create(plan)
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), 2); print(); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(holding.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TurbodeskError) as error:
            fetch(server, plan)
        assert error.value.failure.code is FailureCode.DOWNLOAD_RUNS_ELSEWHERE
        other.communicate()
    fetch(server, plan)
    assert content_of(Path(plan.destination)) == CONTENT


def test_only_broken_and_missing_files_are_fetched_by_a_repair(server: HubServer, plan: DownloadPlan) -> None:
    fetch(server, plan)
    folder = Path(plan.destination)
    with (folder / WEIGHTS).open("r+b") as weights:
        weights.seek(2_000_000)
        weights.write(b"oops")
    (folder / "tokenizer" / "vocab.txt").unlink()
    (folder / "notes.txt").write_text("mine")
    server.seen.clear()
    origin = read_origin(folder)
    assert origin is not None
    fetch(server, msgspec.structs.replace(origin, repair=True))
    assert content_of(folder) == {**CONTENT, "notes.txt": b"mine"}
    assert {request.path.rpartition("/")[2] for request in server.asked("", "hub")} == {WEIGHTS, "vocab.txt"}
    assert read_origin(folder) == plan
    assert not (folder.parent / HOLDING_FOLDER).exists()


def test_a_file_on_disk_is_judged_by_size_and_hash(plan: DownloadPlan, tmp_path: Path) -> None:
    for file in plan.files:
        path = tmp_path / "file"
        assert not is_whole(tmp_path / "missing", file)
        path.write_bytes(CONTENT[file.path])
        assert is_whole(path, file)
        path.write_bytes(CONTENT[file.path] + b"x")
        assert not is_whole(path, file)
        if file.size:
            path.write_bytes(b"\xff" + CONTENT[file.path][1:])
            assert not is_whole(path, file)
            assert is_whole(path, msgspec.structs.replace(file, sha256="", git_sha1=""))


@pytest.mark.chaos
def test_a_download_is_killed(tmp_path: Path) -> None:
    report = kill_download(6, tmp_path, seed=1)
    assert report.models > 0
