"""The size of the KV cache in GB, in tokens and in chats; whichever is changed, the others follow."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from desktop.domain.capacity import ratio_for_bytes, ratio_for_chats, ratio_for_tokens
from desktop.domain.memory import Forecast
from desktop.ui.controls import ChoiceBox, DecimalBox, NumberBox
from desktop.ui.format import GIB
from desktop.ui.theme import SPACE

_CONTEXTS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)
_USUAL = 8192


class CacheUnits(QWidget):
    """Signals:
    ratio_wanted: the cache ratio that gives what the user typed. context_changed: chats of another length are counted.
    """

    ratio_wanted = Signal(float)
    context_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: Forecast | None = None
        self._longest = 0
        self._wanted = _USUAL  # tokens of a chat, also where the model that is shown reads fewer
        self._size = DecimalBox(self)
        self._size.setRange(0, 9999)
        self._size.setSingleStep(0.1)
        self._size.setSuffix(" GB")
        self._size.valueChanged.connect(self._on_size_changed)
        self._tokens = NumberBox(self)
        self._tokens.setRange(0, 2_000_000_000)
        self._tokens.setSingleStep(1024)
        self._tokens.setSuffix(" tokens")
        self._tokens.valueChanged.connect(self._on_tokens_changed)
        self._chats = NumberBox(self)
        self._chats.setRange(0, 1_000_000)
        self._chats.setSuffix(" chats")
        self._chats.valueChanged.connect(self._on_chats_changed)
        self._context = ChoiceBox(self)
        self._context.currentIndexChanged.connect(self._on_context_chosen)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACE[1])
        for place, (box, name) in enumerate(
            (
                (self._size, "Size of the KV cache"),
                (self._tokens, "Tokens in the KV cache"),
                (self._chats, "Chats at once"),
                (self._context, "Length of a chat"),
            )
        ):
            box.setAccessibleName(name)
            box.setToolTip(f"{name} (forecast)")
            if isinstance(box, NumberBox | DecimalBox):
                box.setKeyboardTracking(False)  # half a number is not yet a wish
                box.setGroupSeparatorShown(True)
            label = QLabel(("Cache size", "holds", "that is", "each of")[place], self)
            label.setBuddy(box)
            grid.addWidget(label, place // 2, place % 2 * 2)
            grid.addWidget(box, place // 2, place % 2 * 2 + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        self.show_forecast(None, 0)

    @property
    def context(self) -> int:
        """Tokens of a chat, as chats are counted."""
        return self._context.currentData() or _USUAL

    def show_forecast(self, found: Forecast | None, longest: int) -> None:
        """longest: tokens that the model reads at most."""
        self._found = found
        self.setEnabled(found is not None)
        self._offer(longest)
        blocked = [QSignalBlocker(box) for box in (self._size, self._tokens, self._chats)]
        self._size.setValue(found.kv / GIB if found is not None else 0)
        self._tokens.setValue(found.tokens if found is not None else 0)
        self._chats.setValue(found.chats(self.context) if found is not None else 0)
        known = found is not None and found.block > 0
        self._tokens.setEnabled(known)
        self._chats.setEnabled(known)
        for blocker in blocked:
            blocker.unblock()

    def _offer(self, longest: int) -> None:
        """The lengths that this model reads."""
        if longest == self._longest and self._context.count():
            return
        self._longest = longest
        with QSignalBlocker(self._context):
            self._context.clear()
            lengths = [length for length in _CONTEXTS if length < longest or not longest]
            for length in (*lengths, *([longest] if longest else [])):
                self._context.addItem(f"{length:,} tokens", length)
            fitting = [place for place in range(self._context.count()) if self._context.itemData(place) <= self._wanted]
            self._context.setCurrentIndex(max(fitting, default=0))

    @Slot()
    def _on_context_chosen(self) -> None:
        self._wanted = self.context
        self.context_changed.emit()

    @Slot(float)
    def _on_size_changed(self, size: float) -> None:
        if self._found is not None:
            self.ratio_wanted.emit(ratio_for_bytes(self._found, round(size * GIB)))

    @Slot(int)
    def _on_tokens_changed(self, tokens: int) -> None:
        if self._found is not None:
            self.ratio_wanted.emit(ratio_for_tokens(self._found, tokens))

    @Slot(int)
    def _on_chats_changed(self, chats: int) -> None:
        if self._found is not None:
            self.ratio_wanted.emit(ratio_for_chats(self._found, chats, self.context))
