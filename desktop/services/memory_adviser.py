"""What a load here would take: knows the models' shapes, the cards as they are now, and what earlier loads taught."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Sequence

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.card_choice import usable_together, with_uuids
from desktop.domain.engine_config import Backend, EngineConfig
from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import FailureCode, TurbodeskError, failure
from desktop.domain.load_run import LoadRun, residual
from desktop.domain.memory import CardMemory, Forecast, forecast
from desktop.domain.memory_reading import MemoryReading
from desktop.domain.memory_shape import MemoryShape
from desktop.storage.checkpoint_reader import read_memory_shape
from desktop.storage.folder_listing import list_folder
from desktop.storage.paths import AppPaths
from desktop.storage.signature_cache import SignatureCache

_FORMAT = "1"  # of what is kept of a shape, and of how it is counted
_CPU = "CPU"


class MemoryAdviser(QObject):
    """Reads shapes in a thread; everything else is arithmetic that takes microseconds.

    A load replaces what is loaded: so what the engine holds now counts as free.

    Signals:
        shape_read: a model's path and its MemoryShape.
        shape_failed: a model's path and the Failure.
        memory_changed: the cards, or the machine's memory, are known for the first time or hold something else.
    """

    shape_read = Signal(str, object)
    shape_failed = Signal(str, object)
    memory_changed = Signal()

    _answered = Signal(str, object)

    def __init__(
        self,
        paths: AppPaths,
        support: Callable[[str], EngineSupport | None] = lambda path: None,
        parent: QObject | None = None,
    ) -> None:
        """support: which engine runs the model of a path, where that is known."""
        super().__init__(parent)
        self._cache = paths.cache
        self._support = support
        self._reading: MemoryReading | None = None
        self._runs: Sequence[LoadRun] = ()
        self._shapes: dict[str, MemoryShape] = {}
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._answered.connect(self._on_answered)

    @property
    def reading(self) -> MemoryReading | None:
        """The last one."""
        return self._reading

    @Slot(object)
    def show_reading(self, reading: MemoryReading) -> None:
        """Forecast for the memory as it is now."""
        before, self._reading = self._reading, reading
        if before is None or (before.cards, before.host) != (reading.cards, reading.host):
            self.memory_changed.emit()

    @Slot(object)
    def learn(self, runs: Sequence[LoadRun]) -> None:
        """Correct forecasts by these loads, the newest first."""
        self._runs = runs

    def read_shape(self, path: str) -> None:
        """Answered by shape_read or shape_failed, each time, for files can change."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="memory-shapes", daemon=True)
            self._thread.start()
        self._queue.put(path)

    def shape(self, path: str) -> MemoryShape | None:
        """As it was last read."""
        return self._shapes.get(path)

    def resolved(self, path: str, config: EngineConfig) -> EngineConfig:
        """The same with the backend that will run it here in place of AUTO."""
        if config.backend is not Backend.AUTO:
            return config
        has_card = self._reading is not None and bool(self._reading.cards)
        support = self._support(path)
        verdict = support.chosen(has_card) if support is not None else None
        usual = Backend.TURBOMIND if has_card else Backend.CPU
        return msgspec.structs.replace(config, backend=verdict.backend if verdict is not None else usual)

    def cards(self, backend: Backend) -> tuple[CardMemory, ...]:
        """All there are; for the CPU the machine's memory. Empty where there are none or they do not tell."""
        reading = self._reading
        if reading is None:
            return ()
        if backend is Backend.CPU:
            host = reading.host
            used = host.used - min(host.engine_bytes, host.used)
            return (CardMemory(total=host.total, used=used),) if host.total else ()
        return tuple(
            CardMemory(
                total=card.total_bytes,
                used=card.used_bytes - min(card.engine_bytes or 0, card.used_bytes),
                index=card.index,
            )
            for card in reading.cards
            if card.total_bytes
        )

    def cards_for(self, config: EngineConfig) -> tuple[CardMemory, ...]:
        """Those of cards() among which a load may be planned that has this setting now."""
        cards = self.cards(config.backend)
        if config.backend is Backend.CPU or self._reading is None:
            return cards
        usable = [card.index for card in usable_together(self._reading.cards, config)]
        return tuple(card for card in cards if card.index in usable)

    def cards_used(self, config: EngineConfig) -> tuple[CardMemory, ...]:
        """Those of cards() that a load with this setting runs on: the named ones, else the first."""
        if config.backend is Backend.CPU:
            return self.cards(config.backend)
        if config.devices is None:
            return self.cards_for(config)[: config.tp]
        return tuple(card for card in self.cards(config.backend) if card.index in config.devices)

    def named(self, config: EngineConfig) -> EngineConfig:
        """The same with what CUDA calls its cards, for a load that begins now."""
        return with_uuids(config, self._reading.cards if self._reading is not None else ())

    def device(self, config: EngineConfig) -> str:
        """The name under which loads with this setting are remembered."""
        used = self.cards_used(config)
        if config.backend is Backend.CPU or self._reading is None or not used:
            return _CPU
        return next(card.name for card in self._reading.cards if card.index == used[0].index)

    def residual(self, config: EngineConfig) -> int:
        """See load_run.residual()."""
        return residual(self._runs, config.backend, self.device(config))

    def forecast(self, shape: MemoryShape, config: EngineConfig) -> Forecast | None:
        """config: with a backend, see resolved(). None where the memory that it needs is not there or not known."""
        used = self.cards_used(config)
        return forecast(shape, config, used, self.residual(config)) if used else None

    def obstacle(self, config: EngineConfig) -> str:
        """Why there is no forecast, a sentence; "" where there is one."""
        if self._reading is None:
            return "The memory is being read …"
        if self.cards_used(config):
            return ""
        if config.backend is Backend.CPU:
            return "There is no forecast: the system does not tell how much memory it has."
        if not self._reading.cards:
            note = self._reading.driver_note or "No NVIDIA card"
            return f"This backend cannot run here, only the CPU can. {note}."
        return "There is no forecast: the card that is to be used is not there or does not tell its memory."

    def measured(self, backend: Backend) -> int | None:
        """Bytes that the engine holds now: on the card where it holds most, or of the machine's memory."""
        reading = self._reading
        if reading is None:
            return None
        if backend is Backend.CPU:
            return reading.host.engine_bytes or None
        held = [card.engine_bytes for card in reading.cards]
        return None if None in held else max((size for size in held if size), default=None)

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=2)

    @Slot(str, object)
    def _on_answered(self, path: str, shape: MemoryShape) -> None:
        self._shapes[path] = shape
        self.shape_read.emit(path, shape)

    def _work(self) -> None:
        cache = SignatureCache(self._cache / "memory-shapes.msgpack", MemoryShape, _FORMAT)
        try:
            while (path := self._queue.get()) is not None:
                try:
                    signature = list_folder(path).signature
                    shape = cache.get(path, signature)
                    if shape is None:
                        shape = read_memory_shape(path)
                        cache.put(path, signature, shape)
                        cache.save()
                    self._answered.emit(path, shape)
                except TurbodeskError as problem:
                    self.shape_failed.emit(path, problem.failure)
                except OSError as problem:
                    reason = failure(FailureCode.CHECKPOINT_NOT_READABLE, path=path, detail=str(problem))
                    self.shape_failed.emit(path, reason)
                except Exception as problem:
                    detail = traceback.format_exc()
                    self.shape_failed.emit(path, failure(FailureCode.INTERNAL, reason=problem, detail=detail))
        except RuntimeError:  # the window has gone
            return
