"""Conversations as they live: sends messages to the engine, collects replies, has everything saved."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from desktop.domain.conversation import Conversation, Message, MessageState, branch, prompt_of, title_of
from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.generation import (
    ChatMessage,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    Role,
    SamplingParams,
    TextDelta,
)
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.store_writer import StoreWriter
from desktop.storage.conversations import ConversationStore

SAVE_MILLISECONDS = 200


class _Reply:
    """A reply that is being written: its text so far, and the part not yet handed to the writer."""

    def __init__(self, message: Message, request: GenerationRequest) -> None:
        self.message = message
        self.request = request
        self.chunks: list[str] = [message.content] if message.content else []
        self.unsaved: list[str] = []

    @property
    def text(self) -> str:
        if len(self.chunks) > 1:
            self.chunks = ["".join(self.chunks)]
        return self.chunks[0] if self.chunks else ""


class Chats(QObject):
    """All conversations. Several may generate at once; nothing here waits for the disk or the engine.

    Signals:
        conversation_added, conversation_changed: a Conversation. conversation_removed: its id.
        message_added, message_changed: a Message with its text up to now.
        text_appended: message id, new text and how many tokens it stands for, of a reply that is being written.
    """

    conversation_added = Signal(object)
    conversation_changed = Signal(object)
    conversation_removed = Signal(int)
    message_added = Signal(object)
    message_changed = Signal(object)
    text_appended = Signal(int, str, int)

    def __init__(
        self,
        store: ConversationStore,
        writer: StoreWriter,
        host: EngineHost,
        now: Callable[[], float] = time.time,
        parent: QObject | None = None,
    ) -> None:
        """store: for reading, in this thread; all writes go through writer. Ids are given out here, which is
        right as long as this is the only window on the database (InstanceLock)."""
        super().__init__(parent)
        self._store = store
        self._writer = writer
        self._host = host
        self._now = now
        self.params = SamplingParams()
        self.system_prompt = ""
        self._conversations = {conversation.id: conversation for conversation in store.conversations()}
        self._messages: dict[int, dict[int, Message]] = {}
        self._next_conversation, self._next_message = store.next_ids()
        self._replies: dict[str, _Reply] = {}
        self._waiting: list[str] = []  # request ids that wait for a model
        self._request_count = 0
        self._save_timer = QTimer(self)
        self._save_timer.setInterval(SAVE_MILLISECONDS)
        self._save_timer.timeout.connect(self._save_unsaved)
        host.text_received.connect(self._on_text_received)
        host.generation_finished.connect(self._on_generation_finished)
        host.generation_failed.connect(self._on_generation_failed)
        host.status_changed.connect(self._on_status_changed)

    # reading

    def conversations(self) -> list[Conversation]:
        """All conversations, the last used first."""
        return sorted(self._conversations.values(), key=lambda c: (c.updated_at, c.id), reverse=True)

    def conversation(self, conversation_id: int) -> Conversation:
        """One conversation. KeyError when there is none."""
        return self._conversations[conversation_id]

    def messages(self, conversation_id: int) -> list[Message]:
        """The branch on screen, from the first message to the last, with the text up to now."""
        leaf = self._conversations[conversation_id].leaf_id
        return branch(self._with_live_text(conversation_id), leaf)

    def message(self, conversation_id: int, message_id: int) -> Message:
        """One message with its text up to now. KeyError when there is none."""
        return self._with_live_text(conversation_id)[message_id]

    def is_generating(self, conversation_id: int) -> bool:
        """Whether a reply is being written, or waits for the model."""
        return any(reply.message.conversation_id == conversation_id for reply in self._replies.values())

    def is_waiting(self, conversation_id: int) -> bool:
        """Whether a reply of this conversation waits for the model to be loaded."""
        return any(self._replies[rid].message.conversation_id == conversation_id for rid in self._waiting)

    @property
    def generating_count(self) -> int:
        """How many replies are being written or wait."""
        return len(self._replies)

    # acting

    def send(self, conversation_id: int | None, text: str) -> int | None:
        """Add the user's message and begin the reply; None begins a conversation. Returns the conversation's id.

        Ignored while the conversation is generating, and for text of white space only.
        """
        if not text.strip() or (conversation_id is not None and self.is_generating(conversation_id)):
            return conversation_id
        if conversation_id is None:
            conversation_id = self._new_conversation(title_of([text]))
        leaf = self._conversations[conversation_id].leaf_id
        question = self._add(conversation_id, leaf, "user", text, MessageState.COMPLETE)
        reply = self._add(conversation_id, question.id, "assistant", "", MessageState.STREAMING)
        self._begin(reply)
        return conversation_id

    def stop(self, conversation_id: int) -> None:
        """Stop the replies of a conversation; what was written stays."""
        for request_id, reply in list(self._replies.items()):
            if reply.message.conversation_id == conversation_id:
                if request_id in self._waiting:
                    self._end(request_id, MessageState.STOPPED, reason=FinishReason.ABORT)
                else:
                    self._host.cancel(request_id)

    def continue_reply(self, conversation_id: int, message_id: int) -> None:
        """Go on with a reply that was cut; begins anew when it has no text. Loads the model again if need be."""
        message = self._load(conversation_id)[message_id]
        if message.role != "assistant" or self.is_generating(conversation_id):
            return
        message = msgspec.structs.replace(
            message, state=MessageState.STREAMING, failure=None, finish_reason=None, model=self._model_name()
        )
        self._put(message)
        self._writer.post(lambda store: store.reopen_message(message_id))
        self.message_changed.emit(message)
        self._begin(message)

    def rename(self, conversation_id: int, title: str) -> None:
        """Give a conversation another title; an empty one is ignored."""
        title = " ".join(title.split())
        if title:
            self._change(msgspec.structs.replace(self._conversations[conversation_id], title=title))
            self._writer.post(lambda store: store.rename(conversation_id, title))

    def delete(self, conversation_id: int) -> None:
        """Delete a conversation with all its messages; its replies are stopped."""
        self.stop(conversation_id)
        for request_id, reply in list(self._replies.items()):
            if reply.message.conversation_id == conversation_id:
                del self._replies[request_id]  # late events find no reply
                if request_id in self._waiting:
                    self._waiting.remove(request_id)
        if not self._replies:
            self._save_timer.stop()
        del self._conversations[conversation_id]
        self._messages.pop(conversation_id, None)
        self._writer.post(lambda store: store.delete(conversation_id))
        self.conversation_removed.emit(conversation_id)

    def close(self) -> None:
        """Mark every unfinished reply as interrupted and hand all text to the writer."""
        for request_id in list(self._replies):
            self._end(request_id, MessageState.INTERRUPTED)
        self._save_timer.stop()

    # inside

    def _load(self, conversation_id: int) -> dict[int, Message]:
        if conversation_id not in self._messages:
            self._messages[conversation_id] = self._store.messages(conversation_id)
        return self._messages[conversation_id]

    def _with_live_text(self, conversation_id: int) -> dict[int, Message]:
        messages = self._load(conversation_id)
        live = {
            reply.message.id: msgspec.structs.replace(reply.message, content=reply.text)
            for reply in self._replies.values()
            if reply.message.conversation_id == conversation_id
        }
        return {**messages, **live} if live else messages

    def _new_conversation(self, title: str) -> int:
        conversation = Conversation(
            id=self._next_conversation, title=title, created_at=self._now(), updated_at=self._now()
        )
        self._next_conversation += 1
        self._conversations[conversation.id] = conversation
        self._messages[conversation.id] = {}
        self._writer.post(lambda store: store.add_conversation(conversation))
        self.conversation_added.emit(conversation)
        return conversation.id

    def _add(self, conversation_id: int, parent: int | None, role: Role, text: str, state: MessageState) -> Message:
        self._load(conversation_id)
        message = Message(
            id=self._next_message,
            conversation_id=conversation_id,
            parent_id=parent,
            role=role,
            content=text,
            state=state,
            created_at=self._now(),
            model=self._model_name() if role == "assistant" else "",
        )
        self._next_message += 1
        self._put(message)
        self._writer.post(lambda store: store.add_message(message))
        conversation = self._conversations[conversation_id]
        self._change(msgspec.structs.replace(conversation, leaf_id=message.id, updated_at=message.created_at))
        self.message_added.emit(message)
        return message

    def _put(self, message: Message) -> None:
        self._messages[message.conversation_id][message.id] = message

    def _change(self, conversation: Conversation) -> None:
        self._conversations[conversation.id] = conversation
        self.conversation_changed.emit(conversation)

    def _model_name(self) -> str:
        info = self._host.status.info
        return info.model_name if info else ""

    def _begin(self, message: Message) -> None:
        path = branch(self._load(message.conversation_id), message.id)
        prompt = prompt_of(path)
        if self.system_prompt:
            prompt = (ChatMessage("system", self.system_prompt), *prompt)
        self._request_count += 1
        request = GenerationRequest(
            request_id=f"{message.id}.{self._request_count}", messages=prompt, params=self.params
        )
        self._replies[request.request_id] = _Reply(message, request)
        self._save_timer.start()
        if self._host.is_ready:
            self._host.generate(request)
        elif self._host.status.state in (EngineState.LOADING, EngineState.STOPPING) or self._host.status.path:
            self._waiting.append(request.request_id)
            if self._host.status.state in (EngineState.UNLOADED, EngineState.FAILED):
                self._host.reload()
        else:
            self._end(request.request_id, MessageState.INTERRUPTED, problem=failure(FailureCode.ENGINE_NOT_READY))
            return
        self._change(self._conversations[message.conversation_id])

    def _end(
        self,
        request_id: str,
        state: MessageState,
        *,
        reason: FinishReason | None = None,
        finished: GenerationFinished | None = None,
        problem: Failure | None = None,
    ) -> None:
        reply = self._replies.pop(request_id)
        if request_id in self._waiting:
            self._waiting.remove(request_id)
        message = msgspec.structs.replace(
            reply.message,
            content=reply.text,
            state=state,
            model=reply.message.model or self._model_name(),
            finish_reason=reason,
            stats=finished.stats if finished else None,
            failure=problem,
        )
        self._put(message)
        self._writer.post(lambda store: store.finish_message(message))
        if not self._replies:
            self._save_timer.stop()
            self._writer.post(ConversationStore.settle)
        self.message_changed.emit(message)
        self._change(self._conversations[message.conversation_id])

    @Slot()
    def _save_unsaved(self) -> None:
        for reply in self._replies.values():
            if reply.unsaved:
                message_id, text = reply.message.id, "".join(reply.unsaved)
                reply.unsaved.clear()
                self._writer.post(lambda store, m=message_id, t=text: store.append_text(m, t))  # type: ignore[misc]

    @Slot(object)
    def _on_text_received(self, event: TextDelta) -> None:
        reply = self._replies.get(event.request_id)
        if reply is not None:
            reply.chunks.append(event.text)
            reply.unsaved.append(event.text)
            self.text_appended.emit(reply.message.id, event.text, event.tokens)

    @Slot(object)
    def _on_generation_finished(self, event: GenerationFinished) -> None:
        if event.request_id in self._replies:
            stopped = event.reason is FinishReason.ABORT
            state = MessageState.STOPPED if stopped else MessageState.COMPLETE
            self._end(event.request_id, state, reason=event.reason, finished=event)

    @Slot(object)
    def _on_generation_failed(self, event: GenerationFailed) -> None:
        if event.request_id in self._replies:
            self._end(event.request_id, MessageState.INTERRUPTED, problem=event.failure)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        if status.state is EngineState.READY:
            waiting, self._waiting = self._waiting, []
            for request_id in waiting:
                self._host.generate(self._replies[request_id].request)
        elif status.state in (EngineState.FAILED, EngineState.UNLOADED):
            problem = status.failure or failure(FailureCode.ENGINE_NOT_READY)
            for request_id in list(self._waiting):
                self._end(request_id, MessageState.INTERRUPTED, problem=problem)
