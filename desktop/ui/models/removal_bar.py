"""Takes a model off the disk after a question, and offers to put it back."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMessageBox, QPushButton, QWidget

from desktop.domain.errors import Failure
from desktop.services.checkpoint_remover import CheckpointRemover
from desktop.storage.checkpoint_removal import RemovalPlan, Removed
from desktop.ui.controls import plain_label
from desktop.ui.format import format_bytes
from desktop.ui.theme import SPACE


class RemovalBar(QFrame):
    """Shown while what was removed last can be put back.

    Signals:
        removed: a model is gone. restored: the path of one that is there again.
    """

    removed = Signal()
    restored = Signal(str)

    def __init__(self, remover: CheckpointRemover, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("UndoBar")
        self._remover = remover
        self._removed: Removed | None = None
        self._words = plain_label(self)
        self.undo = QPushButton("Undo", self)
        self.undo.setAccessibleName("Put the model back")
        self.undo.clicked.connect(self._on_undo_clicked)
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE[1], SPACE[0], SPACE[0], SPACE[0])
        row.addWidget(self._words, 1)
        row.addWidget(self.undo)
        self.hide()
        remover.planned.connect(self._on_planned)
        remover.removed.connect(self._on_removed)
        remover.restored.connect(self.restored)
        remover.refused.connect(self._on_refused)

    @Slot(object)
    def _on_planned(self, plan: RemovalPlan) -> None:
        question = QMessageBox(self)
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.setWindowTitle("Remove the model")
        question.setTextFormat(Qt.TextFormat.PlainText)
        question.setText(f"Remove {Path(plan.path).name}?")
        words = f"{format_bytes(plan.frees)} come free once the trash is emptied."
        if plan.shared:
            words += f" {format_bytes(plan.shared)} stay, because another model has them too."
        question.setInformativeText(f"{words}\n\n{chr(10).join(plan.moved[:5])}")
        remove = question.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)
        question.setDefaultButton(question.addButton(QMessageBox.StandardButton.Cancel))
        remove.clicked.connect(lambda: self._remover.remove(plan))
        question.open()

    @Slot(object)
    def _on_removed(self, removed: Removed) -> None:
        self._removed = removed
        self._words.setText(f"Removed {Path(removed.plan.path).name}")
        self.show()
        self.removed.emit()

    @Slot()
    def _on_undo_clicked(self) -> None:
        if self._removed is not None:
            removed, self._removed = self._removed, None
            self.hide()
            self._remover.put_back(removed)

    @Slot(str, object)
    def _on_refused(self, _path: str, problem: Failure) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Remove the model", problem.message, parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setInformativeText(problem.next_step)
        box.open()
