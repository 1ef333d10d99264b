"""The menu of the model's name in the header: which model to load, and what to do with the one that is loaded."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from desktop.domain.server_address import server_model

_RECENT = 5


class ModelMenu(QMenu):
    """Signals:
    load_requested: the path of a model folder or of a ServerModel.
    """

    load_requested = Signal(str)

    def __init__(self, recent: list[str], parent: QWidget) -> None:
        """recent: what was loaded before, the last first."""
        super().__init__(parent)
        self._recent = recent
        self._above: list[QAction] = []
        self._below: list[QAction] = []
        self.aboutToShow.connect(self.fill)

    def set_actions(self, above: list[QAction], below: list[QAction]) -> None:
        """What stands above and below the models that were loaded."""
        self._above, self._below = above, below
        self.fill()

    def remember(self, path: str) -> None:
        """This was loaded."""
        self._recent = [path, *(known for known in self._recent if known != path)][:_RECENT]

    @Slot()
    def fill(self) -> None:
        """Build the menu."""
        self.clear()
        self.addActions(self._above)
        if self._recent:
            self.addSection("Recent")
            for path in self._recent:
                served = server_model(path)
                words = path if served is None else served.title
                self.addAction(words.replace("&", "&&"), partial(self.load_requested.emit, path))
        self.addSeparator()
        self.addActions(self._below)

    @property
    def last_server(self) -> str:
        """The address of the server that was connected to last, "" for none."""
        found = (served.address for path in self._recent if (served := server_model(path)) is not None)
        return next(found, "")

    @Slot()
    def ask_for_folder(self) -> None:
        """Let the user choose a model folder to load."""
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self.parentWidget(), "Open a model folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        if folders := [path for path in self._recent if server_model(path) is None]:
            dialog.setDirectory(folders[0])
        dialog.fileSelected.connect(self.load_requested)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
