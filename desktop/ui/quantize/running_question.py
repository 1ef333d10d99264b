"""Asks what becomes of a running job when the window is closed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget


class RunningQuestion(QMessageBox):
    """Signals:
    leave_chosen: whether the job goes on without the window; nothing where the user stays.
    """

    leave_chosen = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("A job is running")
        self.setText("A job is running.")
        self.setInformativeText(
            "A quantization can go on without the window; its result is there when you come back. "
            "A comparison ends with the window."
        )
        self._go_on = self.addButton("Let it go on", QMessageBox.ButtonRole.AcceptRole)
        self._stop = self.addButton("Stop it", QMessageBox.ButtonRole.DestructiveRole)
        stay = self.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        self.setDefaultButton(self._go_on)
        self.setEscapeButton(stay)
        self.buttonClicked.connect(self._on_button_clicked)

    @Slot(object)
    def _on_button_clicked(self, button: object) -> None:
        if button in (self._go_on, self._stop):
            self.leave_chosen.emit(button is self._go_on)
