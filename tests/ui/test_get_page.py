"""Getting models, with a hub on loopback: search, look, download, pause, trouble, tokens, a restart."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from desktop.domain.engine_config import Backend
from desktop.domain.engine_support import EngineSupport, EngineVerdict
from desktop.domain.errors import FailureCode
from desktop.domain.hub import HubAddress, HubKind
from desktop.domain.memory_reading import HostReading, MemoryReading
from desktop.services.download_status import DownloadState
from desktop.services.downloads import Downloads
from desktop.storage.hub import open_hub
from desktop.storage.paths import demo_checkpoint
from desktop.ui.models.download_row import DownloadRow
from desktop.ui.models.get_page import GetPage
from desktop.ui.models.models_list_model import Role
from desktop.ui.models.models_page import ModelsPage
from tests.hub_answers import Fault
from tests.hub_server import TOKEN, HubServer
from tests.storage.hub_fixtures import IMPATIENT, MODEL, content_of
from tests.storage.test_hub_token import MemoryKeyring
from tests.ui.conftest import Desk

pytestmark = pytest.mark.usefixtures("key_ring")

FOLDER = MODEL.replace("/", "--")


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_folder(MODEL, demo_checkpoint())
        server.models[MODEL].downloads = 12_345
        yield server


@pytest.fixture
def page(desk: Desk, server: HubServer) -> GetPage:
    """The page, a mirror chosen."""
    desk.window._get.trigger()
    page = desk.window._pages.currentWidget()
    assert isinstance(page, GetPage)
    page._hub.setCurrentIndex(page._hub.findData("mirror"))
    page._mirror.setText(server.url)
    page._mirror.editingFinished.emit()
    return page


def search(desk: Desk, page: GetPage, text: str) -> None:
    page.search.setFocus()
    page.search.clear()
    desk.bot.keyClicks(page.search, text)
    desk.bot.keyClick(page.search, Qt.Key.Key_Return)


def look(desk: Desk, page: GetPage) -> None:
    search(desk, page, "some")
    desk.until(lambda: page._list_model.rowCount() > 0)
    page._list.setFocus()
    desk.bot.keyClick(page._list, Qt.Key.Key_Down)
    desk.until(lambda: page._stack.currentWidget() is page.details)


def models_page(desk: Desk) -> ModelsPage:
    desk.window.show_page("Models")
    page = desk.window._pages.page("Models")
    assert isinstance(page, ModelsPage)
    return page


def row(desk: Desk, page: ModelsPage) -> DownloadRow:
    desk.until(lambda: len(page._strip.rows) == 1)
    return page._strip.rows[0]


def until_state(desk: Desk, state: DownloadState) -> None:
    desk.until(lambda: [status.state for status in desk.models.downloads.all] == [state])


def test_it_says_first_what_to_do(page: GetPage) -> None:
    assert page._stack.currentWidget() is page._words
    assert "Search for a model" in page._words.text()
    page._mirror.clear()
    page._mirror.editingFinished.emit()
    assert "Enter the address of the mirror" in page._words.text()


def test_the_hub_is_kept_in_the_settings(desk: Desk, page: GetPage, server: HubServer) -> None:
    settings = desk.window.preferences.settings
    assert (settings.hub, settings.hub_mirror) == ("mirror", server.url)
    desk.window.settings_page._theme.setCurrentIndex(2)
    desk.window.settings_page.flush()
    settings = desk.window.preferences.settings
    assert (settings.theme, settings.hub, settings.hub_mirror) == ("dark", "mirror", server.url)


def test_a_search_lists_what_is_found(desk: Desk, page: GetPage, server: HubServer) -> None:
    for number in range(60):
        server.add(f"somebody/{'long-name-' * 12}{number}", {"config.json": b"{}"}, gated=number == 0)
    server.models[f"somebody/{'long-name-' * 12}0"].downloads = 100
    search(desk, page, "some")
    assert page._state.text().startswith("Searching 127.0.0.1")
    desk.until(lambda: page._list_model.rowCount() > 0)
    assert page._list_model.rowCount() == 50
    first = page._list_model.index(0)
    assert first.data(Role.TITLE) == "some-model"
    assert first.data(Role.DETAIL) == "12 k downloads · 3 likes · someone · apache-2.0"
    assert page._list_model.index(1).data(Role.DETAIL).startswith("gated · 100 downloads")
    assert "50 models" in page._state.text()
    search(desk, page, "nothing like it")
    desk.until(lambda: "has no model" in page._words.text())
    assert page._list_model.rowCount() == 0


def test_a_hub_that_cannot_be_reached_says_so_and_is_asked_again(desk: Desk, page: GetPage, server: HubServer) -> None:
    server.faults.append(Fault("/api/models", status=403))
    search(desk, page, "some")
    desk.until(lambda: page._stack.currentWidget() is page._trouble_place)
    assert page._trouble is not None
    assert page._trouble.failure.code is FailureCode.HUB_ANSWER_BROKEN
    page._trouble.retry.click()
    desk.until(lambda: page._list_model.rowCount() == 1)
    page._mirror.setText("http://127.0.0.1:1")
    page._mirror.editingFinished.emit()
    desk.until(lambda: page._stack.currentWidget() is page._trouble_place)
    assert page._trouble.failure.code is FailureCode.HUB_UNREACHABLE


def test_a_look_says_what_a_model_is_before_anything_is_fetched(desk: Desk, page: GetPage, server: HubServer) -> None:
    host = HostReading(total=32 << 30, used=0, available=32 << 30)
    desk.models.adviser.show_reading(MemoryReading(monotonic_time=0.0, cards=(), host=host))
    look(desk, page)
    shown = {label.accessibleName() for label in page.details.findChildren(type(page._words))}
    for words in ("Family: Qwen3", "Precision: 16-bit", "Licence: apache-2.0", "Chat template: yes"):
        assert words in shown
    assert any(words.startswith("Download: 7 MB; ") and "free on the disk" in words for words in shown)
    assert any(words.startswith("Memory: Fits: ") and "Forecast for this machine's memory" in words for words in shown)
    assert page.details._card.body is not None
    assert not desk.models.own_folder.exists()
    desk.until(lambda: page._support is not None)
    verdicts = EngineVerdict(backend=Backend.CPU, runs=True, reason="The CPU engine runs it, slowly.")
    assert page.details.model is not None
    desk.models.browser.judged.emit(page.details.model, EngineSupport(lmdeploy="1", verdicts=(verdicts,)))
    shown = {label.accessibleName() for label in page.details.findChildren(type(page._words))}
    assert "CPU: The CPU engine runs it, slowly." in shown


def test_pickles_are_named_before_they_are_fetched(desk: Desk, page: GetPage, server: HubServer) -> None:
    files = {file.name: file.read_bytes() for file in demo_checkpoint().iterdir() if file.suffix != ".safetensors"}
    server.add(MODEL, {**files, "pytorch_model.bin": bytes(2_500_000)})
    host = HostReading(total=32 << 30, used=0, available=32 << 30)
    desk.models.adviser.show_reading(MemoryReading(monotonic_time=0.0, cards=(), host=host))
    look(desk, page)
    shown = {label.accessibleName() for label in page.details.findChildren(type(page._words))}
    assert any(words.startswith("Weights: pickles, which can run programs") for words in shown)
    assert any("pytorch_model.bin" in words for words in shown)
    assert "Parameters: about 3.7 M, estimated from config.json" in shown
    assert any(words.startswith("Memory: Fits: ") and "Estimate from config.json" in words for words in shown)
    assert page.details.trouble is None
    assert page.details.download.isEnabled()


def test_a_model_is_downloaded_to_its_end_and_shown(desk: Desk, page: GetPage) -> None:
    look(desk, page)
    desk.bot.keyClick(page._list, Qt.Key.Key_Return)
    assert page.details.download.hasFocus()
    desk.bot.keyClick(page.details.download, Qt.Key.Key_Space)
    until_state(desk, DownloadState.FINISHED)
    folder = desk.models.own_folder / FOLDER
    assert content_of(folder) == content_of(demo_checkpoint())
    desk.until(lambda: page.details.download.text() == "Show it in Models")
    page.details.download.click()
    models = desk.window._pages.currentWidget()
    assert isinstance(models, ModelsPage)
    desk.until(lambda: models._details.entry is not None and models._details.entry.path == str(folder))
    assert ("Found in", "Downloaded here") in [
        (
            models._details._facts.itemAt(n, models._details._facts.ItemRole.LabelRole).widget().text(),
            models._details._facts.itemAt(n, models._details._facts.ItemRole.FieldRole).widget().text(),
        )
        for n in range(models._details._facts.rowCount())
    ]
    finished = row(desk, models)
    assert finished._words.text() == "finished · 7 MB"
    finished._end.click()
    assert not models._strip.isVisible()
    assert (folder / "config.json").exists()


def test_a_download_is_paused_goes_on_and_is_taken_back(desk: Desk, page: GetPage, server: HubServer) -> None:
    fault = Fault("/blob/", rate=1e6, times=1 << 30)
    look(desk, page)
    server.faults.append(fault)
    page.details.download.click()
    desk.until(lambda: page.details.download.text().startswith("Downloading"))
    assert not page.details.download.isEnabled()
    desk.bot.keyClick(page, Qt.Key.Key_Escape)
    models = desk.window._pages.currentWidget()
    assert isinstance(models, ModelsPage)
    running = row(desk, models)
    desk.until(lambda: "left" in running._words.text() and "/s" in running._words.text())
    assert models._strip.isVisible()
    running._go_on.click()
    until_state(desk, DownloadState.PAUSED)
    assert running._words.text().startswith("paused · ")
    assert running._go_on.accessibleName() == f"Go on with {MODEL}"
    running._go_on.click()
    until_state(desk, DownloadState.RUNNING)
    running._end.click()
    desk.until(lambda: not models._strip.isVisible())
    assert desk.models.downloads.all == ()
    desk.until(lambda: not list(desk.models.own_folder.iterdir()))


def test_a_failed_download_says_why_and_is_tried_again(desk: Desk, page: GetPage, server: HubServer) -> None:
    look(desk, page)
    server.faults.append(Fault("/blob/", status=500, times=100))
    page.details.download.click()
    models = models_page(desk)
    until_state(desk, DownloadState.FAILED)
    failed = row(desk, models)
    assert "is busy" in failed._words.text()
    assert "what was fetched is kept" in failed._words.text()
    server.faults.clear()
    failed._go_on.click()
    until_state(desk, DownloadState.FINISHED)


def test_a_gated_model_asks_for_a_token_and_keeps_it(
    desk: Desk, page: GetPage, server: HubServer, key_ring: MemoryKeyring
) -> None:
    server.models[MODEL].gated = True
    look(desk, page)
    trouble = page.details.trouble
    assert trouble is not None
    assert trouble.failure.code is FailureCode.MODEL_GATED
    assert not page.details.download.isEnabled()
    opened: list[str] = []
    page.link_activated.disconnect()
    page.link_activated.connect(opened.append)
    next(button for button in trouble.findChildren(QPushButton) if button.text() == "Open its page").click()
    assert opened == [f"{server.url}/{MODEL}"]
    assert trouble.token is not None
    trouble.token.setFocus()
    desk.bot.keyClicks(trouble.token, TOKEN)
    desk.bot.keyClick(trouble.token, Qt.Key.Key_Return)
    desk.until(lambda: page.details.download.isEnabled())
    assert page.details.trouble is None
    assert list(key_ring.kept.values()) == [TOKEN]
    page.details.download.click()
    until_state(desk, DownloadState.FINISHED)


def test_a_keyring_that_refuses_says_that_the_token_will_be_forgotten(
    desk: Desk, page: GetPage, server: HubServer, key_ring: MemoryKeyring
) -> None:
    key_ring.locked = True
    server.models[MODEL].gated = True
    look(desk, page)
    assert page.details.trouble is not None
    assert page.details.trouble.token is not None
    page.details.trouble.token.setText(TOKEN)
    with desk.bot.waitSignal(desk.models.browser.token_forgotten, timeout=10_000) as said:
        page.details.trouble._use.click()
    assert said.args is not None
    assert said.args[0].code is FailureCode.TOKEN_NOT_KEPT
    desk.until(lambda: page.details.download.isEnabled())


def test_a_download_that_needs_a_token_leads_to_its_field(desk: Desk, page: GetPage, server: HubServer) -> None:
    look(desk, page)
    server.models[MODEL].gated = True
    page.details.download.click()
    models = models_page(desk)
    until_state(desk, DownloadState.FAILED)
    row(desk, models)._go_on.click()
    assert desk.window._pages.currentWidget() is page
    desk.until(lambda: page.details.trouble is not None)


def test_what_an_earlier_run_left_is_taken_up(desk: Desk, server: HubServer) -> None:
    folder = desk.models.own_folder
    address = HubAddress(HubKind.HUGGING_FACE, server.url)
    server.faults.append(Fault("/blob/", rate=1e6, times=1 << 30))
    earlier = Downloads(partial(open_hub, patience=IMPATIENT), reserve=0)
    earlier.add(open_hub(address, patience=IMPATIENT).model(MODEL), folder)
    desk.until(lambda: any(status.on_disk > 100_000 for status in earlier.all))
    earlier.close()
    server.faults.clear()
    page = models_page(desk)
    desk.models.downloads.take_up([folder])
    until_state(desk, DownloadState.FINISHED)
    desk.until(lambda: str(folder / FOLDER) in desk.models.shelf.entries)
    assert row(desk, page).status.key == str(folder / FOLDER)


def test_a_broken_file_of_a_downloaded_model_is_mended(desk: Desk, page: GetPage) -> None:
    look(desk, page)
    page.details.download.click()
    until_state(desk, DownloadState.FINISHED)
    folder = desk.models.own_folder / FOLDER
    (folder / "README.md").write_text("broken")
    models = models_page(desk)
    row(desk, models)._go_on.click()
    desk.until(lambda: models._details._repair.isVisible())
    models._details._repair.click()
    desk.until(lambda: row(desk, models)._words.text() == "checked: every file is whole")
    assert content_of(folder) == content_of(demo_checkpoint())


def test_another_folder_for_downloads(desk: Desk, page: GetPage, tmp_path: Path) -> None:
    look(desk, page)
    page._on_folder_named(str(tmp_path / "elsewhere"))
    desk.until(lambda: page._stack.currentWidget() is page.details)
    page.details.download.click()
    until_state(desk, DownloadState.FINISHED)
    assert (tmp_path / "elsewhere" / FOLDER / "config.json").exists()
    assert desk.window.preferences.settings.download_folder == str(tmp_path / "elsewhere")


def test_a_model_that_a_search_does_not_show_is_looked_at_by_its_whole_name(
    desk: Desk, page: GetPage, server: HubServer
) -> None:
    search(desk, page, "someone/hidden")
    desk.until(lambda: page._stack.currentWidget() is page._trouble_place)
    assert page._trouble is not None
    assert page._trouble.failure.code is FailureCode.MODEL_NOT_ON_HUB
    assert page._trouble.token is not None


def test_modelscope(desk: Desk, page: GetPage, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    address = HubAddress(HubKind.MODELSCOPE, server.url)
    monkeypatch.setattr("desktop.ui.models.get_page.MODELSCOPE", address)
    page._hub.setCurrentIndex(page._hub.findData("modelscope"))
    assert not page._mirror.isVisible()
    look(desk, page)
    page.details.download.click()
    until_state(desk, DownloadState.FINISHED)
    assert (desk.models.own_folder / FOLDER / "config.json").exists()


def test_a_card_is_shown_to_its_end_at_any_width(desk: Desk, page: GetPage, server: HubServer) -> None:
    card = "# Title\n\nText.\n\n| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 10
    files: dict[str, bytes | Path] = {path.name: path for path in demo_checkpoint().iterdir()}
    server.add(MODEL, {**files, "README.md": card.encode()})
    look(desk, page)
    body = page.details._card.body
    assert body is not None
    for width in (1280, 760, 1000):
        desk.window.resize(width, 800)
        desk.until(lambda: body.height() == body.sizeHint().height() and body.parentWidget() is page.details._card)
        desk.bot.wait(50)
        assert body.height() == body.sizeHint().height()
