"""A child process that reads the cards when its stdin says so, and answers in JSON lines."""

from __future__ import annotations

import sys

import msgspec

from desktop.hardware.nvml import NvmlReader


def main() -> None:
    now = 0.0  # goes on only as it is told
    reader = NvmlReader(clock=lambda: now)
    for line in sys.stdin:
        command, _, argument = line.partition(" ")
        answer: object = None
        if command == "read":
            now += float(argument)
            answer = reader.read()
        elif command.strip() == "close":
            reader.close()
        elif command.strip() == "modules":
            answer = sorted(sys.modules)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


main()
