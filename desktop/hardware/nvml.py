"""Reads the NVIDIA cards through NVML, and goes on through everything a driver can do.

pynvml is imported only once the driver's library is there: it costs 14 MB of resident memory and 65 ms.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from desktop.domain.memory_reading import CardReading, ProcessMemory
from desktop.hardware.host import process_name

NO_DRIVER = "No NVIDIA driver found"
NO_CARD = "The NVIDIA driver sees no card"
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
# Temperature, power and utilisation move slowly, and each asks the card itself.
SENSOR_SECONDS = 1.0


def _no_answer(reason: object) -> str:
    return f"The NVIDIA driver does not answer: {reason}"


@dataclass(frozen=True, slots=True)
class _Sensors:
    time: float
    utilisation: int | None
    temperature: int | None
    power_watts: float | None


@dataclass(frozen=True, slots=True)
class _Card:
    index: int
    handle: Any
    uuid: str
    name: str


class NvmlReader:
    """Owned and used by one thread. No method raises for anything the driver does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nvml: Any = None
        self._cards: list[_Card] = []
        self._lost: dict[int, str] = {}  # cards that could not even be opened, and why
        self._sensors: dict[int, _Sensors] = {}
        self._names: dict[int, str] = {}
        self._note = ""
        self._retry_at: float | None = 0.0
        self._retry_after = FIRST_RETRY_SECONDS

    def read(self) -> tuple[tuple[CardReading, ...], str]:
        """All cards that answer, and in plain words why some or all are missing (empty: none is).

        After an error NVML is opened anew, first after a second, then ever later up to half a minute.
        """
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self.close()
            self._note = self._open()
        lost = dict(self._lost)
        readings: list[CardReading] = []
        for card in self._cards:
            try:
                readings.append(self._read_card(card))
            except self._nvml.NVMLError as error:
                lost[card.index] = str(error)
        self._forget_names(readings)
        note = self._note
        if lost:
            index, reason = min(lost.items())
            note = f"Card {index} does not answer: {reason}" if readings else _no_answer(reason)
        self._plan_retry(note)
        return tuple(readings), note

    def close(self) -> None:
        """Let go of the driver. A later read opens it again."""
        if self._nvml is not None:
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                pass  # a driver that was unloaded has nothing left to shut down
        self._nvml = None
        self._cards = []
        self._lost = {}
        self._sensors = {}
        self._retry_at = 0.0

    def _open(self) -> str:
        """Load the library, find the cards. Returns why there are none, empty when there are."""
        if sys.platform == "linux":
            try:
                ctypes.CDLL("libnvidia-ml.so.1")
            except OSError:
                return NO_DRIVER
        try:
            import pynvml
        except ImportError:
            return "The Python package nvidia-ml-py is missing"
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return NO_DRIVER if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND else _no_answer(error)
        self._nvml = pynvml
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            return _no_answer(error)
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            except pynvml.NVMLError as error:
                self._lost[index] = str(error)
                continue
            uuid = self._ask(pynvml.nvmlDeviceGetUUID, handle) or ""
            name = self._ask(pynvml.nvmlDeviceGetName, handle) or "NVIDIA card"
            self._cards.append(_Card(index, handle, uuid, name))
        return "" if count else NO_CARD

    def _plan_retry(self, note: str) -> None:
        if not note:
            self._retry_at = None
            self._retry_after = FIRST_RETRY_SECONDS
        elif self._retry_at is None or self._retry_at <= self._clock():
            self._retry_at = self._clock() + self._retry_after
            self._retry_after = min(self._retry_after * 2, LONGEST_RETRY_SECONDS)

    def _read_card(self, card: _Card) -> CardReading:
        """Raises NVMLError when the card is lost."""
        nvml = self._nvml
        try:
            # The first version of this call counts the driver's own reserve as used, as planning needs it.
            memory = nvml.nvmlDeviceGetMemoryInfo(card.handle)
            total, used = memory.total, memory.used
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
            total = used = 0
        sensors = self._read_sensors(card)
        return CardReading(
            index=card.index,
            uuid=card.uuid,
            name=card.name,
            total_bytes=total,
            used_bytes=used,
            processes=self._read_processes(card),
            utilisation=sensors.utilisation,
            temperature=sensors.temperature,
            power_watts=sensors.power_watts,
        )

    def _read_processes(self, card: _Card) -> tuple[ProcessMemory, ...] | None:
        """Each process once, though it may compute and draw at the same time; None when neither list can be had."""
        nvml = self._nvml
        lists = [
            self._ask(nvml.nvmlDeviceGetComputeRunningProcesses, card.handle),
            self._ask(nvml.nvmlDeviceGetGraphicsRunningProcesses, card.handle),
        ]
        if lists == [None, None]:
            return None
        used: dict[int, int | None] = {}
        for found in lists:
            for process in found or ():
                known = used.get(process.pid)
                fresh = process.usedGpuMemory
                used[process.pid] = fresh if known is None else max(known, fresh or 0)
        return tuple(ProcessMemory(pid, used[pid], self._name_of(pid)) for pid in sorted(used))

    def _read_sensors(self, card: _Card) -> _Sensors:
        now = self._clock()
        last = self._sensors.get(card.index)
        if last is not None and now - last.time < SENSOR_SECONDS:
            return last
        nvml, handle = self._nvml, card.handle
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        sensors = _Sensors(
            time=now,
            utilisation=None if rates is None else rates.gpu,
            temperature=self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            power_watts=None if milliwatts is None else milliwatts / 1000,
        )
        self._sensors[card.index] = sensors
        return sensors

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or None when this card, driver or container does not give it."""
        try:
            return function(*arguments)
        except (self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return None

    def _name_of(self, pid: int) -> str:
        if pid not in self._names:
            self._names[pid] = process_name(pid)
        return self._names[pid]

    def _forget_names(self, readings: list[CardReading]) -> None:
        """Numbers of processes are used again, so a name lives as long as its process is on a card."""
        alive = {process.pid for card in readings for process in card.processes or ()}
        self._names = {pid: name for pid, name in self._names.items() if pid in alive}
