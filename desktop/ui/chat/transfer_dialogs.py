"""Asks where to export to and what to import."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QWidget

_LOSSLESS = "JSON Lines, comes back identical (*.jsonl)"
_READABLE = "Markdown, to read (*.md)"
_IMPORTED = "Conversations (*.jsonl *.json)"
_NAME = 60  # characters of a title that become a file's name


class TransferDialogs(QObject):
    """Signals:
    export_requested: a path, and the id of a conversation or 0 for all.
    import_requested: a path.
    """

    export_requested = Signal(str, int)
    import_requested = Signal(str)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._exported = 0

    def ask_where_to(self, conversation_id: int, title: str) -> None:
        """Ask where to export this conversation; 0 for all."""
        self._exported = conversation_id
        dialog = self._dialog("Export", (_LOSSLESS, _READABLE))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("jsonl")
        dialog.filterSelected.connect(partial(_follow, dialog))
        dialog.selectFile(_file_name(title))
        dialog.fileSelected.connect(self._on_path_chosen)
        dialog.open()

    @Slot()
    def ask_what(self) -> None:
        """Ask what to import."""
        dialog = self._dialog("Import conversations", (_IMPORTED, "All files (*)"))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.import_requested)
        dialog.open()

    def _dialog(self, title: str, filters: tuple[str, ...]) -> QFileDialog:
        dialog = QFileDialog(self._window, title)
        dialog.setNameFilters(filters)
        dialog.finished.connect(dialog.deleteLater)
        return dialog

    @Slot(str)
    def _on_path_chosen(self, path: str) -> None:
        self.export_requested.emit(path, self._exported)


def _follow(dialog: QFileDialog, chosen: str) -> None:
    dialog.setDefaultSuffix("md" if chosen == _READABLE else "jsonl")


def _file_name(title: str) -> str:
    """A title without what a file's name may not hold."""
    kept = "".join(character if character.isalnum() or character in " -_" else " " for character in title)
    return " ".join(kept.split())[:_NAME].strip() or "Conversation"
