"""Says how full the context is with the open conversation and the draft, and what of it the model will not read."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from desktop.domain.context_window import PromptSize, turn_starts
from desktop.domain.conversation import Message, MessageState
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.ui.chat.context_meter import ContextMeter
from desktop.ui.chat.draft_files import DraftFiles
from desktop.ui.chat.reply_meter import ReplyMeter

_PAUSE_MILLISECONDS = 300


class ContextWatch(QObject):
    """The engine counts, with its tokenizer and chat template; one count at a time, a moment after the last change.

    Signals:
        left_out_changed: the id of the last message that the model would not read; None when it would read all.
    """

    left_out_changed = Signal(object)

    def __init__(
        self,
        chats: Chats,
        host: EngineHost,
        meter: ReplyMeter,
        files: DraftFiles,
        shown: ContextMeter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._chats = chats
        self._host = host
        self._meter = meter
        self._files = files
        self._shown = shown
        self._current: int | None = None
        self._draft = ""
        self._tokens = 0
        self._left_out: list[int] = []  # ids of messages
        self._asked = ""  # id of the request that is being counted
        self._asked_path: list[Message] = []
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
        files.changed.connect(self.recount)
        meter.ticked.connect(self._show)

    def set_conversation(self, conversation_id: int | None) -> None:
        """Which conversation is open; None for a chat that is not begun."""
        self._current = conversation_id
        self._asked = ""  # the answer would be about the one before
        self._take(0, [])
        self.recount()

    def set_draft(self, text: str) -> None:
        """What is being typed."""
        if text != self._draft:
            self._draft = text
            self.recount()

    @Slot()
    def recount(self) -> None:
        """Count again in a moment."""
        if not self._host.is_ready:
            self._asked = ""
            self._take(0, [])
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
        attachments = self._files.attachments
        if self._draft.strip() or attachments:
            draft = Message(id=0, conversation_id=0, parent_id=None, role="user", content=self._draft, created_at=0.0)
            path = [*path, msgspec.structs.replace(draft, attachments=attachments)]
        if not path:
            self._take(0, [])
            return
        self._changed = False
        request = self._chats.request(self._current, path, self._files.data)
        self._asked, self._asked_path = request.request_id, path
        self._host.count_tokens(request)

    @Slot(str, object)
    def _on_tokens_counted(self, request_id: str, size: PromptSize | None) -> None:
        if request_id != self._asked:
            return
        self._asked = ""
        if size is not None:
            starts = turn_starts([message.role for message in self._asked_path])
            first, end = (starts[0], starts[size.turns_left_out]) if size.turns_left_out else (0, 0)
            self._take(size.tokens, [message.id for message in self._asked_path[first:end]])
        if self._changed:
            self._pause.start()

    def _take(self, tokens: int, left_out: list[int]) -> None:
        before, self._left_out = self._left_out, left_out
        self._tokens = tokens
        self._show()
        if before[-1:] != left_out[-1:]:
            self.left_out_changed.emit(left_out[-1] if left_out else None)

    @Slot()
    def _show(self) -> None:
        info = self._host.status.info
        running = 0
        if self._current is not None and self._chats.is_generating(self._current):
            last = self._chats.library.conversation(self._current).leaf_id
            running = self._meter.reply(last)[0] if last is not None else 0
        limit = info.context_length if info and self._host.is_ready else 0
        self._shown.show_tokens(self._tokens, running, limit, len(self._left_out))

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if message.conversation_id == self._current and message.state is not MessageState.STREAMING:
            self.recount()

    @Slot(int)
    def _on_branch_changed(self, conversation_id: int) -> None:
        if conversation_id == self._current:
            self.recount()
