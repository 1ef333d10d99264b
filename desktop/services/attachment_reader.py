"""Reads what the user attaches, in a thread: a large picture or PDF must not hold up the window."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from desktop.domain.conversation import Attachment
from desktop.domain.errors import FailureCode, TurbodeskError, failure


class AttachmentReader(QObject):
    """One thread a file; nobody waits for it at the end of the program.

    Signals:
        attachment_read: the number that read() gave, an Attachment, its bytes.
        reading_failed: the number, the Failure.
    """

    attachment_read = Signal(int, object, bytes)
    reading_failed = Signal(int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._count = 0

    def read(self, path: str) -> int:
        """Read a file; returns the number its answer will bear."""
        from desktop.storage.attachments import read_attachment

        return self._start(lambda: read_attachment(Path(path)))

    def read_image(self, data: bytes, name: str) -> int:
        """Take in an encoded picture, as from the clipboard; returns the number its answer will bear."""
        from desktop.storage.attachments import image_from_bytes

        return self._start(lambda: image_from_bytes(data, name))

    def read_text(self, text: str, name: str) -> int:
        """Take in a text, as from the clipboard; returns the number its answer will bear."""
        from desktop.storage.attachments import text_from_string

        return self._start(lambda: text_from_string(text, name))

    def _start(self, work: Callable[[], tuple[Attachment, bytes]]) -> int:
        self._count += 1
        threading.Thread(target=self._work, args=(self._count, work), name="read-attachment", daemon=True).start()
        return self._count

    def _work(self, number: int, work: Callable[[], tuple[Attachment, bytes]]) -> None:
        try:
            try:
                attachment, data = work()
            except TurbodeskError as problem:
                self.reading_failed.emit(number, problem.failure)
            except Exception as problem:
                detail = traceback.format_exc()
                self.reading_failed.emit(number, failure(FailureCode.INTERNAL, reason=problem, detail=detail))
            else:
                self.attachment_read.emit(number, attachment, data)
        except RuntimeError:  # the window has gone
            return
