"""How good a model is that was made here: the verdict and its figures, or the way to one."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from desktop.domain.evaluation import Evaluation, verdict
from desktop.domain.versions import MadeModel
from desktop.ui.chat.text_hygiene import clean
from desktop.ui.controls import plain_label, say, set_tone
from desktop.ui.format import format_bytes
from desktop.ui.models.facts_form import FactsForm
from desktop.ui.theme import SPACE, TYPE
from desktop.ui.words import grade_tone, interval_words, perplexity_words


class VerdictView(QWidget):
    """Hidden for a model that was not made here.

    Signals:
        report_requested: the Evaluation that is shown.
        compare_requested: the path of the original and that of the model.
    """

    report_requested = Signal(object)
    compare_requested = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._made: MadeModel | None = None
        self._grade = plain_label(self, size=TYPE.title, bold=True)
        self._words = plain_label(self)
        self._form = FactsForm()
        self._report = QPushButton("Open the report", self)
        self._report.setToolTip("The whole comparison: along the text, and in the answers of both")
        self._report.clicked.connect(self._on_report_clicked)
        self._compare = QPushButton("Compare with the original…", self)
        self._compare.clicked.connect(self._on_compare_clicked)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        column.addWidget(self._grade)
        column.addWidget(self._words)
        column.addLayout(self._form)
        for button in (self._report, self._compare):
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        self.hide()

    def show_made(self, made: MadeModel | None, *, original_there: bool) -> None:
        """None for a model that was not made here. original_there: whether the original is on the disk."""
        self._made = made
        self._form.clear()
        self.setVisible(made is not None)
        if made is None:
            return
        found = made.evaluation
        self._report.setVisible(found is not None)
        self._compare.setVisible(found is None)
        self._compare.setEnabled(original_there)
        if found is None:
            self._grade.setText("Not compared yet")
            set_tone(self._grade, grade_tone(None))
            say(self._words, "" if original_there else f"Its original is not on this disk: {clean(made.source)}")
            return
        self._grade.setText(found.grade.value.capitalize())
        set_tone(self._grade, grade_tone(found.grade))
        say(self._words, verdict(found))
        for name, value in _figures(found):
            self._form.add(name, value)

    @Slot()
    def _on_report_clicked(self) -> None:
        if self._made is not None and self._made.evaluation is not None:
            self.report_requested.emit(self._made.evaluation)

    @Slot()
    def _on_compare_clicked(self) -> None:
        if self._made is not None:
            self.compare_requested.emit(self._made.source, self._made.path)


def _figures(found: Evaluation) -> list[tuple[str, str]]:
    first, second = found.original, found.other
    bits = second.config.quant_policy
    when = f"{datetime.fromtimestamp(found.made_at):%Y-%m-%d}"
    return [
        ("Perplexity", f"{perplexity_words(second.perplexity)}, the original's {perplexity_words(first.perplexity)}"),
        ("KL divergence", f"{interval_words(found.kl, 4)} nats, 99.9th percentile {found.kl_999.value:.2f}"),
        (
            "Same token",
            f"{found.top1.value:.2%} ({found.top1.low:.2%} to {found.top1.high:.2%}) of {found.tokens:,} places",
        ),
        ("Bytes", f"{format_bytes(second.disk_bytes)}, the original's {format_bytes(first.disk_bytes)}"),
        ("Compared", f"{when}, over {clean(found.text_name)}" + (f", with a KV cache of {bits} bits" if bits else "")),
    ]
