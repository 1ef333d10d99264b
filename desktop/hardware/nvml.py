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
from desktop.hardware.nvml_devices import Device, Found, answer, find_devices

NO_DRIVER = "No NVIDIA driver found"
NO_CARD = "The NVIDIA driver sees no card"
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
# Cards come and go, and MIG is switched, seldom; a look asks each card a handful of questions.
LOOK_SECONDS = 1.0
# Who holds the memory costs more to ask than how much is held, so a faster gauge asks it less often than that.
PROCESS_SECONDS = 0.24
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


class NvmlReader:
    """Owned and used by one thread. No method raises for anything the driver does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nvml: Any = None
        self._found = Found()
        self._seen: dict[str, str] = {}  # every card that was ever there: its name by its UUID
        self._sensors: dict[str, _Sensors] = {}
        self._names: dict[int, str] = {}
        self._processes: dict[str, tuple[float, tuple[ProcessMemory, ...] | None]] = {}
        self._note = ""
        self._answering = False
        self._look_at = 0.0
        self._retrying = False
        self._retry_after = FIRST_RETRY_SECONDS

    def read(self) -> tuple[tuple[CardReading, ...], str]:
        """All that answers, by index, and in plain words why some or all are missing (empty: none is).

        While all is well the driver's list is looked at each second. After an error that happens after a second, then
        ever later up to half a minute. For it NVML is closed and opened anew only when no card answers, or when looking
        has not helped for half a minute: that may hold up the readings of the other cards.
        """
        looked = self._clock() >= self._look_at
        if looked:
            self._look()
        lost = {index: self._reason(error) for index, error in self._found.lost}
        readings: list[CardReading] = []
        for device in self._found.devices:
            try:
                readings.append(self._read_device(device))
            except self._nvml.NVMLError as error:
                lost[device.index] = self._reason(error)
        self._answering = bool(readings)
        self._forget_names(readings)
        note = self._note
        if lost:
            index, reason = min(lost.items())
            note = f"Card {index} does not answer: {reason}" if readings else _no_answer(reason)
        self._plan_look(looked, well=not note)
        if not note and self._found.empty:
            note = f"{self._found.empty[0]} is in MIG mode and has no instance"
        return tuple(readings), note

    def close(self) -> None:
        """Let go of the driver. A later read opens it again."""
        if self._nvml is not None:
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                pass  # a driver that was unloaded has nothing left to shut down
        self._nvml = None
        self._found = Found()
        self._answering = False
        self._look_at = 0.0

    def _look(self) -> None:
        """Find the devices anew, and say in self._note what is missing."""
        if not self._answering or self._retry_after >= LONGEST_RETRY_SECONDS:
            self.close()
            self._note = self._open()
            if self._note:
                return
        try:
            self._found = find_devices(self._nvml)
        except self._nvml.NVMLError as error:
            self._found = Found()
            self._note = _no_answer(self._reason(error))
            return
        present = dict(self._found.cards)
        gone = [name for uuid, name in self._seen.items() if uuid and uuid not in present]
        self._seen |= present
        if not (present or self._found.lost):
            self._note = NO_CARD
        else:
            self._note = f"{gone[0]} is gone" if gone else ""

    def _open(self) -> str:
        """Load the library. Returns why it cannot be used, empty when it can."""
        if sys.platform == "linux":
            try:
                ctypes.CDLL("libnvidia-ml.so.1")
            except OSError:
                return NO_DRIVER
        try:
            import pynvml
        except ImportError:
            return "The Python package nvidia-ml-py is missing"
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return NO_DRIVER if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND else _no_answer(self._reason(error))
        return ""

    def _plan_look(self, looked: bool, *, well: bool) -> None:
        if well:
            self._retry_after = FIRST_RETRY_SECONDS
            if looked:
                self._look_at = self._clock() + LOOK_SECONDS
        elif looked or not self._retrying:
            self._look_at = self._clock() + self._retry_after
            self._retry_after = min(self._retry_after * 2, LONGEST_RETRY_SECONDS)
        self._retrying = not well

    def _reason(self, error: Any) -> str:
        """The driver's words, and plainer ones where those mean nothing to the owner of the card."""
        nvml = self._nvml
        if error.value in (nvml.NVML_ERROR_INVALID_ARGUMENT, nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_ERROR_GPU_NOT_FOUND):
            return "it is gone"
        if error.value == nvml.NVML_ERROR_UNINITIALIZED:
            return "it was reloaded"
        if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
            # The library that this process has loaded stays the old one as long as the process lives.
            return "it was updated. Start Turbodesk anew, and the machine if that does not help"
        return str(error)

    def _read_device(self, device: Device) -> CardReading:
        """Raises NVMLError when the device is lost."""
        nvml = self._nvml
        try:
            # The first version of this call counts the driver's own reserve as used, as planning needs it.
            memory = nvml.nvmlDeviceGetMemoryInfo(device.handle)
            total, used = memory.total, memory.used
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
            total = used = 0
        sensors = self._read_sensors(device)
        return CardReading(
            index=device.index,
            uuid=device.uuid,
            name=device.name,
            total_bytes=total,
            used_bytes=used,
            processes=self._recent_processes(device),
            utilisation=sensors.utilisation,
            temperature=sensors.temperature,
            power_watts=sensors.power_watts if device.first else None,
        )

    def _recent_processes(self, device: Device) -> tuple[ProcessMemory, ...] | None:
        now, key = self._clock(), device.uuid or str(device.index)
        last = self._processes.get(key)
        if last is not None and now - last[0] < PROCESS_SECONDS:
            return last[1]
        found = self._read_processes(device)
        self._processes[key] = now, found
        return found

    def _read_processes(self, device: Device) -> tuple[ProcessMemory, ...] | None:
        """Each process once, though it may compute and draw at the same time; None when neither list can be had."""
        nvml = self._nvml
        lists = [
            answer(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, device.handle),
            answer(nvml, nvml.nvmlDeviceGetGraphicsRunningProcesses, device.handle),
        ]
        if lists == [None, None]:
            return None
        used: dict[int, int | None] = {}
        for found in lists:
            for process in found or ():
                known = used.get(process.pid)
                # Nobody on a card holds nothing there: in containers some drivers say 0 for what they do not tell.
                fresh = process.usedGpuMemory or None
                used[process.pid] = fresh if known is None else max(known, fresh or 0)
        return tuple(ProcessMemory(pid, used[pid], self._name_of(pid)) for pid in sorted(used))

    def _read_sensors(self, device: Device) -> _Sensors:
        now = self._clock()
        key = device.card_uuid or str(device.index)
        last = self._sensors.get(key)
        if last is not None and now - last.time < SENSOR_SECONDS:
            return last
        nvml, card = self._nvml, device.card
        rates = answer(nvml, nvml.nvmlDeviceGetUtilizationRates, card)
        milliwatts = answer(nvml, nvml.nvmlDeviceGetPowerUsage, card)
        sensors = _Sensors(
            time=now,
            utilisation=None if rates is None else rates.gpu,
            temperature=answer(nvml, nvml.nvmlDeviceGetTemperature, card, nvml.NVML_TEMPERATURE_GPU),
            power_watts=None if milliwatts is None else milliwatts / 1000,
        )
        self._sensors[key] = sensors
        return sensors

    def _name_of(self, pid: int) -> str:
        if pid not in self._names:
            self._names[pid] = process_name(pid)
        return self._names[pid]

    def _forget_names(self, readings: list[CardReading]) -> None:
        """Numbers of processes are used again, so a name lives as long as its process is on a card."""
        alive = {process.pid for card in readings for process in card.processes or ()}
        self._names = {pid: name for pid, name in self._names.items() if pid in alive}
