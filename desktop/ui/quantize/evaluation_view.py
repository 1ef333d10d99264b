"""The verdict on a model: in words, in figures, along the text, and in its answers."""

from __future__ import annotations

from html import escape
from pathlib import Path

import msgspec
from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QPushButton, QVBoxLayout, QWidget

from desktop.domain.errors import TurbodeskError
from desktop.domain.evaluation import Evaluation, Place, as_markdown, thresholds, verdict
from desktop.storage.atomic_file import replace_file
from desktop.storage.errors import storage_errors
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.controls import ElidedLabel, plain_label, set_tone
from desktop.ui.format import format_bytes
from desktop.ui.plain_table import PlainTable
from desktop.ui.quantize.bars import BarFigure, Bars
from desktop.ui.theme import SPACE, TYPE, current_palette
from desktop.ui.words import grade_tone, interval_words, perplexity_words, place_words

_STRONG_KL = 1.0  # nats: the other gives the original's choice less than e times less
_NOT_MEASURED = "not measured"


class EvaluationView(QWidget):
    """Shows one evaluation; empty before show_evaluation()."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: Evaluation | None = None
        self._places: tuple[Place, ...] = ()
        self._grade = plain_label(self, size=TYPE.heading, bold=True)
        self._words = plain_label(self)
        self._figures = PlainTable("Figures of both models", ["", "original", "other"], self)
        self._kl = plain_label(self)
        self._along = Bars("Divergence along the text", self)
        self._pointed = ElidedLabel(self)
        self._along.pointed_at.connect(self._pointed.show_words)
        self._worst = QListWidget(self)
        self._worst.setAccessibleName("Places where they differ most")
        self._worst.setWordWrap(False)
        self._worst.setTextElideMode(Qt.TextElideMode.ElideLeft)
        self._worst.currentRowChanged.connect(self._on_place_chosen)
        self._place = plain_label(self)
        self._place.setTextFormat(Qt.TextFormat.RichText)
        self._answers = PlainTable("Greedy answers", ["prompt", "the same until", "original", "other"], self)
        self._limits = plain_label(self, dim=True)
        self._json = QPushButton("Export as JSON…", self)
        self._json.clicked.connect(self._on_json)
        self._page = QPushButton("Export as Markdown…", self)
        self._page.clicked.connect(self._on_page)
        self._said = ElidedLabel(self)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE[1])
        buttons.addWidget(self._json)
        buttons.addWidget(self._page)
        buttons.addWidget(self._said, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        for part in (
            self._grade,
            self._words,
            self._figures,
            plain_label(self, "Where they differ along the text (KL divergence of each token)", bold=True),
            self._kl,
            self._along,
            self._pointed,
            plain_label(self, "The places where they differ most", bold=True),
            self._worst,
            self._place,
            plain_label(self, "Greedy answers to the same prompts", bold=True),
            self._answers,
            self._limits,
        ):
            column.addWidget(part)
        column.addLayout(buttons)

    def show_evaluation(self, found: Evaluation) -> None:
        """Show this one."""
        if found == self._found:
            return
        self._found = found
        self._grade.setText(found.grade.value.capitalize())
        set_tone(self._grade, grade_tone(found.grade))
        self._words.setText(verdict(found))
        self._show_figures(found)
        self._kl.setText(
            f"Mean {interval_words(found.kl, 4)} nats, 99.9th percentile {interval_words(found.kl_999, 2)}; the same "
            f"token for the likeliest in {found.top1.value:.2%} ({found.top1.low:.2%} to {found.top1.high:.2%}) of "
            f"{found.tokens:,} places."
        )
        self._along.show_figures(
            [
                BarFigure(kl, f"token {number:,}: {kl:.3f} nats", strong=kl >= _STRONG_KL)
                for number, kl in enumerate(found.kl_of)
            ],
            "beginning of the text",
            "end",
        )
        self._places = found.worst
        self._worst.clear()
        for place in found.worst:
            self._worst.addItem(_one_line(f"{place.kl:.2f}  …{place.before[-60:]}»{place.token}«"))
        self._worst.setFixedHeight(min(6, max(1, len(found.worst))) * self._worst.sizeHintForRow(0) + 2 * SPACE[0])
        self._worst.setCurrentRow(0)
        self._show_answers(found)
        self._limits.setText(
            f"Grades: {thresholds()}. Intervals: 95 %, bootstrap. Text: {found.text_name}, windows of "
            f"{found.window:,} tokens, SHA-256 {found.text_hash[:16]}…"
        )

    def _show_figures(self, found: Evaluation) -> None:
        sides = (found.original, found.other)
        rows = (
            ("model", *(side.name for side in sides)),
            ("runs on", *(place_words(side) for side in sides)),
            ("KV cache", *(f"{side.config.quant_policy or 16} bits" for side in sides)),
            ("perplexity", *(perplexity_words(side.perplexity) for side in sides)),
            ("tokens/s", *(_known(side.tokens_per_second, "{:.1f}") for side in sides)),
            ("time to first token", *(_known(side.time_to_first_token, "{:.3f} s") for side in sides)),
            ("on disk", *(format_bytes(side.disk_bytes) for side in sides)),
            ("memory", *(_size(side.memory_bytes) for side in sides)),
        )
        self._figures.fill(rows)

    def _show_answers(self, found: Evaluation) -> None:
        rows = []
        for number, prompt in enumerate(found.prompts):
            common = found.parted(number)
            until = "the end" if common is None else f"character {common:,}"
            rows.append((prompt, until, found.original.replies[number], found.other.replies[number]))
        self._answers.setVisible(bool(rows))
        self._answers.fill(rows)

    @Slot(int)
    def _on_place_chosen(self, row: int) -> None:
        if not 0 <= row < len(self._places) or self._found is None:
            self._place.setText("")
            return
        place = self._places[row]
        colour = current_palette().danger
        window = self._found.window
        index = place.position - 1 - place.position // window  # the first token of a window is not judged
        self._along.select(index)
        self._place.setText(
            f"…{_html(place.before)}<b style='color: {colour}'>{_html(place.token)}</b><br>"
            f"The original expected “{_html(place.expected)}”, the other “{_html(place.chosen)}”: {place.kl:.2f} nats."
        )

    @Slot()
    def _on_json(self) -> None:
        self._ask("Export the evaluation as JSON", "evaluation.json", "JSON (*.json)")

    @Slot()
    def _on_page(self) -> None:
        self._ask("Export the evaluation as a page", "evaluation.md", "Markdown (*.md)")

    def _ask(self, title: str, name: str, kind: str) -> None:
        from PySide6.QtWidgets import QFileDialog  # dialogs are not loaded before they are needed

        dialog = QFileDialog(self, title, "", kind)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(Path(name).suffix[1:])
        dialog.selectFile(name)
        dialog.fileSelected.connect(self.export)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    @Slot(str)
    def export(self, path: str) -> None:
        """Write it: as Markdown by the file's ending, else as JSON."""
        if self._found is None:
            return
        text = (
            as_markdown(self._found).encode()
            if path.endswith(".md")
            else msgspec.json.format(msgspec.json.encode(self._found), indent=1) + b"\n"
        )
        try:
            with storage_errors(Path(path)):
                replace_file(Path(path), text)
            self._said.show_words(f"Exported to {path}")
        except TurbodeskError as problem:
            self._said.show_words(f"{problem.failure.message} {problem.failure.next_step}")


def _size(size: int | None) -> str:
    return _NOT_MEASURED if size is None else format_bytes(size)


def _known(value: float | None, words: str) -> str:
    return _NOT_MEASURED if value is None else words.format(value)


def _one_line(words: str) -> str:
    return " ".join(clean(words).split())


def _html(words: str) -> str:
    return escape(clean(words)).replace("\n", "⏎")
