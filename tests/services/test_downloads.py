"""The queue of downloads, with a real hub, real files and the threads of the program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.hub import HubAddress, HubModel
from desktop.services.download_status import DownloadState, DownloadStatus, Pace
from desktop.services.downloads import AT_ONCE, REPORTED_EVERY, Downloads
from desktop.storage.hub import open_hub
from desktop.storage.hub_holding import HOLDING_FOLDER
from tests.hub_answers import Fault
from tests.hub_server import HubServer
from tests.storage.hub_fixtures import CONTENT, IMPATIENT, MODEL, content_of, hub_of

WAITING, RUNNING, PAUSED, FAILED, FINISHED = DownloadState


class Queue:
    """Downloads and what they said."""

    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.folder = folder
        self.qtbot = qtbot
        self.said: list[tuple[float, DownloadStatus]] = []
        self.removed: list[str] = []
        self.appeared: list[str] = []
        self.refused: list[Failure] = []
        self.downloads = Downloads(self._open, reserve=0)
        self.downloads.changed.connect(self._on_changed)
        self.downloads.removed.connect(self.removed.append)
        self.downloads.model_appeared.connect(self.appeared.append)
        self.downloads.refused.connect(self.refused.append)

    def _open(self, address: HubAddress):  # type: ignore[no-untyped-def]
        return open_hub(address, patience=IMPATIENT)

    def _on_changed(self, status: DownloadStatus) -> None:
        self.said.append((time.monotonic(), status))

    def state(self, key: str) -> DownloadState | None:
        return next((status.state for status in self.downloads.all if status.key == key), None)

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=10_000)

    def until_state(self, key: str, state: DownloadState) -> None:
        self.until(lambda: self.state(key) is state)


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(MODEL, dict(CONTENT))
        yield server


@pytest.fixture
def model(server: HubServer) -> HubModel:
    return hub_of(server).model(MODEL)


@pytest.fixture
def make_queue(tmp_path: Path, qtbot: QtBot) -> Iterator[Callable[[], Queue]]:
    queues: list[Queue] = []

    def make() -> Queue:
        queues.append(Queue(tmp_path / "models", qtbot))
        return queues[-1]

    yield make
    for queue in queues:
        queue.downloads.close()


@pytest.fixture
def queue(make_queue: Callable[[], Queue]) -> Queue:
    return make_queue()


def slow(server: HubServer, rate: float = 2e6) -> Fault:
    fault = Fault("/blob/", rate=rate, times=1 << 30)
    server.faults.append(fault)
    return fault


def test_a_model_is_fetched_and_appears(queue: Queue, model: HubModel) -> None:
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, FINISHED)
    assert queue.appeared == [key] == [str(queue.folder / "someone--some-model")]
    assert content_of(Path(key)) == CONTENT
    (status,) = queue.downloads.all
    assert status.on_disk == status.total == sum(map(len, CONTENT.values()))
    assert queue.said[0][1].state is WAITING
    queue.downloads.cancel(key)
    assert queue.downloads.all == ()
    assert content_of(Path(key)) == CONTENT


def test_progress_comes_at_most_four_times_a_second_with_speed_and_time_left(
    queue: Queue, server: HubServer, model: HubModel
) -> None:
    slow(server)
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, FINISHED)
    running = [(at, status) for at, status in queue.said if status.state is RUNNING]
    assert len(running) >= 4
    # A timer's clock is good to 5 %; the first report is that it runs.
    assert len(running) <= 2 + (running[-1][0] - running[0][0]) / (0.95 * REPORTED_EVERY / 1000)
    sizes = [status.on_disk for _, status in running]
    assert sizes == sorted(sizes)
    last = running[-1][1]
    assert last.speed > 0
    assert last.seconds_left is not None
    assert last.seconds_left == pytest.approx((last.total - last.on_disk) / last.speed)


def test_pause_and_resume(queue: Queue, server: HubServer, model: HubModel) -> None:
    fault = slow(server)
    key = queue.downloads.add(model, queue.folder)
    queue.until(lambda: any(status.on_disk > 100_000 for _, status in queue.said))
    queue.downloads.pause(key)
    queue.until_state(key, PAUSED)
    assert not Path(key).exists()
    fault.times = 0
    queue.downloads.resume(key)
    queue.until_state(key, FINISHED)
    assert content_of(Path(key)) == CONTENT
    assert server.asked("/blob/")[-1].headers["Range"] is not None


@pytest.mark.parametrize("paused", [False, True])
def test_a_restart_goes_on_with_what_was_not_paused(
    make_queue: Callable[[], Queue], server: HubServer, model: HubModel, paused: bool
) -> None:
    fault = slow(server)
    first = make_queue()
    key = first.downloads.add(model, first.folder)
    first.until(lambda: any(status.on_disk > 100_000 for _, status in first.said))
    if paused:
        first.downloads.pause(key)
        first.until_state(key, PAUSED)
    first.downloads.close()
    fault.times = 0
    second = make_queue()
    second.downloads.take_up([second.folder, second.folder / "missing"])
    if paused:
        second.until_state(key, PAUSED)
        assert second.downloads.all[0].on_disk > 100_000
        second.downloads.resume(key)
    second.until_state(key, FINISHED)
    assert content_of(Path(key)) == CONTENT
    assert server.asked("/blob/")[-1].headers["Range"] is not None


def test_cancel_deletes_what_was_fetched(queue: Queue, server: HubServer, model: HubModel) -> None:
    slow(server)
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, RUNNING)
    queue.downloads.cancel(key)
    queue.until(lambda: queue.removed == [key])
    assert list(queue.folder.iterdir()) == []
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, RUNNING)
    queue.downloads.pause(key)
    queue.until_state(key, PAUSED)
    queue.downloads.cancel(key)
    queue.until(lambda: not list(queue.folder.iterdir()))


def test_a_failure_keeps_what_was_fetched_and_can_be_tried_again(
    make_queue: Callable[[], Queue], server: HubServer, model: HubModel
) -> None:
    queue = make_queue()
    server.faults += [Fault("/blob/", cut_after=1_000_000), Fault("/blob/", status=500, times=100)]
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, FAILED)
    (status,) = queue.downloads.all
    assert status.failure is not None
    assert status.failure.code is FailureCode.HUB_BUSY
    assert status.on_disk > 1_000_000
    queue.downloads.close()
    again = make_queue()
    again.downloads.take_up([again.folder])
    again.until_state(key, FAILED)
    assert again.downloads.all[0].failure == status.failure
    server.faults.clear()
    again.downloads.resume(key)
    again.until_state(key, FINISHED)
    assert content_of(Path(key)) == CONTENT


def test_only_some_run_at_once_and_the_others_follow(queue: Queue, server: HubServer) -> None:
    fault = slow(server, rate=1e5)
    keys = []
    for number in range(AT_ONCE + 2):
        server.add(f"someone/model-{number}", {"config.json": b"{}", "model.safetensors": bytes([number]) * 200_000})
        keys.append(queue.downloads.add(hub_of(server).model(f"someone/model-{number}"), queue.folder))
    queue.until(lambda: len(queue.downloads.all) == len(keys))
    assert [queue.state(key) for key in keys] == [RUNNING] * AT_ONCE + [WAITING] * 2
    queue.downloads.pause(keys[-1])
    assert queue.state(keys[-1]) is PAUSED
    fault.times = 0
    for key in keys[:-1]:
        queue.until_state(key, FINISHED)
    assert queue.state(keys[-1]) is PAUSED


def test_a_repair_mends_the_folder(queue: Queue, model: HubModel) -> None:
    key = queue.downloads.add(model, queue.folder)
    queue.until_state(key, FINISHED)
    (Path(key) / "config.json").write_text("broken")
    queue.downloads.repair(Path(key))
    queue.until(lambda: len(queue.appeared) == 2)
    assert content_of(Path(key)) == CONTENT
    assert not (queue.folder / HOLDING_FOLDER).exists()


def test_what_cannot_be_begun_says_so(queue: Queue, model: HubModel, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    queue.downloads.repair(tmp_path / "mine")
    queue.until(lambda: len(queue.refused) == 1)
    (queue.folder / "someone--some-model").mkdir(parents=True)
    queue.downloads.add(model, queue.folder)
    queue.until(lambda: len(queue.refused) == 2)
    assert [problem.code for problem in queue.refused] == [
        FailureCode.NOT_A_CHECKPOINT,
        FailureCode.DOWNLOAD_TARGET_TAKEN,
    ]
    assert queue.downloads.all == ()


def test_the_same_model_twice_is_one_download(queue: Queue, server: HubServer, model: HubModel) -> None:
    slow(server)
    key = queue.downloads.add(model, queue.folder)
    assert queue.downloads.add(model, queue.folder) == key
    queue.until_state(key, FINISHED)
    assert len(queue.downloads.all) == 1
    assert len(server.asked("/blob/")) == 1


def test_the_pace_follows_the_last_seconds() -> None:
    pace = Pace()
    pace.add(0.0, 0)
    assert pace.speed == 0
    pace.add(1.0, 1000)
    assert pace.speed == pytest.approx(1000)
    for second in range(2, 40):
        pace.add(second, 1000 + (second - 1) * 5000)
    assert pace.speed == pytest.approx(5000, rel=0.01)
    pace.add(40, pace._last[1] if pace._last else 0)
    assert 3000 < pace.speed < 5000
