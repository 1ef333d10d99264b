"""Hands what is new of the replies that are being written to the writer, several times a second."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from PySide6.QtCore import QObject, QTimer, Slot

from desktop.services.library import Library
from desktop.services.running_reply import RunningReply
from desktop.storage.conversations import ConversationStore

SAVE_MILLISECONDS = 200


class ReplySaver(QObject):
    """replies: those that are being written, as they are at each moment."""

    def __init__(self, library: Library, replies: Mapping[str, RunningReply], parent: QObject) -> None:
        super().__init__(parent)
        self._library = library
        self._replies = replies
        self._timer = QTimer(self)
        self._timer.setInterval(SAVE_MILLISECONDS)
        self._timer.timeout.connect(self._on_due)

    def start(self) -> None:
        """Save from now on."""
        self._timer.start()

    def stop(self) -> None:
        """Save no more."""
        self._timer.stop()

    @Slot()
    def _on_due(self) -> None:
        for reply in self._replies.values():
            if text := reply.reasoning.take_unsaved():
                self._library.write(partial(_append_reasoning, reply.id, text))
            if text := reply.content.take_unsaved():
                self._library.write(partial(_append_text, reply.id, text))


def _append_text(message_id: int, text: str, store: ConversationStore) -> None:
    store.append_text(message_id, text)


def _append_reasoning(message_id: int, text: str, store: ConversationStore) -> None:
    store.append_reasoning(message_id, text)
