"""The models page with real folders: what is found is listed, described, loaded, removed and brought back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QMessageBox, QPushButton

from desktop.domain.errors import FailureCode
from desktop.engine.scripted_engine import Script
from desktop.services.engine_status import EngineState
from desktop.storage.paths import demo_checkpoint
from desktop.ui.models.consent_dialog import ConsentDialog
from desktop.ui.models.model_words import facts, parameters
from desktop.ui.models.models_list_model import Role
from desktop.ui.models.models_page import ModelsPage
from tests.ui.conftest import Desk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a whole model, one that brings code, and a broken one."""
    root = tmp_path / "my models"
    shutil.copytree(demo_checkpoint(), root / "good")
    shutil.copytree(demo_checkpoint(), root / "with code")
    config = json.loads((root / "with code" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_mine.Mine"}
    (root / "with code" / "config.json").write_text(json.dumps(config))
    (root / "with code" / "modeling_mine.py").write_text("class Mine: ...\n")
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    (root / "broken" / "model.safetensors").write_bytes(b"nonsense")
    return root


def opened(desk: Desk, folder: Path | None) -> ModelsPage:
    if folder is not None:
        desk.models.shelf.set_folders((str(folder),))
    with desk.bot.waitSignal(desk.models.shelf.scan_finished, timeout=10_000):
        desk.window.show_page("Models")
    page = desk.window._pages.page("Models")
    assert isinstance(page, ModelsPage)
    return page


def titles(page: ModelsPage) -> list[str]:
    model = page._list_model
    return [model.index(row).data(Role.TITLE) for row in range(model.rowCount())]


def choose(desk: Desk, page: ModelsPage, title: str) -> None:
    page._list.setCurrentIndex(page._list_model.index(titles(page).index(title)))
    desk.until(lambda: page._details.entry is not None and page._details.entry.title == title)


def test_what_is_found_is_listed_with_the_broken_ones_last(desk: Desk, folder: Path) -> None:
    page = opened(desk, folder)
    assert titles(page) == ["good", "with code", "broken"]
    assert page._state.text() == "3 models"
    choose(desk, page, "good")
    assert page._details._heading.text() == "good"
    assert page._details._load.isEnabled()
    desk.until(lambda: page._details._card.body is not None and "Turbodesk" in page._details._card.body.text)
    choose(desk, page, "broken")
    assert not page._details._load.isEnabled()
    assert page._details._problem is not None
    assert "config.json" in page._details._problem.failure.message
    page._filter.setText("code")
    assert titles(page) == ["with code"]


def test_nothing_found_says_what_to_do(desk: Desk) -> None:
    page = opened(desk, None)
    assert page._nothing.isVisible()
    assert "add a folder" in page._nothing.text()


def test_a_named_folder_is_kept_in_the_settings(desk: Desk, folder: Path) -> None:
    page = opened(desk, None)
    page._on_folder_named(str(folder))
    assert desk.window.preferences.settings.model_folders == (str(folder),)


def test_enter_loads_and_the_loaded_one_cannot_be_removed(desk: Desk, folder: Path) -> None:
    desk.script = Script()
    page = opened(desk, folder)
    choose(desk, page, "good")
    page._list.setFocus()
    desk.bot.keyClick(page._list, Qt.Key.Key_Return)
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.path == str(folder / "good")
    assert not desk.host.status.config.trust_remote_code
    assert page._details._load.text() == "Loaded"
    assert not page._details._remove.isEnabled()
    page._on_remove_current()
    desk.until(lambda: bool(page.findChildren(QMessageBox)))
    assert (folder / "good").exists()


def test_a_model_with_code_asks_once_and_is_then_trusted(desk: Desk, folder: Path) -> None:
    page = opened(desk, folder)
    choose(desk, page, "with code")
    page._details._load.click()
    desk.until(lambda: bool(page.findChildren(ConsentDialog)))
    dialog = page.findChildren(ConsentDialog)[0]
    assert dialog._text.toPlainText() == "class Mine: ...\n"
    dialog._on_decline_clicked()
    desk.bot.wait(100)
    assert desk.host.status.state is EngineState.UNLOADED
    desk.until(lambda: not page.findChildren(ConsentDialog))
    page._details._load.click()
    desk.until(lambda: bool(page.findChildren(ConsentDialog)))
    page.findChildren(ConsentDialog)[0]._on_allow_clicked()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.config.trust_remote_code
    loading = lambda status: status.state is EngineState.LOADING  # noqa: E731
    with desk.bot.waitSignal(desk.host.status_changed, check_params_cb=loading, timeout=10_000):
        desk.host.reload()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.config.trust_remote_code
    desk.until(lambda: not page.findChildren(ConsentDialog))
    desk.window.load(str(folder / "good"))
    desk.until(lambda: desk.host.status.path == str(folder / "good") and desk.host.is_ready)
    assert not desk.host.status.config.trust_remote_code
    page._models.loader.load(page._list_model.index(titles(page).index("with code")).data(Role.ENTRY))
    desk.until(lambda: desk.host.status.path == str(folder / "with code") and desk.host.is_ready)
    assert not page.findChildren(ConsentDialog)


def test_a_model_whose_code_has_changed_asks_from_any_page_and_a_waiting_message_hears_of_it(
    desk: Desk, folder: Path
) -> None:
    page = opened(desk, folder)
    choose(desk, page, "with code")
    page._details._load.click()
    consent(desk, page)._on_allow_clicked()
    desk.until(lambda: desk.host.is_ready)
    desk.until(lambda: not page.findChildren(ConsentDialog))
    desk.host.unload()
    desk.until(lambda: desk.host.status.state is EngineState.UNLOADED)
    (folder / "with code" / "modeling_mine.py").write_text("import os\n")
    desk.window.show_page("Chat")
    desk.ask("Hello")
    dialog = consent(desk, page)
    assert dialog.isVisible()
    assert dialog._text.toPlainText() == "import os\n"
    assert desk.chats.generating_count == 1
    dialog.reject()  # closing it is no answer
    desk.idle()
    (conversation,) = desk.chats.library.conversations()
    last = desk.chats.messages(conversation.id)[-1]
    assert last.failure is not None
    assert last.failure.code is FailureCode.NOT_TRUSTED_AGAIN
    assert desk.host.status.state is EngineState.UNLOADED


def with_pickle(folder: Path, name: str, **config: object) -> Path:
    """A copy of the demo model whose weights are no safetensors file."""
    model = folder / name
    shutil.copytree(demo_checkpoint(), model, ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "pytorch_model.bin").write_bytes(bytes(2_500_000))
    known = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**known, **config}))
    return model


