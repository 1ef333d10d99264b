"""Asks before text is lost that could not be written."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QMessageBox, QWidget


class UnsavedQuestion(QMessageBox):
    """Signals:
    leave_chosen: end the program without the text.
    retry_chosen: try once more to save it.
    """

    leave_chosen = Signal()
    retry_chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Turbodesk")
        self.setIcon(QMessageBox.Icon.Warning)
        self.setText("The last changes to your conversations are not saved yet.")
        self.setInformativeText("They could not be written to the disk and are lost when you leave now.")
        retry = self.addButton("Try to save", QMessageBox.ButtonRole.AcceptRole)
        retry.clicked.connect(self.retry_chosen)
        leave = self.addButton("Leave without saving", QMessageBox.ButtonRole.DestructiveRole)
        leave.clicked.connect(self.leave_chosen)
        self.addButton(QMessageBox.StandardButton.Cancel)
        self.setDefaultButton(retry)
