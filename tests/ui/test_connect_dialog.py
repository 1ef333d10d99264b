"""Connecting to a server by its address, and chatting with its model in the window."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit

from desktop.domain.conversation import ChatSettings
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import Action, FailureCode
from desktop.domain.server_address import server_model
from desktop.engine.scripted_engine import Script
from desktop.services.comparison import Comparison, Side
from desktop.services.engine_status import EngineState
from desktop.ui.memory.memory_page import MemoryPage
from desktop.ui.models.connect_dialog import ConnectDialog
from tests.small_server import Asked, Reply, SmallServer, in_json, models, stream
from tests.storage.test_hub_token import MemoryKeyring
from tests.ui.conftest import DEMO, Desk
from tests.ui.reading import reply, reply_buttons, texts

KEY = "a secret"


class Served:
    """A server that tests change. names: of its models. key: what it wants, "" for none. reply: to every question."""

    def __init__(self) -> None:
        self.names = ["org/model"]
        self.key = ""
        self.reply = stream({"content": "Two"}, {"content": " and more."})
        self.released = threading.Event()
        self.released.set()
        self.server = SmallServer(self._answer)

    @property
    def place(self) -> str:
        return self.server.address.removeprefix("http://").removesuffix("/v1")

    def _answer(self, asked: Asked) -> Reply:
        self.released.wait(20)
        if self.key and asked.key != self.key:
            return in_json({"error": {"message": "Incorrect API key"}}, 401)
        return models(*self.names) if asked.path.endswith("/models") else self.reply


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    with made.server:
        yield made
        made.released.set()


@pytest.fixture
def dialog(desk: Desk, key_ring: MemoryKeyring) -> ConnectDialog:
    desk.window._server.trigger()
    found = desk.window.findChild(ConnectDialog)
    assert found is not None
    desk.bot.waitExposed(found)
    return found


def give(dialog: ConnectDialog, desk: Desk, address: str, key: str = "") -> None:
    """Type both and press Enter."""
    for field, words in ((dialog.address, address), (dialog.key, key)):
        field.setFocus()
        field.selectAll()
        desk.bot.keyClick(field, Qt.Key.Key_Delete)
        desk.bot.keyClicks(field, words)
    desk.bot.keyClick(dialog.key, Qt.Key.Key_Return)


def test_one_click_where_there_is_one_model(desk: Desk, dialog: ConnectDialog, served: Served) -> None:
    assert dialog.address.text() == "http://127.0.0.1:23333", "where LMDeploy's server listens"
    give(dialog, desk, served.place)
    desk.until(lambda: desk.host.is_ready)
    status = desk.host.status
    assert server_model(status.path).name == "org/model"
    header = desk.window._header.model_button.accessibleName()
    assert header == f"Model: org/model, LMDeploy at {served.place}"
    desk.ask("One and one?")
    desk.idle()
    assert texts(desk) == ["One and one?", "Two and more."]
    assert reply(desk)._footer._status.text()
    # The other pages know that nothing of it is here.
    desk.window.show_page("Memory")
    page = desk.window._pages.currentWidget()
    assert isinstance(page, MemoryPage)
    assert f"runs on {served.place}" in page._outlook.text()
    assert page._measured.text() == "Nothing on this machine."
    assert not page._apply.isEnabled()
    assert not desk.models.recorder.runs
    # It comes back as any other model does.
    desk.load(Script(), DEMO)
    desk.window._model_menu.aboutToShow.emit()
    name = f"org/model at {served.place}"
    again = next(action for action in desk.window._model_menu.actions() if action.text() == name)
    again.trigger()
    desk.until(lambda: desk.host.is_ready and server_model(desk.host.status.path) is not None)
    assert desk.window._model_menu.last_server == served.server.address


def test_one_of_several_by_keyboard(desk: Desk, dialog: ConnectDialog, served: Served) -> None:
    served.names = ["a", "b", "c"]
    give(dialog, desk, served.place)
    desk.until(dialog.models.isVisible)
    assert dialog.models.hasFocus()
    assert [dialog.models.item(row).text() for row in range(3)] == ["a  (LMDeploy)", "b  (LMDeploy)", "c  (LMDeploy)"]
    desk.bot.keyClick(dialog.models, Qt.Key.Key_Down)
    desk.bot.keyClick(dialog.models, Qt.Key.Key_Return)
    desk.until(lambda: desk.host.is_ready)
    assert server_model(desk.host.status.path).name == "b"


def test_a_key_is_kept_once_it_is_accepted(
    desk: Desk, dialog: ConnectDialog, served: Served, key_ring: MemoryKeyring
) -> None:
    served.key = KEY
    assert dialog.key.echoMode() is QLineEdit.EchoMode.Password
    give(dialog, desk, served.place, "wrong")
    desk.until(lambda: "does not accept the key" in dialog._said.text())
    assert dialog.key.hasFocus()
    assert key_ring.kept == {}
    give(dialog, desk, served.place, KEY)
    desk.until(lambda: desk.host.is_ready)
    assert key_ring.kept == {("turbodesk", served.server.address): KEY}
    desk.ask("One and one?")
    desk.idle()
    assert texts(desk)[1] == "Two and more."
    assert KEY not in repr(desk.host.status)


def test_a_keyring_that_refuses_is_told_of(
    desk: Desk, dialog: ConnectDialog, served: Served, key_ring: MemoryKeyring
) -> None:
    served.key, key_ring.locked = KEY, True
    with desk.bot.waitSignal(desk.models.servers.key_not_kept) as said:
        give(dialog, desk, served.place, KEY)
    assert said.args[0].code is FailureCode.TOKEN_NOT_KEPT
    assert said.args[0].message.startswith("The key cannot be kept")
    desk.until(lambda: desk.host.is_ready)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://host", "This address cannot be used: an address begins with http:// or https://, not with ftp://."),
        ("two words", "This address cannot be used: two words is no address."),
        ("127.0.0.1:1", "127.0.0.1:1 does not answer: nothing listens there. See that the server runs"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, dialog: ConnectDialog, address: str, words: str) -> None:
    give(dialog, desk, address)
    desk.until(lambda: dialog._said.text().startswith(words))
    assert dialog.address.hasFocus()
    assert dialog.button.isEnabled()
    dialog.address.clear()
    assert not dialog._said.isVisible()
    assert not dialog.button.isEnabled()


def test_a_server_without_models(desk: Desk, dialog: ConnectDialog, served: Served) -> None:
    served.names = []
    give(dialog, desk, served.place)
    desk.until(lambda: "has no model to chat with now" in dialog._said.text())
    assert desk.host.status.state is EngineState.UNLOADED


def test_who_can_read_it_is_said_before(desk: Desk, dialog: ConnectDialog) -> None:
    assert not dialog._warning.isVisible()
    dialog.address.setText("http://10.0.0.7:23333")
    assert "10.0.0.7:23333 without encryption" in dialog._warning.text()
    dialog.address.setText("https://10.0.0.7:23333")
    assert not dialog._warning.isVisible()


def test_an_answer_that_comes_too_late_is_nobodys(desk: Desk, dialog: ConnectDialog, served: Served) -> None:
    served.released.clear()
    give(dialog, desk, served.place)
    assert not dialog.button.isEnabled()
    assert dialog._said.text() == f"Asking {served.place} …"
    dialog.address.setText("127.0.0.1:1")
    assert dialog.button.isEnabled()
    with desk.bot.waitSignal(desk.models.servers.found):
        served.released.set()
    assert desk.host.status.state is EngineState.UNLOADED
    # Nor does one that comes when the dialog is closed.
    served.released.clear()
    give(dialog, desk, served.place)
    dialog.reject()
    with desk.bot.waitSignal(desk.models.servers.found):
        served.released.set()
    assert desk.host.status.state is EngineState.UNLOADED


def test_a_reply_that_the_server_breaks_off_is_kept(desk: Desk, dialog: ConnectDialog, served: Served) -> None:
    served.reply = stream({"content": "Half a"}, end=None, whole=False)
    give(dialog, desk, served.place)
    desk.until(lambda: desk.host.is_ready)
    desk.ask("One and one?")
    desk.idle()
    assert texts(desk)[1] == "Half a"
    failure = reply(desk).message.failure
    assert failure.code is FailureCode.SERVER_UNREACHABLE
    assert failure.action is Action.CONTINUE, "it need not be connected to again"
    served.reply = stream({"content": " reply."})
    reply_buttons(reply(desk)).go_on.click()
    desk.until(lambda: texts(desk)[1] == "Half a reply.")


def test_a_server_that_is_gone_when_it_is_wanted(desk: Desk, served: Served, key_ring: MemoryKeyring) -> None:
    desk.window.load("http://127.0.0.1:1/v1#org/model")
    desk.until(lambda: desk.host.status.state is EngineState.FAILED)
    assert desk.host.status.failure.code is FailureCode.SERVER_UNREACHABLE
    assert desk.window._header.model_button.accessibleName() == "Model: org/model, failed"


def test_what_only_a_model_here_can_do_is_not_pretended(
    desk: Desk, served: Served, key_ring: MemoryKeyring, tmp_path: Path
) -> None:
    desk.load(Script())
    note = tmp_path / "note.txt"
    note.write_text("one two three four " * 10)
    page = desk.window.chat_page
    page.files.add([str(note)])
    desk.until(lambda: len(page.composer.bar.attachments) == 1)
    (chip,) = page.composer.bar._chips.values()
    desk.until(lambda: chip._detail.text().endswith("· 40 tokens"))
    precisions = Side(ChatSettings(), EngineConfig(quant_policy=8)), Side(ChatSettings(), EngineConfig(quant_policy=4))
    comparison = Comparison(desk.chats, desk.host)
    assert comparison.refusal(*precisions) == ""
    desk.window.load(f"{served.server.address}#org/model")
    desk.until(lambda: desk.host.is_ready and server_model(desk.host.status.path) is not None)
    desk.until(lambda: "· about " in chip._detail.text())
    assert "has its own precision" in comparison.refusal(*precisions)
    assert comparison.refusal(Side(ChatSettings()), Side(ChatSettings())) == ""
