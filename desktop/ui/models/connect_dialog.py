"""Asks for the address of a server, shows what models it has, and connects to one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.domain.errors import Failure, FailureCode
from desktop.domain.server_address import is_readable_on_the_way, place_of, read_address
from desktop.engine.server_models import ServedModel
from desktop.services.servers import Servers
from desktop.ui.controls import plain_label, say, set_tone
from desktop.ui.theme import SPACE, TYPE

_SIZE = (520, 320)
_USUAL = "http://127.0.0.1:23333"  # where lmdeploy serve api_server listens
_ROLE = Qt.ItemDataRole.UserRole


class ConnectDialog(QDialog):
    """One button: it asks the server, connects where it has one model, and otherwise lets the user choose.

    Signals:
        load_requested: the path of a ServerModel.
    """

    load_requested = Signal(str)

    def __init__(self, servers: Servers, address: str = "", parent: QWidget | None = None) -> None:
        """address: the server that was connected to last, "" for none."""
        super().__init__(parent)
        self._servers = servers
        self._asked = ""  # the address that an answer is awaited from
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Connect to a server")
        self.resize(*_SIZE)
        self._build(address)
        servers.found.connect(self._on_found)
        servers.failed.connect(self._on_failed)
        self._on_edited()

    def _build(self, address: str) -> None:
        self.address = QLineEdit(address or _USUAL, self)
        self.address.setPlaceholderText("host:port")
        self.address.setAccessibleName("Address of the server")
        self.address.textChanged.connect(self._on_edited)
        self.key = QLineEdit(self)
        self.key.setEchoMode(QLineEdit.EchoMode.Password)
        self.key.setPlaceholderText("Only if the server wants one")
        self.key.setAccessibleName("Key of the server")
        self.key.setToolTip("Kept in the system's keyring, and sent to this server only")
        self.key.textChanged.connect(self._on_edited)
        form = QFormLayout()
        form.setHorizontalSpacing(SPACE[2])
        form.setVerticalSpacing(SPACE[1])
        form.addRow("Address", self.address)
        form.addRow("Key", self.key)
        self.models = QListWidget(self)
        self.models.setAccessibleName("Models of the server")
        self.models.itemActivated.connect(self._on_item_activated)
        self.models.hide()
        self._said = plain_label(self)
        self._warning = plain_label(self, size=TYPE.small, dim=True)
        cancel = QPushButton("Cancel", self)
        cancel.setAutoDefault(False)
        cancel.clicked.connect(self.reject)
        self.button = QPushButton("Connect", self)
        self.button.setProperty("primary", True)
        self.button.setDefault(True)
        self.button.clicked.connect(self._on_clicked)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setSpacing(SPACE[2])
        column.addWidget(
            plain_label(
                self,
                "Chat with a model that LMDeploy, vLLM, llama.cpp or another server with OpenAI's interface runs, on "
                "this machine or another.",
            )
        )
        column.addLayout(form)
        column.addWidget(self._warning)
        column.addWidget(self._said)
        column.addWidget(self.models, 1)
        column.addStretch(0)
        column.addLayout(buttons)

    @Slot()
    def _on_edited(self) -> None:
        """What was found or refused was of another address or key."""
        self._asked = ""
        self.models.clear()
        self.models.hide()
        self._say("")
        words = ""
        try:
            address = read_address(self.address.text())
        except ValueError:
            pass  # it is being typed; said when it is used
        else:
            if is_readable_on_the_way(address):
                words = (
                    f"What you write goes to {place_of(address)} without encryption, and so does the key. Where that "
                    "matters use https://, or a tunnel: ssh -NL 23333:127.0.0.1:23333 user@host, and connect to "
                    "127.0.0.1:23333."
                )
        say(self._warning, words)
        self.button.setEnabled(bool(self.address.text().strip()))
        self.button.setText("Connect")

    @Slot()
    def _on_clicked(self) -> None:
        if self.models.currentItem() is not None:
            self._connect_to(self.models.currentItem())
            return
        try:
            address = read_address(self.address.text())
        except ValueError as problem:
            self._say(f"This address cannot be used: {problem}.", wrong=True)
            self.address.setFocus()
            return
        self._asked = address
        self.button.setEnabled(False)
        self._say(f"Asking {place_of(address)} …")
        self._servers.find(address, self.key.text().strip())

    @Slot(str, object)
    def _on_found(self, address: str, models: tuple[ServedModel, ...]) -> None:
        if address != self._asked:
            return
        self._asked = ""
        self.button.setEnabled(True)
        for served in models:
            words = f"{served.model.name}  ({served.program})" if served.program else served.model.name
            item = QListWidgetItem(words, self.models)
            item.setData(_ROLE, served.model.path)
            item.setToolTip(words)
        if not models:
            self._say(f"{place_of(address)} answers, but has no model to chat with now.", wrong=True)
        elif len(models) == 1:
            self._connect_to(self.models.item(0))
        else:
            self._say("Which of its models?")
            self.models.show()
            self.models.setCurrentRow(0)
            self.models.setFocus()

    @Slot(str, object)
    def _on_failed(self, address: str, problem: Failure) -> None:
        if address != self._asked:
            return
        self._asked = ""
        self.button.setEnabled(True)
        self._say(f"{problem.message} {problem.next_step}", wrong=True)
        (self.key if problem.code is FailureCode.SERVER_REFUSED_KEY else self.address).setFocus()

    @Slot(QListWidgetItem)
    def _on_item_activated(self, item: QListWidgetItem) -> None:
        self._connect_to(item)

    def _connect_to(self, item: QListWidgetItem) -> None:
        self.load_requested.emit(item.data(_ROLE))
        self.accept()

    def _say(self, words: str, *, wrong: bool = False) -> None:
        set_tone(self._said, "danger" if wrong else "text")
        say(self._said, words)
        self._said.setAccessibleName(words)
