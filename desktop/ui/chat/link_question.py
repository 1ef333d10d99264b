"""Shows where a link leads before anything is opened."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QMessageBox, QWidget

_OPENED = ("http", "https", "mailto")
_SHOWN = 500  # characters of an address


class LinkQuestion(QMessageBox):
    """Offers to open the address, if it is one of the web or of a mailbox, or to copy it."""

    def __init__(self, address: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._address = address
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Link")
        self.setTextFormat(Qt.TextFormat.PlainText)
        opens = QUrl(address).scheme().lower() in _OPENED
        self.setText("Open this link in your browser?" if opens else "Turbodesk does not open links of this kind.")
        self.setInformativeText(address[:_SHOWN])
        if opens:
            self.addButton("Open", QMessageBox.ButtonRole.AcceptRole).clicked.connect(self._on_open)
        self.addButton("Copy", QMessageBox.ButtonRole.ActionRole).clicked.connect(self._on_copy)
        self.addButton(QMessageBox.StandardButton.Cancel)

    @Slot()
    def _on_open(self) -> None:
        QDesktopServices.openUrl(QUrl(self._address))

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._address)
