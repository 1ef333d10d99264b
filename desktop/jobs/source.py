"""What a quantization can be planned from: the checkpoint's tensors, and what is free here. Loads no heavy library."""

from __future__ import annotations

import shutil
from pathlib import Path

from desktop.domain.quantization_preflight import Room
from desktop.domain.quantization_source import QuantizationSource, quantization_source
from desktop.hardware.host import read_host
from desktop.storage.checkpoint_reader import read_config, read_tensors


def read_source(path: str) -> QuantizationSource:
    """A checkpoint as a quantization sees it. Takes milliseconds; raises TurbodeskError as read_checkpoint() does."""
    return quantization_source(read_config(path), read_tensors(path))


def free_room(target: Path, card: int | None) -> Room:
    """What is free on the disk of a folder that need not exist yet, and in the machine. card: free bytes there."""
    folder = target
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return Room(disk=shutil.disk_usage(folder).free, host=read_host().available, card=card)
