"""One start of a window, in a process of its own: prints seconds to interactive, resident bytes, engine modules.

Run as `python -m tests.bench.window_probe bare|turbodesk STARTED_AT`, STARTED_AT being time.time() before the start.
"""

from __future__ import annotations

import json
import os
import sys
import time

STARTED_AT = float(sys.argv[2])
SETTLE_MILLISECONDS = 1500


def report(seconds: float) -> None:
    """Print the figures of this process."""
    with open(f"/proc/{os.getpid()}/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    loaded = sum(name.split(".")[0] in ("torch", "transformers", "lmdeploy") for name in sys.modules)
    print(json.dumps({"seconds": seconds, "resident": resident, "engine_modules": loaded}), flush=True)


def bare() -> None:
    """The least there is: an application and a main window with a text field."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication, QMainWindow, QPlainTextEdit

    app = QApplication([])
    window = QMainWindow()
    window.setCentralWidget(QPlainTextEdit())
    window.resize(1280, 800)
    window.show()
    seconds: list[float] = []

    def on_idle() -> None:
        seconds.append(time.time() - STARTED_AT)
        QTimer.singleShot(SETTLE_MILLISECONDS, app.quit)

    QTimer.singleShot(0, on_idle)
    app.exec()
    report(seconds[0])


def turbodesk() -> None:
    """The whole program on an empty data folder, up to the first idle moment of its loop."""
    import argparse
    import tempfile

    from desktop import __main__ as command_line

    def open_window(options: argparse.Namespace) -> int:
        from PySide6.QtCore import QTimer

        from desktop import app as program

        run_window, shutdown = program.App.main, program.App.shutdown
        seconds: list[float] = []

        async def main(self: program.App, options: argparse.Namespace) -> int:
            def on_idle() -> None:
                seconds.append(time.time() - STARTED_AT)
                QTimer.singleShot(SETTLE_MILLISECONDS, self.window.close)

            QTimer.singleShot(0, on_idle)
            return await run_window(self, options)

        async def report_and_shut_down(self: program.App) -> None:
            report(seconds[0])
            await shutdown(self)

        program.App.main, program.App.shutdown = main, report_and_shut_down  # type: ignore[method-assign]
        return program.run(options)

    command_line.open_window = open_window
    with tempfile.TemporaryDirectory() as folder:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[name] = folder
        sys.argv[1:] = []
        command_line.main()


if __name__ == "__main__":
    bare() if sys.argv[1] == "bare" else turbodesk()
