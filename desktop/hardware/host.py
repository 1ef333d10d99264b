"""Reads the machine's memory and that of a process tree from /proc.

Not psutil: it costs the window's process 8 MB and 50 ms at import for four small text files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from desktop.domain.memory_reading import HostReading

PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def read_host(engine_pids: Iterable[int] = (), proc: Path = PROC) -> HostReading:
    """Memory of the machine, and the resident memory of engine_pids. All zero where there is no /proc."""
    fields: dict[str, int] = {}
    try:
        with open(proc / "meminfo", "rb") as file:
            for line in file:
                name, _, rest = line.partition(b":")
                if name in (b"MemTotal", b"MemFree", b"MemAvailable"):
                    fields[name.decode()] = int(rest.split()[0]) * 1024
                    if name == b"MemAvailable":
                        break
    except (OSError, ValueError, IndexError):
        return HostReading(total=0, used=0, available=0)
    total = fields.get("MemTotal", 0)
    available = min(fields.get("MemAvailable", fields.get("MemFree", 0)), total)
    return HostReading(
        total=total, used=total - available, available=available, engine_bytes=resident_bytes(engine_pids, proc)
    )


def resident_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """Resident memory of the processes together; those that are gone count nothing."""
    pages = 0
    for pid in pids:
        try:
            with open(proc / str(pid) / "statm", "rb") as file:
                pages += int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return pages * _PAGE


def process_name(pid: int, proc: Path = PROC) -> str:
    """The short name of a process (at most 15 bytes), empty when it is gone or not ours to see."""
    try:
        return (proc / str(pid) / "comm").read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def process_tree(pid: int, proc: Path = PROC) -> frozenset[int]:
    """pid and all its descendants; empty when pid is gone."""
    if not (proc / str(pid)).is_dir():
        return frozenset()
    try:
        return _tree_by_children(pid, proc)
    except FileNotFoundError:
        return _tree_by_parents(pid, proc)


def _tree_by_children(root: int, proc: Path) -> frozenset[int]:
    """Walk down the kernel's own lists: costs a read per thread of the tree, not per process of the machine.

    Raises FileNotFoundError where the kernel was built without them.
    """
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        try:
            threads = os.listdir(proc / str(pid) / "task")
        except OSError:
            continue
        for thread in threads:
            path = f"{proc}/{pid}/task/{thread}/children"
            try:
                with open(path, "rb") as file:
                    waiting.extend(map(int, file.read().split()))
            except (FileNotFoundError, ProcessLookupError):
                if os.path.isdir(os.path.dirname(path)):
                    raise FileNotFoundError(path) from None
            except OSError:
                continue
    return frozenset(found)


def _tree_by_parents(root: int, proc: Path) -> frozenset[int]:
    """The same from the parent that every process names."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir(proc):
        if entry.isdigit():
            try:
                stat = (proc / entry / "stat").read_bytes()
                # The name in parentheses may itself hold spaces and parentheses.
                parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return frozenset(found)
