"""Where the calibration text comes from, how much of it is read, and what it looks like in figures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.domain.calibration import (
    BUILT_IN_SETS,
    BuiltInSet,
    CalibrationSource,
    CalibrationStatistics,
    Conversations,
    JsonLinesFile,
    ShippedText,
    TextFile,
)
from desktop.domain.counting import counted
from desktop.domain.errors import Failure
from desktop.ui.controls import ChoiceBox, ElidedLabel, NumberBox
from desktop.ui.quantize.bars import BarFigure, Bars
from desktop.ui.theme import SPACE

_LEAST_CHOICE = 200  # pixels; its longest words would be wider than the smallest window
_SHIPPED, _TEXT, _LINES, _CHATS = "shipped", "text", "lines", "chats"
_SOURCES = (
    ("The text that comes with Turbodesk", _SHIPPED),
    ("A text file…", _TEXT),
    ("A JSON Lines file…", _LINES),
    ("My conversations", _CHATS),
)
_FILTERS = {_TEXT: "Text (*.txt *.md);;All files (*)", _LINES: "JSON Lines (*.jsonl *.json);;All files (*)"}


class TextBox(QWidget):
    """Signals:
    changed: another text, or other numbers.
    count_requested: count this text now. conversations_requested: read them; answer with show_conversations().
    """

    changed = Signal()
    count_requested = Signal()
    conversations_requested = Signal()

    def __init__(self, parent: QWidget | None = None, *, only_source: bool = False) -> None:
        """only_source: without the numbers of a calibration, and without the sets that only LMDeploy can read."""
        super().__init__(parent)
        self.mirror = ""
        self._file = ""
        self._before = 0  # the choice before a file dialog
        self._conversations: Conversations | None = None
        self._choice = ChoiceBox(self)
        self._choice.setAccessibleName("Calibration text")
        self._choice.setMinimumWidth(_LEAST_CHOICE)
        for words, kind in _SOURCES:
            self._choice.addItem(words, kind)
        if not only_source:
            self._choice.insertSeparator(len(_SOURCES))
            for name, words in BUILT_IN_SETS.items():
                self._choice.addItem(f"Fetch {words}", name)
        self._choice.activated.connect(self._on_source_chosen)
        self._what = ElidedLabel(self)
        self._samples = self._number("Samples", 128, 1, 4096, 16, "")
        self._length = self._number("Tokens of each", 2048, 16, 32768, 256, "")
        self._batch = self._number("At once", 1, 1, 64, 1, "")
        self._count = QPushButton("Count the text", self)
        self._count.clicked.connect(self._on_count_clicked)
        self._figures = QLabel(self)
        self._figures.setTextFormat(Qt.TextFormat.PlainText)
        self._figures.setWordWrap(True)
        self._bars = Bars("Lengths of the pieces", self)
        self._pointed = ElidedLabel(self)
        self._bars.pointed_at.connect(self._pointed.show_words)
        numbers = QWidget(self)
        numbers.setVisible(not only_source)
        grid = QGridLayout(numbers)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(SPACE[2])
        for place, (name, box) in enumerate(
            (("Samples", self._samples), ("Tokens of each", self._length), ("At once", self._batch))
        ):
            label = QLabel(name, self)
            label.setBuddy(box)
            grid.addWidget(label, 0, place)
            grid.addWidget(box, 1, place)
        grid.addWidget(self._count, 2, 0, 1, 3, Qt.AlignmentFlag.AlignLeft)
        grid.setColumnStretch(3, 1)
        top = QHBoxLayout()
        top.setSpacing(SPACE[2])
        top.addWidget(self._choice)
        top.addWidget(self._what, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        column.addLayout(top)
        column.addWidget(numbers)
        column.addWidget(self._figures)
        column.addWidget(self._bars)
        column.addWidget(self._pointed)
        self._forget()

    @property
    def sources(self) -> tuple[CalibrationSource, ...]:
        """The text as it is chosen; empty while conversations are being read."""
        kind = self._choice.currentData()
        if kind == _TEXT:
            return (TextFile(self._file),)
        if kind == _LINES:
            return (JsonLinesFile(self._file),)
        if kind == _CHATS:
            return (self._conversations,) if self._conversations is not None else ()
        if kind in BUILT_IN_SETS:
            return (BuiltInSet(kind, self.mirror),)
        return (ShippedText(),)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Samples, tokens of each, sequences at once."""
        samples = self._samples.value()
        return samples, self._length.value(), min(self._batch.value(), samples)

    def set_numbers(self, samples: int, length: int, batch: int) -> None:
        """Show these; `changed` follows once."""
        blocked = [QSignalBlocker(box) for box in (self._samples, self._length, self._batch)]
        self._samples.setValue(samples)
        self._length.setValue(length)
        self._batch.setValue(batch)
        for blocker in blocked:
            blocker.unblock()
        self._on_changed()

    def choose_file(self, path: str) -> None:
        """Take this file: JSON Lines by its ending, else plain text."""
        lines = Path(path).suffix.lower() in (".jsonl", ".json")
        self._choice.setCurrentIndex(self._choice.findData(_LINES if lines else _TEXT))
        self._on_file_chosen(path)

    @Slot(object)
    def show_conversations(self, found: Conversations) -> None:
        """These are the user's."""
        self._conversations = found
        self._what.show_words(counted(len(found.conversations), "conversation"))
        self._on_changed()

    @Slot(object)
    def show_statistics(self, found: CalibrationStatistics) -> None:
        """What was counted."""
        self._count.setEnabled(True)
        tokens, samples = f"{found.tokens:,} tokens", f"{found.samples:,} of {found.wanted:,} samples."
        if found.pieces:
            what = (
                f"{tokens} in {counted(found.pieces, 'piece')}; {counted(found.duplicates, 'duplicate')} left out, "
                f"{counted(found.held_out, 'piece')} kept for the verdict; {samples}"
            )
        else:
            what = f"{tokens}, {samples} The verdict is about the text that comes with Turbodesk."
        self._figures.setText("\n".join([what, *found.warnings]))
        self._figures.show()
        bins = found.lengths
        ends = [f"{one.least:,} to {after.least - 1:,}" for one, after in pairwise(bins)]
        ends += [f"{bins[-1].least:,} and more"] if bins else []
        self._bars.show_figures(
            [
                BarFigure(one.count, f"{counted(one.count, 'piece')} of {end} tokens")
                for one, end in zip(bins, ends, strict=True)
            ],
            "short pieces",
            "long pieces",
        )
        self._bars.setVisible(any(one.count for one in bins))
        self._pointed.setVisible(self._bars.isVisibleTo(self))

    @Slot(object)
    def show_problem(self, problem: Failure) -> None:
        """Why it cannot be counted."""
        self._forget()
        self._figures.setText(f"{problem.message} {problem.next_step}")
        self._figures.show()

    def _number(self, name: str, value: int, least: int, most: int, step: int, suffix: str) -> NumberBox:
        box = NumberBox(self)
        box.setRange(least, most)
        box.setSingleStep(step)
        box.setGroupSeparatorShown(True)
        box.setValue(value)
        box.setAccessibleName(name)
        box.valueChanged.connect(self._on_changed)
        return box

    def _forget(self) -> None:
        """What was counted is of another text."""
        self._count.setEnabled(True)
        self._figures.hide()
        self._bars.hide()
        self._pointed.hide()

    @Slot()
    def _on_changed(self, _value: Any = None) -> None:
        self._forget()
        self.changed.emit()

    @Slot()
    def _on_count_clicked(self) -> None:
        self._count.setEnabled(False)
        self._figures.setText("The text is being counted …")
        self._figures.show()
        self.count_requested.emit()

    @Slot(int)
    def _on_source_chosen(self, index: int) -> None:
        kind = self._choice.itemData(index)
        if kind in _FILTERS:
            self._ask_for_file(kind)
        else:
            self._before = index
            self._what.show_words("LMDeploy's own, from Hugging Face" if kind in BUILT_IN_SETS else "")
            if kind == _CHATS:
                self._conversations = None
                self._what.show_words("They are being read …")
                self.conversations_requested.emit()
            self._on_changed()

    def _ask_for_file(self, kind: str) -> None:
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, "Text for the calibration", "", _FILTERS[kind])
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self._on_file_chosen)
        dialog.rejected.connect(self._on_no_file)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def _on_file_chosen(self, path: str) -> None:
        self._file = path
        self._before = self._choice.currentIndex()
        self._what.show_words(path)
        self._on_changed()

    @Slot()
    def _on_no_file(self) -> None:
        self._choice.setCurrentIndex(self._before)
