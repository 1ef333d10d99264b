"""Finds what has video memory of its own: cards, and in place of a card in MIG mode its instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """A card, or one of the parts that MIG cuts it into.

    card: the handle of the whole card, where temperature and power are measured; card_uuid names it.
    first: of the devices of one card the first, which stands for the card where a sum must count it once.
    """

    index: int
    handle: Any
    uuid: str
    name: str
    card: Any
    card_uuid: str
    first: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at the driver's list showed.

    cards: UUID and name of each that opened. lost: those that are listed and do not open, by index, and the driver's
    reason. empty: names of cards in MIG mode on which nobody made an instance, so that nothing can run there.
    """

    devices: tuple[Device, ...] = ()
    cards: tuple[tuple[str, str], ...] = ()
    lost: tuple[tuple[int, Exception], ...] = ()
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Card:
    handle: Any
    uuid: str
    name: str
    instances: tuple[tuple[Any, str, str], ...] | None  # handle, UUID, name; None: not in MIG mode


def find_devices(nvml: Any) -> Found:
    """Look anew. Raises NVMLError when the driver does not even say how many cards there are.

    Devices are numbered as CUDA numbers them: first the whole cards, then of each card in MIG mode the first instance.
    The other instances follow; CUDA reaches them by their UUID only ("MIG-…"), and a process uses one instance at most
    (MIG User Guide, "CUDA Device Enumeration").
    """
    count = nvml.nvmlDeviceGetCount()
    cards: list[_Card | Exception] = []
    for position in range(count):
        try:
            cards.append(_open(nvml, nvml.nvmlDeviceGetHandleByIndex(position)))
        except nvml.NVMLError as error:
            cards.append(error)
    devices: list[Device] = []
    lost: list[tuple[int, Exception]] = []
    whole = 0
    for card in cards:
        if isinstance(card, Exception):
            lost.append((whole, card))
        elif card.instances is None:
            devices.append(Device(whole, card.handle, card.uuid, card.name, card.handle, card.uuid))
        else:
            continue
        whole += 1
    opened = [card for card in cards if isinstance(card, _Card)]
    parts = [(card, part, True) for card in opened for part in (card.instances or ())[:1]]
    parts += [(card, part, False) for card in opened for part in (card.instances or ())[1:]]
    for index, (card, (handle, uuid, name), first) in enumerate(parts, whole):
        devices.append(Device(index, handle, uuid, name, card.handle, card.uuid, first))
    return Found(
        devices=tuple(devices),
        cards=tuple((card.uuid, card.name) for card in opened),
        lost=tuple(lost),
        empty=tuple(card.name for card in opened if card.instances == ()),
    )


def answer(nvml: Any, function: Any, *arguments: Any) -> Any:
    """What the function says, or None when this card, driver or container does not tell."""
    try:
        return function(*arguments)
    except (nvml.NVMLError, nvml.NVMLLibraryMismatchError):
        return None


def _open(nvml: Any, handle: Any) -> _Card:
    uuid = answer(nvml, nvml.nvmlDeviceGetUUID, handle) or ""
    name = answer(nvml, nvml.nvmlDeviceGetName, handle) or "NVIDIA card"
    mode = answer(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return _Card(handle, uuid, name, None)
    instances = []
    for slot in range(answer(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = answer(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, slot)
        if part is not None:  # most slots hold none
            label = answer(nvml, nvml.nvmlDeviceGetName, part) or name
            label = label if "MIG" in label else f"{label} MIG {slot}"
            instances.append((part, answer(nvml, nvml.nvmlDeviceGetUUID, part) or "", label))
    return _Card(handle, uuid, name, tuple(instances))
