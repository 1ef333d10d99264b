"""Loading with settings: what it says of cards and models, what it offers, and what it loads in the end."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import Qt

from desktop.domain.capacity import Preset
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.errors import FailureCode, failure
from desktop.domain.memory import forecast
from desktop.domain.memory_shape import MemoryShape
from desktop.engine.scripted_engine import Script
from desktop.services.engine_status import EngineState
from desktop.storage.paths import demo_checkpoint
from desktop.ui.memory.forecast_bar import forecast_segments
from desktop.ui.memory.load_dialog import LoadDialog
from desktop.ui.models.consent_dialog import ConsentDialog
from desktop.ui.models.models_page import ModelsPage
from desktop.ui.settings_page import SettingsPage
from tests.domain.memory_models import GIB, card, llama_shape
from tests.services.readings import reading
from tests.ui.conftest import Desk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my models"
    shutil.copytree(demo_checkpoint(), root / "model")
    return root


def opened(desk: Desk, folder: Path) -> LoadDialog:
    """The dialog for the one model there is, by the keyboard."""
    desk.models.shelf.set_folders((str(folder),))
    with desk.bot.waitSignal(desk.models.shelf.scan_finished, timeout=10_000):
        desk.window.show_page("Models")
    page = desk.window._pages.page("Models")
    assert isinstance(page, ModelsPage)
    assert page._details._settings.isEnabled()
    with desk.bot.waitSignal(desk.models.adviser.shape_read, timeout=10_000):
        desk.bot.keyClick(page._list, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    (dialog,) = desk.window.findChildren(LoadDialog)
    return dialog


def as_llama(desk: Desk, dialog: LoadDialog, shape: MemoryShape | None = None) -> None:
    """Let the model be a larger one than a test can have on its disk."""
    desk.models.adviser.shape_read.emit(dialog._entry.path, shape or llama_shape())


def labels(dialog: LoadDialog) -> dict[str, int]:
    return {part.label: part.bytes for part in dialog._bar.parts}


def test_the_bar_follows_the_knobs(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    assert dialog._outlook.text() == "The memory is being read …"
    assert not dialog._presets[Preset.BALANCED].isEnabled()
    desk.models.adviser.show_reading(reading(cards=1))
    as_llama(desk, dialog)
    assert dialog._source.text().startswith("Forecast for RTX 4090, 24.0 GB: ")
    assert dialog._source.toolTip()
    dialog._form._ratio.setValue(0.5)
    before = labels(dialog)
    assert before["other programs"] == 2 * GIB
    assert before["free"] > 0
    assert sum(before.values()) == 24 * GIB
    desk.bot.keyClick(dialog._form._slider, Qt.Key.Key_Right)
    assert dialog.config.cache_max_entry_count == 0.501
    assert labels(dialog)["KV cache"] > before["KV cache"]
    tokens = dialog._holds.text()
    dialog._form._bits.setCurrentIndex(2)
    assert dialog.config.quant_policy == 4
    assert labels(dialog)["KV cache"] > before["KV cache"]
    assert dialog._holds.text() != tokens
    assert "KV cache" in dialog._bar.accessibleDescription()
    assert dialog._use.isHidden()


@pytest.mark.parametrize("residual", [-900 << 20, -10 << 20, 0, 300 << 20])
def test_the_parts_add_up_whatever_was_learned(residual: int) -> None:
    found = forecast(llama_shape(), EngineConfig(cache_max_entry_count=0.3), [card(24, 2)], residual)
    parts = forecast_segments(found)
    assert sum(part.bytes for part in parts) == 24 * GIB
    assert all(part.bytes > 0 for part in parts)


def test_what_does_not_fit_is_offered_the_nearest_that_does(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=1))
    as_llama(desk, dialog)
    dialog._form._ratio.setValue(0.98)
    assert "does not fit" in labels(dialog)
    assert dialog._outlook.text().startswith(("Needs ", "Loads, but "))
    assert dialog._advice.text().startswith("This fits: a cache ratio of ")
    assert dialog._load.isEnabled()  # nothing is refused
    dialog._use.click()
    assert "does not fit" not in labels(dialog)
    assert dialog._outlook.text().startswith("Fits")
    assert dialog._advice.isHidden()
    assert dialog.config.cache_max_entry_count < 0.98
    assert dialog.config.backend is Backend.AUTO


def test_a_card_on_which_nothing_fits(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=1, total=12))
    as_llama(desk, dialog)
    assert "which have to be made first" in dialog._advice.text()
    assert dialog._use.isHidden()
    desk.models.adviser.show_reading(reading(cards=1, total=4))
    assert dialog._advice.text().startswith("No setting fits: it takes a card of ")
    dialog._presets[Preset.SMALLEST].click()
    assert dialog._advice.text().startswith("No setting fits: ")
    assert dialog._use.isHidden()
    assert dialog._load.isEnabled()


@pytest.mark.parametrize("kind", list(Preset))
def test_presets_fit(desk: Desk, folder: Path, kind: Preset) -> None:
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=1))
    as_llama(desk, dialog)
    dialog._form._ratio.setValue(0.99)
    dialog._presets[kind].click()
    assert dialog._outlook.text().startswith("Fits")
    assert (dialog.config.max_batch_size == 1) == (kind in (Preset.LONGEST_CONTEXT, Preset.SMALLEST))


def test_without_a_card_it_is_the_machines_memory(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=0))
    assert dialog._source.text().startswith("Forecast for this machine's memory, 64.0 GB: ")
    assert labels(dialog)["other programs"] == 5 * GIB
    assert "KV cache, at most" in labels(dialog)
    assert not dialog._form._bits.isEnabled()
    assert not dialog._form._prefixes.isEnabled()
    dialog._form._backend.setCurrentIndex(dialog._form._backend.findData(Backend.TURBOMIND))
    assert dialog._outlook.text().startswith("This backend cannot run here")
    assert dialog._bar.parts == ()
    assert not dialog._presets[Preset.BALANCED].isEnabled()
    assert dialog._load.isEnabled()


def test_a_model_that_cannot_be_read_says_so(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=0))
    problem = failure(FailureCode.CONFIG_BROKEN, file="config.json", reason="it is empty")
    desk.models.adviser.shape_failed.emit("/another/model", problem)
    assert dialog._bar.parts
    desk.models.adviser.shape_failed.emit(dialog._entry.path, problem)
    assert dialog._outlook.text().startswith("There is no forecast. ")
    assert "config.json" in dialog._outlook.text()
    assert dialog._bar.parts == ()


def test_of_pickles_it_says_that_it_is_estimated_and_asks_before_it_loads(desk: Desk, folder: Path) -> None:
    desk.script = Script()
    (folder / "model" / "model.safetensors").rename(folder / "model" / "pytorch_model.bin")
    dialog = opened(desk, folder)
    desk.models.adviser.show_reading(reading(cards=1))
    assert "GB: estimated, because the sizes of the weights are taken from config.json" in dialog._source.text()
    assert dialog._outlook.text().startswith("Fits")
    dialog._form._session.setValue(1024)
    dialog._load.click()
    desk.until(lambda: bool(desk.window.findChildren(ConsentDialog)))
    desk.window.findChildren(ConsentDialog)[0]._on_allow_clicked()
    desk.until(lambda: desk.host.is_ready)
    config = desk.host.status.config
    assert (config.session_len, config.trust_remote_code) == (1024, True)


def test_load_keeps_the_settings_and_loads_with_them(desk: Desk, folder: Path) -> None:
    desk.script = Script()
    page = desk.window.settings_page  # knows what is chosen elsewhere
    assert isinstance(page, SettingsPage)
    dialog = opened(desk, folder)
    dialog._form._ratio.setValue(0.437)
    dialog._form._session.setValue(4096)
    dialog._form._prefill.setValue(2048)
    desk.bot.keyClick(dialog, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    desk.until(lambda: desk.host.is_ready)
    wanted = EngineConfig(cache_max_entry_count=0.437, session_len=4096, max_prefill_token_num=2048)
    assert desk.host.status.config == wanted
    assert desk.host.status.path == str(folder / "model")
    assert desk.window.preferences.settings.engine == wanted
    page._batch.setValue(4)
    page.flush()
    assert desk.window.preferences.settings.engine == msgspec.structs.replace(wanted, max_batch_size=4)


def test_cancel_changes_nothing(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    dialog._form._ratio.setValue(0.1)
    desk.bot.keyClick(dialog, Qt.Key.Key_Escape)
    desk.until(lambda: not desk.window.findChildren(LoadDialog))
    assert desk.window.preferences.settings.engine == EngineConfig()
    assert desk.host.status.state is EngineState.UNLOADED
    desk.models.adviser.show_reading(reading(cards=1))  # nobody is left to show it
    desk.bot.wait(10)


def cards_of(desk: Desk, *uuids: str) -> None:
    """What the driver lists, each with another name and size."""
    found = reading(cards=len(uuids))
    cards = tuple(
        msgspec.structs.replace(
            one, uuid=uuid, name=f"NVIDIA A100 MIG {one.index + 1}g", total_bytes=(40 + one.index) * GIB
        )
        for one, uuid in zip(found.cards, uuids, strict=True)
    )
    desk.models.adviser.show_reading(msgspec.structs.replace(found, cards=cards))


def test_an_instance_can_be_chosen_by_the_name_that_the_gauge_shows(desk: Desk, folder: Path) -> None:
    dialog = opened(desk, folder)
    box = dialog._form._cards
    desk.models.adviser.show_reading(reading(cards=1))
    assert not box.isVisible(), "with one card there is nothing to choose"
    cards_of(desk, "MIG-a", "MIG-b")
    as_llama(desk, dialog)
    assert [box.itemText(row) for row in range(box.count())] == [
        "Choose by itself",
        "0 A100 MIG 1g, 40.0 GB",
        "1 A100 MIG 2g, 41.0 GB",
    ]
    assert box.isVisible()
    assert sum(labels(dialog).values()) == 40 * GIB
    box.setFocus()
    desk.bot.keyClick(box, Qt.Key.Key_End)
    assert dialog.config.devices == (1,)
    assert sum(labels(dialog).values()) == 41 * GIB
    assert dialog._source.text().startswith("Forecast for A100 MIG 2g, 41.0 GB: ")
    dialog._presets[Preset.BALANCED].click()
    assert (dialog.config.devices, dialog.config.tp) == ((1,), 1), "what is planned is planned for this one alone"
    dialog._load.click()
    desk.until(lambda: desk.host.is_ready)
    assert desk.host.status.config.card_uuids == ("MIG-b",)
    assert desk.window.preferences.settings.engine.devices == (1,)
    assert desk.window.preferences.settings.engine.card_uuids == ()


def test_a_card_that_is_gone_is_said_and_refused(desk: Desk, folder: Path) -> None:
    desk.window.preferences.set_engine(EngineConfig(devices=(1,)))
    dialog = opened(desk, folder)
    cards_of(desk, "GPU-a")
    as_llama(desk, dialog)
    assert dialog._form._cards.currentText() == "1, which is not there"
    assert "not there" in dialog._outlook.text()
    dialog._load.click()
    desk.until(lambda: desk.host.status.state is EngineState.FAILED)
    assert "a card that was chosen is not there" in desk.host.status.failure.message
