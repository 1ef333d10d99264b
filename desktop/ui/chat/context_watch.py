"""Keeps the context meter true: counts the open conversation with the draft, and adds what is being written."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Slot

from desktop.domain.conversation import Message, MessageState
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.ui.chat.context_meter import ContextMeter
from desktop.ui.chat.reply_meter import ReplyMeter

_PAUSE_MILLISECONDS = 300


class ContextWatch(QObject):
    """The engine counts, with its tokenizer and chat template; one count at a time, a moment after the last change."""

    def __init__(
        self, chats: Chats, host: EngineHost, meter: ReplyMeter, shown: ContextMeter, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._chats = chats
        self._host = host
        self._meter = meter
        self._shown = shown
        self._current: int | None = None
        self._draft = ""
        self._counted = 0
        self._file_tokens = 0
        self._asked = ""  # id of the request that is being counted
        self._changed = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MILLISECONDS)
        self._pause.timeout.connect(self._count)
        host.tokens_counted.connect(self._on_tokens_counted)
        host.status_changed.connect(self.recount)
        chats.library.message_changed.connect(self._on_message_changed)
        chats.library.message_added.connect(self._on_message_changed)
        chats.library.branch_changed.connect(self._on_branch_changed)
        meter.ticked.connect(self._show)

    def set_conversation(self, conversation_id: int | None) -> None:
        """Which conversation is open; None for a chat that is not begun."""
        self._current = conversation_id
        self._counted = 0
        self._show()
        self.recount()

    def set_draft(self, text: str) -> None:
        """What is being typed."""
        if text != self._draft:
            self._draft = text
            self.recount()

    @Slot(int)
    def set_file_tokens(self, tokens: int) -> None:
        """What the files of the draft take."""
        self._file_tokens = tokens
        self._show()

    @Slot()
    def recount(self) -> None:
        """Count again in a moment."""
        if not self._host.is_ready:
            self._asked = ""
            self._show()
        elif self._asked:
            self._changed = True
        else:
            self._pause.start()

    @Slot()
    def _count(self) -> None:
        if not self._host.is_ready:
            return
        path = [] if self._current is None else self._chats.messages(self._current)
        if path and path[-1].state is MessageState.STREAMING:
            path = path[:-1]
        if self._draft.strip():
            draft = Message(id=0, conversation_id=0, parent_id=None, role="user", content=self._draft, created_at=0.0)
            path = [*path, draft]
        if not path:
            self._counted = 0
            self._show()
            return
        self._changed = False
        request = self._chats.request(self._current, path)
        self._asked = request.request_id
        self._host.count_tokens(request)

    @Slot(str, int)
    def _on_tokens_counted(self, request_id: str, count: int) -> None:
        if request_id == self._asked:
            self._asked = ""
            self._counted = count
            self._show()
            if self._changed:
                self._pause.start()

    @Slot()
    def _show(self) -> None:
        info = self._host.status.info
        running = 0
        if self._current is not None and self._chats.is_generating(self._current):
            last = self._chats.library.conversation(self._current).leaf_id
            running = self._meter.reply(last)[0] if last is not None else 0
        counted = self._counted + self._file_tokens
        self._shown.show_tokens(counted, running, info.context_length if info and self._host.is_ready else 0)

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if message.conversation_id == self._current and message.state is not MessageState.STREAMING:
            self.recount()

    @Slot(int)
    def _on_branch_changed(self, conversation_id: int) -> None:
        if conversation_id == self._current:
            self.recount()
