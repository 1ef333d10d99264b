"""Asks LMDeploy in a child process which engine runs a checkpoint; one child for many, killed when it hangs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from desktop.domain.engine_support import EngineSupport
from desktop.domain.errors import FailureCode, error
from desktop.engine.support_child import Question

START_SECONDS = 180.0  # LMDeploy from a cold disk
FOLDER_SECONDS = 30.0
_WAIT_SECONDS = 0.2
_ANSWER_LIMIT = 1 << 20  # bytes
_ROOT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-m", "desktop.engine.support_child")


class SupportAsker:
    """Blocks: for a thread of its own. lmdeploy: the version that answers, for what could not be answered.

    command: what to start; start_seconds, folder_seconds: how long to wait for the child and for one answer.
    """

    def __init__(
        self,
        lmdeploy: str,
        command: Sequence[str] = _COMMAND,
        start_seconds: float = START_SECONDS,
        folder_seconds: float = FOLDER_SECONDS,
    ) -> None:
        self._lmdeploy = lmdeploy
        self._command = tuple(command)
        self._start_seconds = start_seconds
        self._folder_seconds = folder_seconds

    def ask(
        self, folders: Iterable[str], is_cancelled: Callable[[], bool] = lambda: False, quantizer: bool = False
    ) -> Iterator[tuple[str, EngineSupport]]:
        """Each folder with its answer, as they come; ends early when cancelled. quantizer: ask about that too.

        A folder that makes the child hang or crash gets a sentence, and the next one a new child. Raises TurbodeskError
        (engine_died) when LMDeploy does not start at all.
        """
        child: _Child | None = None
        try:
            for folder in folders:
                if is_cancelled():
                    return
                if child is None:
                    child = _Child(self._command)
                    if child.read(self._start_seconds, is_cancelled) is None and not is_cancelled():
                        raise error(
                            FailureCode.ENGINE_DIED,
                            when="when it was to say which models run",
                            reason=child.why,
                            detail=child.last_words(),
                        )
                answer = child.ask(Question(os.fsencode(folder), quantizer), self._folder_seconds, is_cancelled)
                if answer is None:
                    if is_cancelled():
                        return
                    answer = EngineSupport(
                        lmdeploy=self._lmdeploy, failure=f"LMDeploy cannot judge this model: {child.why}."
                    )
                    child.end()
                    child = None
                yield folder, answer
        finally:
            if child is not None:
                child.end()


class _Child:
    """why: what became of it, after an answer that is None."""

    def __init__(self, command: Sequence[str]) -> None:
        self.why = ""
        self._rest = b""
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=_ROOT,  # so that no library is picked up from the user's folder
            start_new_session=True,
        )

    def ask(self, question: Question, seconds: float, is_cancelled: Callable[[], bool]) -> EngineSupport | None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(question) + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.why = self._end_in_words()
            return None
        return self.read(seconds, is_cancelled)

    def read(self, seconds: float, is_cancelled: Callable[[], bool]) -> EngineSupport | None:
        """The next answer; None when there is none in time, or when cancelled."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or is_cancelled():
                self.why = f"it did not answer within {seconds:g} s"
                return None
            if not select.select([self._process.stdout], [], [], min(left, _WAIT_SECONDS))[0]:
                continue
            some = os.read(self._process.stdout.fileno(), 1 << 16)
            self._rest += some
            if not some or len(self._rest) > _ANSWER_LIMIT:
                self.why = self._end_in_words()
                return None
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=EngineSupport)
        except (msgspec.MsgspecError, ValueError):
            self.why = "its answer was not one"
            return None

    def last_words(self) -> str:
        """The end of what it printed."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4000))
        return self._log.read().decode(errors="replace")

    def end(self) -> None:
        """Kill it and what it started."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            assert stream is not None
            with contextlib.suppress(OSError):  # a pipe with a question that nobody read
                stream.close()

    def _end_in_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        return "it stopped answering" if code is None else f"its process ended with exit code {code}"
