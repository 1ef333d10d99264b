"""The name of a result and the folder in which it appears."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from desktop.ui.theme import SPACE


class ResultPlace(QWidget):
    """Signals:
    changed: by the user. folder_chosen: another folder, in which the name may be taken.
    """

    changed = Signal()
    folder_chosen = Signal()

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._usual = folder
        self.name = QLineEdit(self)
        self.name.setAccessibleName("Name of the result")
        self.name.textEdited.connect(self.changed)
        self.folder = QLineEdit(str(folder), self)
        self.folder.setAccessibleName("Folder in which the result goes")
        self.folder.textEdited.connect(self.changed)
        browse = QPushButton("Choose…", self)
        browse.setAccessibleName("Choose the folder in which the result goes")
        browse.clicked.connect(self._on_browse_clicked)
        where = QHBoxLayout()
        where.setSpacing(SPACE[1])
        where.addWidget(self.folder, 1)
        where.addWidget(browse)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setHorizontalSpacing(SPACE[2])
        form.addRow("Name", self.name)
        form.addRow("In", where)

    @property
    def parent_folder(self) -> Path:
        """The folder, or the usual one while nothing is written there."""
        return Path(self.folder.text().strip() or self._usual).expanduser()

    @property
    def target(self) -> Path:
        """The folder that is to appear."""
        return self.parent_folder / self.name.text().strip()

    def suggest(self, title: str, ending: str) -> None:
        """Name the result after the model's title, with a number where that is taken."""
        base = re.sub(r"[^\w.-]+", "-", title.rpartition("/")[2]).lstrip(".")
        name, number = f"{base}-{ending}", 2
        while (self.parent_folder / name).exists():
            name = f"{base}-{ending}-{number}"
            number += 1
        self.name.setText(name)

    def problem(self) -> str:
        """Why nothing can appear there, a sentence; "" where it can."""
        name = self.name.text().strip()
        if not name or re.search(r"[/\0]", name) or name.startswith("."):
            return "The result needs a name without slashes that does not begin with a dot."
        return f"There is already something at {self.target}." if self.target.exists() else ""

    @Slot()
    def _on_browse_clicked(self) -> None:
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, "A folder for the result", self.folder.text())
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.fileSelected.connect(self._on_folder_chosen)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def _on_folder_chosen(self, folder: str) -> None:
        self.folder.setText(folder)
        self.folder_chosen.emit()