def consent(desk: Desk, page: ModelsPage) -> ConsentDialog:
    desk.until(lambda: bool(page.findChildren(ConsentDialog)))
    return page.findChildren(ConsentDialog)[0]


def words_of(dialog: ConsentDialog) -> str:
    return " ".join(label.text() for label in dialog.findChildren(QLabel))


def rows_of(dialog: ConsentDialog) -> list[str]:
    return [dialog._files.item(row).text() for row in range(dialog._files.count())]


def test_a_model_of_pickles_says_so_and_asks_once(desk: Desk, folder: Path) -> None:
    model = with_pickle(folder, "of pickles")
    page = opened(desk, folder)
    assert titles(page) == ["good", "of pickles", "with code", "broken"]
    choose(desk, page, "of pickles")
    index = page._list.currentIndex()
    assert not index.data(Role.BROKEN)
    assert index.data(Role.DETAIL).startswith("Pickle weights, loaded only with consent · Qwen3 · about 3.7 M · ")
    assert page._details._problem is None
    shown = dict(facts(page._details.entry))
    assert shown["Parameters"] == "about 3.7 M, estimated from config.json"
    assert "pytorch_model.bin" in shown["Weights"]
    assert "Precision" not in shown
    page._details._load.click()
    dialog = consent(desk, page)
    assert dialog.windowTitle() == "A model with pickle weights"
    assert rows_of(dialog) == ["pytorch_model.bin  (2 MB, pickle)"]
    assert "The weights of of pickles are in 1 pickle file." in words_of(dialog)
    assert "Python code that comes with it" not in words_of(dialog)
    assert "delete them" in dialog._text.toPlainText()
    dialog._on_decline_clicked()
    desk.until(lambda: not page.findChildren(ConsentDialog))
    assert desk.host.status.state is EngineState.UNLOADED
    desk.window.activateWindow()
    page._list.setFocus()
    desk.until(page._list.hasFocus)
    desk.bot.keyClick(page._list, Qt.Key.Key_Return)
    consent(desk, page)._on_allow_clicked()
    desk.until(lambda: desk.host.is_ready)
    assert (desk.host.status.path, desk.host.status.config.trust_remote_code) == (str(model), True)
    desk.until(lambda: not page.findChildren(ConsentDialog))
    loader, entry = page._models.loader, page._details.entry
    assert loads_at_once(desk, page)
    (model / "pytorch_model.bin").write_bytes(bytes(100))
    loader.load(entry)
    assert rows_of(consent(desk, page)) == ["pytorch_model.bin  (100 bytes, pickle)"], (
        "another file, so it is asked for"
    )
    consent(desk, page)._on_allow_clicked()
    desk.until(lambda: not page.findChildren(ConsentDialog))
    assert loads_at_once(desk, page)
    assert page._details._forget.isVisible()
    page._details._forget.click()
    desk.until(lambda: page._state.text() == "of pickles asks again before it is loaded")
    loader.load(entry)
    consent(desk, page)


