"""What must be right before Qt starts, since Qt would abort: system libraries and a display."""

from __future__ import annotations

import builtins
import ctypes
import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

# Debian and Ubuntu packages that bring the libraries that Qt's wheels expect from the system.
_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libOpenGL.so.0": "libopengl0",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libwayland-client.so.0": "libwayland-client0",
    "libwayland-cursor.so.0": "libwayland-cursor0",
    "libwayland-egl.so.1": "libwayland-egl1",
}
_PLUGINS = {"xcb": "libqxcb.so", "wayland": "libqwayland.so", "offscreen": "libqoffscreen.so"}

NO_SCREEN = (
    "There is no screen here ({reason}).\n"
    "To see the window: forward a display (ssh -X, or waypipe for Wayland), run under a virtual one "
    "(xvfb-run make run), or use the machine's own desktop."
)


def use_pythons_own_import() -> None:
    """Take out the import that PySide puts in place of Python's. Call it after PySide6 is imported.

    PySide's reads the source of every module that is imported, to see whether it wants Qt's names in snake case. Nobody
    here does, and it was a fifth of the start, and most of every import that comes later.
    """
    builtins.__import__ = getattr(builtins, "__orig_import__", builtins.__import__)


def missing_library_message(libraries: list[str]) -> str:
    """Which libraries Qt lacks and the one line that installs them."""
    packages = sorted({_PACKAGES[name] for name in libraries if name in _PACKAGES})
    text = f"Qt needs system libraries that are missing here: {', '.join(libraries)}."
    if packages:
        text += f"\nOn Debian or Ubuntu: sudo apt install {' '.join(packages)}"
    return text


def missing_libraries(platform: str) -> list[str]:
    """The system libraries that Qt's Gui, Widgets and platform plugin want and do not find.

    platform: a name of QT_QPA_PLATFORM. Asks the dynamic loader (ldd); empty where that is not possible.
    """
    spec = importlib.util.find_spec("PySide6")
    if spec is None or not spec.submodule_search_locations or not sys.platform.startswith("linux"):
        return []
    qt = Path(spec.submodule_search_locations[0]) / "Qt"
    plugin = _PLUGINS.get(platform.split(":")[0], "")
    files = [qt / "lib/libQt6Gui.so.6", qt / "lib/libQt6Widgets.so.6", qt / "plugins/platforms" / plugin]
    files = [file for file in files if file.is_file()]
    try:
        out = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return sorted(set(re.findall(r"^\s*(\S+) => not found", out, re.MULTILINE)))


def why_no_screen() -> str:
    """Why no window can be shown, in words; "" when one can. A platform that the user chose is taken at its word."""
    if os.environ.get("QT_QPA_PLATFORM") or not sys.platform.startswith("linux"):
        return ""
    wayland, display = os.environ.get("WAYLAND_DISPLAY"), os.environ.get("DISPLAY")
    if not wayland and not display:
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if wayland and _wayland_answers(wayland):
        return ""
    if display and _x_answers(display):
        return ""
    return f"the display {display or wayland} does not answer"


def platform() -> str:
    """The Qt platform that will be used."""
    if chosen := os.environ.get("QT_QPA_PLATFORM"):
        return chosen
    wayland = os.environ.get("WAYLAND_DISPLAY")
    return "wayland" if wayland and _wayland_answers(wayland) else "xcb"


def _wayland_answers(name: str) -> bool:
    path = Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / name  # an absolute name stays as it is
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def _x_answers(display: str) -> bool:
    """Connect as Qt will, permissions included. Where libxcb is missing, missing_libraries() has the word."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(display.encode(), None))
    failed = bool(xcb.xcb_connection_has_error(connection))
    xcb.xcb_disconnect(connection)
    return not failed
