"""What a click on the gauge opens: a card's last ten minutes, its parts, its sensors and who holds its memory."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Slot
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from desktop.domain.memory_reading import CardReading, MemoryReading
from desktop.services.memory_history import MemoryHistory
from desktop.ui.controls import ChoiceBox, ElidedLabel
from desktop.ui.format import card_label, format_bytes, gigabytes
from desktop.ui.memory.content import Segment, card_segments, host_segments
from desktop.ui.memory.gauge import MemoryGauge
from desktop.ui.memory.history_chart import HistoryChart, moments_of, sensor_words
from desktop.ui.theme import SPACE, TYPE, font_of, palette_of

_WIDTH = 560
_FEWEST_ROWS, _MOST_ROWS = 2, 8
_STEP_SECONDS = 0.5
_HOST = "This machine"


class GaugePopover(QFrame):
    """Live while it is open; Escape or a click elsewhere closes it."""

    def __init__(self, history: MemoryHistory, gauge: MemoryGauge) -> None:
        super().__init__(gauge.window(), Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("CommandPalette")
        self.setAccessibleName("Where the memory is")
        self._history = history
        self._gauge = gauge
        self._shown_at = 0.0
        self._choice = ChoiceBox(self)
        self._choice.setAccessibleName("Card")
        self._title = QLabel(self)
        self._title.setFont(font_of(self._title, TYPE.body, bold=True))
        self._title.setTextFormat(Qt.TextFormat.PlainText)
        self._state = ElidedLabel(self)
        self._chart = HistoryChart(self)
        self._moment = ElidedLabel(self)
        self._moment.setAccessibleName("The moment that is pointed at")
        self._parts = QLabel(self)
        self._parts.setTextFormat(Qt.TextFormat.RichText)
        self._parts.setWordWrap(True)
        self._note = QLabel(self)
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        self._note.setWordWrap(True)
        self._note.setProperty("dim", True)
        self._note.setFont(font_of(self._note, TYPE.small))
        self._table = self._make_table()
        head = QHBoxLayout()
        head.setSpacing(SPACE[2])
        head.addWidget(self._title)
        head.addWidget(self._choice)
        head.addWidget(self._state, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE[3], SPACE[2], SPACE[3], SPACE[3])
        column.setSpacing(SPACE[1])
        column.addLayout(head)
        for widget in (self._chart, self._moment, self._parts, self._note, self._table):
            column.addWidget(widget)
        self._chart.moment_changed.connect(self._moment.show_words)
        self._choice.currentIndexChanged.connect(self._show)
        self._uuids: tuple[str | None, ...] = ()
        self._show()

    def open_above(self) -> None:
        """Show it over the right end of the gauge, inside its window."""
        window = self._gauge.window()
        self.setFixedWidth(min(_WIDTH, window.width() - 2 * SPACE[2]))
        self.setMaximumHeight(window.height() - 2 * SPACE[0])
        self.adjustSize()
        corner = self._gauge.mapToGlobal(
            QPoint(self._gauge.width() - self.width() - SPACE[2], -self.height() - SPACE[0])
        )
        top = window.mapToGlobal(QPoint(0, 0)).y() + SPACE[0]
        self.move(corner.x(), max(corner.y(), top))
        self.show()
        self._chart.setFocus()

    @Slot(object)
    def show_reading(self, reading: MemoryReading) -> None:
        """The history has a newer one."""
        if reading.monotonic_time - self._shown_at >= _STEP_SECONDS:
            self._show()

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 3, self)
        table.setHorizontalHeaderLabels(["Program", "Process", "Memory"])
        table.setAccessibleName("Programs that hold memory of the card")
        table.verticalHeader().hide()
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        table.horizontalHeader().setSectionResizeMode(0, table.horizontalHeader().ResizeMode.Stretch)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        table.setShowGrid(False)
        table.setTabKeyNavigation(False)
        return table

    @Slot()
    def _show(self) -> None:
        reading = self._history.newest
        if reading is None:
            self._title.setText("Memory")
            self._state.show_words("Reading memory…")
            return
        self._shown_at = reading.monotonic_time
        self._offer(reading)
        uuid = self._uuids[max(0, self._choice.currentIndex())]
        card = next((one for one in reading.cards if one.uuid == uuid), None)
        engine = self._gauge.engine
        if card is None:
            host = reading.host
            segments = host_segments(host, engine)
            self._title.setText(_HOST)
            used = f"{gigabytes(host.used)} of {gigabytes(host.total)} GB" if host.total else "memory not reported"
            self._state.show_words(used)
        else:
            segments = card_segments(card, engine)
            self._title.setText(card_label(card.name))
            used = f"{gigabytes(card.used_bytes)} of {gigabytes(card.total_bytes)} GB" if card.total_bytes else ""
            self._state.show_words(" · ".join(filter(None, (used, sensor_words(card)))))
        self._chart.show_moments(moments_of(self._history.readings, uuid), reading.monotonic_time)
        self._show_parts(segments)
        self._show_programs(card, reading.driver_note)

    def _offer(self, reading: MemoryReading) -> None:
        """The cards to choose from; the machine's own memory comes last."""
        uuids = (*(card.uuid for card in reading.cards), None)
        if uuids != self._uuids:
            chosen = self._uuids[self._choice.currentIndex()] if self._uuids else None
            self._uuids = uuids
            self._choice.blockSignals(True)
            self._choice.clear()
            self._choice.addItems([*(f"{card.index} {card_label(card.name)}" for card in reading.cards), _HOST])
            self._choice.setCurrentIndex(uuids.index(chosen) if chosen in uuids and chosen is not None else 0)
            self._choice.blockSignals(False)
        self._choice.setVisible(len(uuids) > 1)
        self._title.setVisible(len(uuids) == 1)

    def _show_parts(self, segments: tuple[Segment, ...]) -> None:
        colours = palette_of(self)
        words = [
            f'<span style="color: {getattr(colours, part.role)}">■</span>&nbsp;{part.label.replace(" ", "&nbsp;")}'
            f"&nbsp;{part.figure.replace(' ', '&nbsp;')}&nbsp;GB"
            for part in segments
        ]
        self._parts.setText(" &nbsp; ".join(words))
        reckoned = any(part.reckoned for part in segments)
        self._note.setText(
            "What the engine holds is measured; its parts (≈) are reckoned from the model's files and the forecast."
        )
        self._note.setVisible(reckoned)

    def _show_programs(self, card: CardReading | None, driver_note: str) -> None:
        processes = () if card is None or card.processes is None else card.processes
        self._table.setVisible(bool(processes))
        if card is None:
            self._say(driver_note or "")
        elif card.processes is None:
            self._say("The driver does not tell which programs hold memory.")
        rows = sorted(processes, key=lambda process: -(process.used_bytes or 0))
        self._table.setRowCount(len(rows))
        row = self._table.verticalHeader().defaultSectionSize()
        frame = self._table.horizontalHeader().sizeHint().height() + 2 * SPACE[0]
        self._table.setMinimumHeight(frame + min(len(rows), _FEWEST_ROWS) * row)
        self._table.setMaximumHeight(frame + min(len(rows), _MOST_ROWS) * row)
        for number, process in enumerate(rows):
            ours = "This engine" if process.of_engine else (process.of_job or "").capitalize()
            name = ours or process.name or "Unknown"
            size = "not told" if process.used_bytes is None else format_bytes(process.used_bytes)
            for column, words in enumerate((name, str(process.pid), size)):
                item = self._table.item(number, column)
                if item is None:
                    self._table.setItem(number, column, QTableWidgetItem(words))
                elif item.text() != words:
                    item.setText(words)

    def _say(self, words: str) -> None:
        if words:
            self._note.setText(words)
            self._note.show()