def loads_at_once(desk: Desk, page: ModelsPage) -> bool:
    """Load the model that is shown again, and see that nothing is asked."""
    loading = lambda status: status.state is EngineState.LOADING  # noqa: E731
    with desk.bot.waitSignal(desk.host.status_changed, check_params_cb=loading, timeout=10_000):
        page._models.loader.load(page._details.entry)
    desk.until(lambda: desk.host.is_ready)
    return not page.findChildren(ConsentDialog)


def test_a_model_of_pickles_and_code_asks_for_both_at_once(desk: Desk, folder: Path) -> None:
    model = with_pickle(folder, "both", auto_map={"AutoModelForCausalLM": "modeling_mine.Mine"})
    (model / "modeling_mine.py").write_text("class Mine: ...\n")
    page = opened(desk, folder)
    choose(desk, page, "both")
    page._details._load.click()
    dialog = consent(desk, page)
    assert dialog.windowTitle() == "A model with its own program and pickle weights"
    assert rows_of(dialog) == ["modeling_mine.py  (16 bytes)", "pytorch_model.bin  (2 MB, pickle)"]
    assert "Python code that comes with it" in words_of(dialog)
    assert "1 pickle file, which can hold" in words_of(dialog)
    assert dialog._text.toPlainText() == "class Mine: ...\n"
    dialog._files.setCurrentRow(1)
    assert "A pickle is not only numbers" in dialog._text.toPlainText()


def test_a_model_that_breaks_between_the_scan_and_its_load_says_so(desk: Desk, folder: Path) -> None:
    model = with_pickle(folder, "of pickles")
    page = opened(desk, folder)
    choose(desk, page, "of pickles")
    shutil.rmtree(model)
    asked: list[str] = []
    desk.host.load = lambda path, trusted=False: asked.append(f"{path} {trusted}")
    page._models.loader.load(page._details.entry)
    desk.until(lambda: bool(asked))
    assert asked == [f"{model} False"], "the engine's worker says what is wrong"
    assert not page.findChildren(ConsentDialog)


def test_a_removed_model_comes_back(desk: Desk, folder: Path) -> None:
    desk.models.remover._to_trash = lambda path: ""
    page = opened(desk, folder)
    choose(desk, page, "good")
    page._details._remove.click()
    desk.until(lambda: bool(page.findChildren(QMessageBox)))
    question = page.findChildren(QMessageBox)[0]
    assert "free" in question.informativeText()
    next(button for button in question.findChildren(QPushButton) if button.text() == "Remove").click()
    desk.until(lambda: not (folder / "good").exists())
    desk.until(lambda: "good" not in titles(page))
    assert page._removal.isVisible()
    page._removal.undo.click()
    desk.until(lambda: "good" in titles(page))
    assert (folder / "good" / "config.json").exists()


def test_a_folder_that_changes_is_seen_by_itself(desk: Desk, folder: Path) -> None:
    desk.models.shelf._poll_seconds = 0.1
    page = opened(desk, folder)
    shutil.rmtree(folder / "broken")
    desk.until(lambda: "broken" not in titles(page))


@pytest.mark.parametrize(
    ("count", "words"), [(8_190_735_360, "8.2 B"), (596_049_920, "596 M"), (3_739_648, "3.7 M"), (12, "12")]
)
def test_parameters_in_words(count: int, words: str) -> None:
    assert parameters(count) == words
