"""Searching hubs and looking at models, while the window goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.hub import HubAddress, HubHit, HubKind, HubModel
from desktop.engine.support_asker import SupportAsker
from desktop.services.hub_browser import HubBrowser
from desktop.storage.hub import open_hub
from desktop.storage.hub_preview import Preview
from desktop.storage.paths import demo_checkpoint
from tests.hub_answers import Fault
from tests.hub_server import HubServer
from tests.storage.hub_fixtures import IMPATIENT, MODEL

NOT_ASKED = SupportAsker("none", [sys.executable, "-c", "pass"])


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_folder(MODEL, demo_checkpoint())
        yield server


@pytest.fixture
def browser() -> Iterator[HubBrowser]:
    browser = HubBrowser(lambda address: open_hub(address, patience=IMPATIENT), lambda address, token: None, NOT_ASKED)
    yield browser
    browser.close()


def test_the_last_search_counts(server: HubServer, browser: HubBrowser, qtbot: QtBot) -> None:
    found: list[tuple[str, list[HubHit]]] = []
    browser.found.connect(lambda text, hits: found.append((text, hits)))
    address = HubAddress(HubKind.HUGGING_FACE, server.url)
    for text in ("no", "not", "some"):
        browser.search(address, text)
    qtbot.waitUntil(lambda: bool(found) and found[-1][0] == "some", timeout=10_000)
    assert [hit.model_id for hit in found[-1][1]] == [MODEL]
    browser.search(address, "nothing")
    qtbot.waitUntil(lambda: found[-1] == ("nothing", []), timeout=10_000)


@pytest.mark.parametrize("kind", HubKind)
def test_a_look_says_what_a_model_is(server: HubServer, browser: HubBrowser, qtbot: QtBot, kind: HubKind) -> None:
    looked: list[tuple[HubModel, Preview]] = []
    browser.looked.connect(lambda model, preview: looked.append((model, preview)))
    browser.look(HubAddress(kind, server.url), MODEL)
    qtbot.waitUntil(lambda: bool(looked), timeout=10_000)
    model, preview = looked[0]
    assert model.model_id == MODEL
    assert preview.checkpoint is not None
    assert preview.checkpoint.parameters > 1_000_000


def test_failures_are_sentences(server: HubServer, browser: HubBrowser, qtbot: QtBot) -> None:
    failed: list[Failure] = []
    browser.look_failed.connect(failed.append)
    browser.search_failed.connect(failed.append)
    address = HubAddress(HubKind.HUGGING_FACE, server.url)
    browser.look(address, "someone/missing")
    qtbot.waitUntil(lambda: len(failed) == 1, timeout=10_000)
    server.faults.append(Fault("/api/models", status=403))
    browser.search(address, "model")
    qtbot.waitUntil(lambda: len(failed) == 2, timeout=10_000)
    assert [problem.code for problem in failed] == [FailureCode.MODEL_NOT_ON_HUB, FailureCode.HUB_ANSWER_BROKEN]


def test_another_look_ends_the_one_before(server: HubServer, browser: HubBrowser, qtbot: QtBot) -> None:
    looked: list[str] = []
    browser.looked.connect(lambda model, preview: looked.append(model.model_id))
    server.add("someone/slow", {"config.json": b"{}", "model.safetensors": bytes(100_000)})
    server.faults.append(Fault("/blob/", rate=100, times=100))
    address = HubAddress(HubKind.HUGGING_FACE, server.url)
    browser.look(address, "someone/slow")
    qtbot.waitUntil(lambda: bool(server.asked("/blob/")), timeout=10_000)
    server.faults.clear()
    browser.look(address, MODEL)
    qtbot.waitUntil(lambda: bool(looked), timeout=10_000)
    assert looked == [MODEL]
