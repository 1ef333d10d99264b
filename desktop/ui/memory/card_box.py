"""Chooses the card, or the part that MIG made of one, by the names that the gauge shows."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Signal, Slot
from PySide6.QtWidgets import QWidget

from desktop.domain.memory_reading import CardReading
from desktop.ui.controls import ChoiceBox
from desktop.ui.format import card_label, format_bytes

Devices = tuple[int, ...] | None
_ITSELF = "Choose by itself"


class CardBox(ChoiceBox):
    """Signals:
    chosen: the user chose another one.
    """

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offered: list[tuple[str, Devices]] = []
        self._cards: tuple[CardReading, ...] = ()
        self._devices: Devices = None
        self.activated.connect(self._on_activated)
        self._offer()

    @property
    def devices(self) -> Devices:
        """The numbers of those that are chosen, see EngineConfig.devices."""
        return self._devices

    def show_devices(self, devices: Devices) -> None:
        """Show that these are chosen; also several, and those that are not there."""
        self._devices = devices
        self._offer()

    def show_cards(self, cards: Sequence[CardReading]) -> None:
        """Offer these."""
        self._cards = tuple(cards)
        self._offer()

    def _offer(self) -> None:
        offered: list[tuple[str, Devices]] = [(_ITSELF, None)]
        for card in self._cards:
            size = f", {format_bytes(card.total_bytes)}" if card.total_bytes else ""
            offered.append((f"{card.index} {card_label(card.name)}{size}", (card.index,)))
        if self._devices not in [devices for _, devices in offered]:
            offered.append((self._words(self._devices or ()), self._devices))
        if offered != self._offered:
            self._offered = offered
            blocker = QSignalBlocker(self)
            self.clear()
            self.addItems([words for words, _ in offered])
            blocker.unblock()
        self.setCurrentIndex([devices for _, devices in offered].index(self._devices))

    def _words(self, devices: tuple[int, ...]) -> str:
        there = {card.index for card in self._cards}
        numbers = ", ".join(map(str, devices))
        if self._cards and not there.issuperset(devices):
            return f"{numbers}, which is not there" if len(devices) == 1 else f"{numbers}, not all of them there"
        return f"{'Card' if len(devices) == 1 else 'Cards'} {numbers}"

    @Slot(int)
    def _on_activated(self, index: int) -> None:
        devices = self._offered[index][1]
        if devices != self._devices:
            self._devices = devices
            self._offer()
            self.chosen.emit()
