"""The command line: options, checks that must come before Qt, then the app."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from desktop import startup
from desktop.domain.server_address import ServerModel, read_address, server_model
from desktop.storage.paths import app_paths

DEFAULT_QUESTION = "What is the KV cache?"
LONGEST_TIMEOUT = 86_400  # a day, in seconds


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options of `turbodesk`."""
    parser = argparse.ArgumentParser(
        prog="turbodesk", description="A desktop program for local language models, around LMDeploy."
    )
    parser.add_argument("--ask", metavar="QUESTION", help="open the window, ask, print the reply, leave")
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="model folder to load, or http://HOST:PORT of a server (default: the demo model with --ask)",
    )
    parser.add_argument(
        "--screenshot", metavar="FILE", type=Path, help="with --ask: save a picture of the window (PNG)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=300.0, help="with --ask: give up after S seconds (default 300)"
    )
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="keep conversations and settings below DIR")
    options = parser.parse_args(arguments)
    if options.ask is None and options.screenshot is not None:
        parser.error("--screenshot goes with --ask")
    if options.ask is not None and not options.ask.strip():
        parser.error("--ask needs a question")
    if not 0 < options.timeout <= LONGEST_TIMEOUT:
        parser.error(f"--timeout must be above 0 and at most {LONGEST_TIMEOUT}")
    if options.checkpoint is not None:
        try:
            options.checkpoint = _whole_path(options.checkpoint)
        except ValueError as problem:
            parser.error(f"--checkpoint: {problem}")
    return options


def _whole_path(given: str) -> str:
    """Of a folder, or of a model on a server. Raises ValueError for what is no address."""
    served = server_model(given)
    if served is None:
        return os.path.abspath(os.path.expanduser(given))
    return ServerModel(read_address(served.address), served.name).path


def main() -> int:
    """Run Turbodesk; returns the process's exit code."""
    gc.disable()  # GarbageCollector does it when the window is up, in the right thread
    options = parse_arguments(sys.argv[1:])
    if reason := startup.why_no_screen():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        if options.ask is None:
            print(startup.NO_SCREEN.format(reason=reason))
            model = options.checkpoint or "the demo model"
            print(f"Meanwhile, in a window without a screen, {model} is asked: {DEFAULT_QUESTION}\n", flush=True)
            options.ask = DEFAULT_QUESTION
            options.screenshot = app_paths(options.data_dir).cache / "turbodesk.png"
    try:
        import PySide6.QtWidgets  # noqa: F401

        startup.use_pythons_own_import()
    except ImportError as problem:
        missing = startup.missing_libraries(startup.platform())
        print(startup.missing_library_message(missing) if missing else f"Qt cannot start: {problem}", file=sys.stderr)
        return 1
    if startup.platform() == "xcb" and (missing := startup.missing_libraries("xcb")):
        print(startup.missing_library_message(missing), file=sys.stderr)
        return 1
    return open_window(options)


def open_window(options: argparse.Namespace) -> int:
    """Import everything and run it."""
    from desktop.app import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
