"""How numbers are written on screen."""

from __future__ import annotations

from desktop.domain.counting import counted

GIB = 2**30
_UNITS = ((GIB, "GB", 1), (2**20, "MB", 0), (2**10, "kB", 0))


def format_bytes(count: int) -> str:
    """'17.2 GB', '512 MB', '3 kB', '12 bytes'.

    GB on screen is 2^30 bytes everywhere, MB 2^20, kB 2^10: a "24 GB" card has 24 x 2^30 bytes, and so say
    nvidia-smi and those who buy it.
    """
    for size, unit, digits in _UNITS:
        # A little below a unit rounds up to it: 1023.9 MB is 1.0 GB, not 1024 MB.
        if count >= size * (1 - 0.5 / 1024):
            return f"{count / size:.{digits}f} {unit}"
    return counted(count, "byte")


def gigabytes(count: int) -> str:
    """'17.2', for where the unit is said once for several figures. The same GB as format_bytes."""
    return f"{count / GIB:.1f}"


def card_label(name: str) -> str:
    """What people call a card: 'RTX 4090' for 'NVIDIA GeForce RTX 4090'."""
    for prefix in ("NVIDIA ", "GeForce "):
        name = name.removeprefix(prefix)
    return name
