"""A model and all that was made of it here, as a table beneath its heading."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.domain.versions import Version
from desktop.ui.controls import plain_label, say
from desktop.ui.format import format_bytes
from desktop.ui.models.facts_form import heading
from desktop.ui.plain_table import PlainTable
from desktop.ui.theme import SPACE, TYPE
from desktop.ui.words import place_words

_COLUMNS = ("model", "verdict", "size", "perplexity", "KL", "same token", "tokens/s", "method")
_NOTHING = "–"


class VersionsView(QWidget):
    """Hidden where nothing was made of the model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        words = heading(self, TYPE.body)
        words.setText("All versions of this model")
        self.table = PlainTable("All versions of this model", _COLUMNS, self, as_needed=True)
        self._note = plain_label(self, size=TYPE.small, dim=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE[1])
        for part in (words, self.table, self._note):
            column.addWidget(part)
        self.hide()

    def show_versions(self, rows: list[Version]) -> None:
        """Show these, the original first; nothing at all where there is only that."""
        self.setVisible(len(rows) > 1)
        places = [place_words(row.side) for row in rows if row.side is not None and row.side.tokens_per_second]
        usual = places[0] if places else ""
        self.table.fill([_cells(row, usual) for row in rows])
        notes = []
        if any(row.incomparable for row in rows):
            notes.append("* Measured over another text or original than the newest, so it does not compare with it.")
        if usual:
            elsewhere = ", where nothing else is said" if len(set(places)) > 1 else ""
            notes.append(f"Tokens/s: one answer at a time on {usual}{elsewhere}.")
        say(self._note, " ".join(notes))


def _cells(row: Version, usual: str) -> tuple[str, ...]:
    side, found = row.side, row.evaluation
    mark = " *" if row.incomparable else ""
    speed = perplexity = kl = same = _NOTHING
    verdict = "not compared" if row.method else "original"
    if side is not None:
        digits = 0 if side.perplexity.value >= 1000 else 2
        perplexity = f"{side.perplexity.value:,.{digits}f}{mark}"
        if side.tokens_per_second:
            elsewhere = "" if place_words(side) == usual else f" on {place_words(side)}"
            speed = f"{side.tokens_per_second:,.1f}{elsewhere}"
    if found is not None:
        verdict = f"{found.grade.value}{mark}"
        kl, same = f"{found.kl.value:.4f}{mark}", f"{found.top1.value:.1%}{mark}"
    size = "not there" if row.disk_bytes is None else format_bytes(row.disk_bytes)
    return row.name, verdict, size, perplexity, kl, same, speed, row.method or _NOTHING
