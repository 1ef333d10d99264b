"""Conversations as they live: sends messages to the engine, collects replies, has everything saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.conversation import (
    Attachment,
    ChatSettings,
    Message,
    MessageState,
    branch,
    children,
    title_of,
    unanswered,
)
from desktop.domain.errors import Failure, FailureCode, failure
from desktop.domain.generation import (
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationRequest,
    ReasoningDelta,
    Role,
    TextDelta,
    ToolCall,
    ToolCalled,
)
from desktop.domain.json_schema import BEGINS_ANEW
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineState, EngineStatus
from desktop.services.library import Library
from desktop.services.reply_saver import ReplySaver
from desktop.services.request_maker import RequestMaker
from desktop.services.running_reply import RunningReply
from desktop.services.tool_desk import ToolDesk, ToolState
from desktop.storage.conversations import ConversationStore


class Chats(QObject):
    """Several conversations may generate at once, each one reply; nothing here waits for the disk or the engine.

    defaults: the settings of conversations that have none of their own.

    Signals:
        text_appended, reasoning_appended: message id, new text and how many tokens it stands for, of a running reply.
    Messages come and change with the signals of the library.
    """

    text_appended = Signal(int, str, int)
    reasoning_appended = Signal(int, str, int)

    def __init__(self, library: Library, host: EngineHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.library = library
        self.tools = ToolDesk(self)
        self.defaults = ChatSettings()
        self._host = host
        self._replies: dict[str, RunningReply] = {}
        self._reloading = False  # the loaded model is about to be replaced: nothing more is sent to it
        self._waiting: list[str] = []  # request ids that wait for a model
        self._requests = RequestMaker(host, self.tools)
        self._saver = ReplySaver(library, self._replies, self)
        self.tools.answered.connect(self._on_tool_answered)
        host.text_received.connect(self._on_text_received)
        host.reasoning_received.connect(self._on_reasoning_received)
        host.tool_called.connect(self._on_tool_called)
        host.generation_finished.connect(self._on_generation_finished)
        host.generation_failed.connect(self._on_generation_failed)
        host.status_changed.connect(self._on_status_changed)
        host.load_refused.connect(self._on_load_refused)

    # reading

    def messages(self, conversation_id: int) -> list[Message]:
        """The branch on screen, from the first message to the last, with the text up to now."""
        live = {reply.id: reply for reply in self._replies.values() if reply.conversation_id == conversation_id}
        path = self.library.branch(conversation_id)
        return [live[message.id].message if message.id in live else message for message in path] if live else path

    def message(self, conversation_id: int, message_id: int) -> Message:
        """One message with its text up to now. KeyError when there is none."""
        for reply in self._replies.values():
            if reply.id == message_id:
                return reply.message
        return self.library.tree(conversation_id)[message_id]

    def settings(self, conversation_id: int | None) -> ChatSettings:
        """Those of the conversation, or the defaults."""
        mine = None if conversation_id is None else self.library.conversation(conversation_id).settings
        return mine or self.defaults

    def is_generating(self, conversation_id: int) -> bool:
        """Whether a reply is being written, or waits for the model."""
        return any(reply.conversation_id == conversation_id for reply in self._replies.values())

    def is_waiting(self, conversation_id: int) -> bool:
        """Whether a reply of this conversation waits for the model to be loaded."""
        return any(self._replies[rid].conversation_id == conversation_id for rid in self._waiting)

    @property
    def generating_count(self) -> int:
        """How many replies are being written or wait."""
        return len(self._replies)

    # acting

    def send(
        self,
        conversation_id: int | None,
        text: str,
        attachments: Sequence[Attachment] = (),
        settings: ChatSettings | None = None,
    ) -> int | None:
        """Add the user's message and begin the reply; None begins a conversation, with these settings.

        Returns the conversation's id. Ignored while the conversation is generating, and for nothing but white space
        without an attachment.
        """
        if not (text.strip() or attachments) or (conversation_id is not None and self.is_generating(conversation_id)):
            return conversation_id
        if conversation_id is None:
            title = title_of([text, *(attachment.name for attachment in attachments)])
            conversation_id = self.library.add_conversation(title, settings=settings)
        leaf = self.library.conversation(conversation_id).leaf_id
        question = self._add(conversation_id, leaf, "user", text, attachments=tuple(attachments))
        self._reply_to(conversation_id, question.id)
        return conversation_id

    def edit(self, conversation_id: int, message_id: int, text: str) -> None:
        """Put another text beside a message, on a branch of its own; to the user's a new reply is written.

        What stood there stays on its branch. The running reply of the conversation is stopped.
        """
        before = self.message(conversation_id, message_id)
        if not text.strip() and not before.attachments:
            return
        self.stop(conversation_id)
        if before.role == "user":
            attachments = before.attachments
            edited = self._add(conversation_id, before.parent_id, "user", text, attachments=attachments)
            self._reply_to(conversation_id, edited.id)
        else:
            self._add(conversation_id, before.parent_id, "assistant", text, model=before.model)

    def regenerate(self, conversation_id: int, message_id: int) -> None:
        """Write another reply beside this one. The running reply of the conversation is stopped."""
        message = self.message(conversation_id, message_id)
        if message.role == "assistant":
            self.stop(conversation_id)
            self._reply_to(conversation_id, message.parent_id)

    def fork(self, conversation_id: int, message_id: int) -> int:
        """Copy the branch up to this message into a conversation of its own; returns its id."""
        path = branch(self.library.tree(conversation_id), message_id)
        return self.library.copy_branch(conversation_id, [self.message(conversation_id, m.id) for m in path])

    def stop(self, conversation_id: int) -> None:
        """Stop the replies of a conversation; what was written stays."""
        for request_id, reply in list(self._replies.items()):
            if reply.conversation_id == conversation_id:
                if request_id in self._waiting:
                    self._end(request_id, MessageState.STOPPED, reason=FinishReason.ABORT)
                else:
                    self._host.cancel(request_id)

    def continue_reply(self, conversation_id: int, message_id: int, *, reload: bool = False) -> None:
        """Go on with a reply that was cut; begins anew when it has no text.

        Loads the model again if need be, or in any case with `reload`.
        """
        message = self.message(conversation_id, message_id)
        if message.role != "assistant" or self.is_generating(conversation_id):
            return
        if reload and self._host.is_ready:
            self._host.reload()
            self._reloading = True
        if message.tool_calls:  # what was cut there was no text
            self.regenerate(conversation_id, message_id)
            return
        if (problem := self._cannot_go_on(message)) is not None and not reload:
            refused = msgspec.structs.replace(message, failure=problem)
            self.library.write(lambda store: store.finish_message(refused))
            self.library.put(refused)
            return
        message = msgspec.structs.replace(
            message, state=MessageState.STREAMING, failure=None, finish_reason=None, model=self._model_name()
        )
        self.library.write(lambda store: store.reopen_message(message_id))
        self.library.put(message)
        self._begin(message)

    def _cannot_go_on(self, message: Message) -> Failure | None:
        """Why the loaded model would not go on with this reply, as far as that can be said before it is asked."""
        info = self._host.status.info
        if not (self._host.is_ready and info and message.content and not info.continues_json):
            return None
        under_schema = self.settings(message.conversation_id).json_schema
        return failure(FailureCode.JSON_NOT_CONTINUED, reason=BEGINS_ANEW) if under_schema else None

    def answer_tool(self, conversation_id: int, message_id: int, call_id: str, result: str, *, failed: bool) -> None:
        """Add the result of a tool call. When it was the last that was missing, the model goes on with them."""
        tree = self.library.tree(conversation_id)
        missing, last = unanswered(tree, message_id)
        if call_id not in {call.id for call in missing} or children(tree, last):
            return  # answered before, or the conversation went on without
        self._add(conversation_id, last, "tool", result, tool_call_id=call_id, tool_failed=failed)
        missing, last = unanswered(tree, message_id)
        if not missing and not self.is_generating(conversation_id):
            self._reply_to(conversation_id, last)

    def tool_states(self, message: Message) -> dict[str, ToolState]:
        """What each call of a reply that has no result waits for, by its id; nothing while a reply is written."""
        tree = self.library.tree(message.conversation_id)
        if message.id not in tree or not message.tool_calls:
            return {}
        missing, last = unanswered(tree, message.id)
        if children(tree, last):
            return {call.id: ToolState.PASSED for call in missing}
        if self.is_generating(message.conversation_id):
            return {}
        return {call.id: self.tools.state(message, call) for call in missing}

    def allow_tool(self, message: Message, call: ToolCall) -> None:
        """Run a call that waits for the user's consent; ignored when it does not, or not any more."""
        if self.tool_states(message).get(call.id) is ToolState.CONSENT:
            self.tools.allow(message, call, self.settings(message.conversation_id))

    def trash(self, conversation_id: int) -> None:
        """Put a conversation into the trash; its replies are stopped."""
        self.stop(conversation_id)
        self.library.trash(conversation_id)

    def request(
        self, conversation_id: int | None, path: Sequence[Message], data_of: Callable[[Attachment], bytes] | None = None
    ) -> GenerationRequest:
        """What the engine would be asked for a reply to these messages. data_of: also knows what is not stored yet."""
        return self._requests.make(self.settings(conversation_id), path, data_of or self.library.data)

    def close(self) -> None:
        """Mark every unfinished reply as interrupted and hand all text to the writer."""
        for request_id in list(self._replies):
            self._end(request_id, MessageState.INTERRUPTED)
        self._saver.stop()

    # inside

    def _add(
        self, conversation_id: int, parent: int | None, role: Role, text: str, *, model: str = "", **more: object
    ) -> Message:
        message = Message(
            id=0,
            conversation_id=conversation_id,
            parent_id=parent,
            role=role,
            content=text,
            created_at=0.0,
            model=model,
        )
        return self.library.add_message(msgspec.structs.replace(message, **more))

    def _reply_to(self, conversation_id: int, parent: int | None) -> None:
        state = MessageState.STREAMING
        self._begin(self._add(conversation_id, parent, "assistant", "", model=self._model_name(), state=state))

    def _model_name(self) -> str:
        info = self._host.status.info
        return info.model_name if info else ""

    def _begin(self, message: Message) -> None:
        conversation_id = message.conversation_id
        request = self.request(conversation_id, branch(self.library.tree(conversation_id), message.id))
        self._replies[request.request_id] = RunningReply(message, request)
        self._saver.start()
        if self._host.is_ready and not self._reloading:
            self._host.generate(request)
        elif self._host.status.state in (EngineState.LOADING, EngineState.STOPPING) or self._host.status.path:
            self._waiting.append(request.request_id)
            if self._host.status.state in (EngineState.UNLOADED, EngineState.FAILED):
                self._host.reload()
        else:
            self._end(request.request_id, MessageState.INTERRUPTED, problem=failure(FailureCode.ENGINE_NOT_READY))
            return
        self.library.touch(conversation_id)

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
            state=state,
            model=reply.message.model or self._model_name(),
            finish_reason=None if reason is None else reply.end_reason(reason),
            stats=reply.whole_stats(finished.stats if finished else None),
            failure=problem,
        )
        self.library.write(lambda store: store.finish_message(message))
        if not self._replies:
            self._saver.stop()
            self.library.write(ConversationStore.settle)
        self.library.put(message)
        if self.library.has(message.conversation_id):
            self.library.touch(message.conversation_id)
            if state is MessageState.COMPLETE and message.tool_calls:
                self.tools.begin(message, self.settings(message.conversation_id), self._rounds(message))

    def _rounds(self, message: Message) -> int:
        """How many replies with tool calls there are since the user's last message."""
        rounds = 0
        for before in reversed(branch(self.library.tree(message.conversation_id), message.id)):
            if before.role == "user":
                break
            rounds += bool(before.tool_calls)
        return rounds

    @Slot(object)
    def _on_text_received(self, event: TextDelta) -> None:
        if (reply := self._replies.get(event.request_id)) is not None:
            reply.content.append(event.text)
            self.text_appended.emit(reply.id, event.text, event.tokens)

    @Slot(object)
    def _on_reasoning_received(self, event: ReasoningDelta) -> None:
        if (reply := self._replies.get(event.request_id)) is not None:
            reply.reasoning.append(event.text)
            self.reasoning_appended.emit(reply.id, event.text, event.tokens)

    @Slot(object)
    def _on_tool_called(self, event: ToolCalled) -> None:
        if (reply := self._replies.get(event.request_id)) is not None:
            reply.tool_calls.append(event.call)
            self.library.put(reply.message)

    @Slot(object)
    def _on_generation_finished(self, event: GenerationFinished) -> None:
        if event.request_id in self._replies:
            stopped = event.reason is FinishReason.ABORT
            state = MessageState.STOPPED if stopped else MessageState.COMPLETE
            self._end(event.request_id, state, reason=event.reason, finished=event)

    @Slot(object)
    def _on_generation_failed(self, event: GenerationFailed) -> None:
        reply = self._replies.get(event.request_id)
        if reply is None:
            return
        # Sent in the moment in which another load began, it met no model: it waits for the next one, once.
        unlucky = event.failure.code is FailureCode.ENGINE_NOT_READY and not reply.sent_again
        if unlucky and self._host.status.state in (EngineState.STOPPING, EngineState.LOADING, EngineState.READY):
            reply.sent_again = True
            if self._host.is_ready:
                self._host.generate(reply.request)
            else:
                self._waiting.append(event.request_id)
        else:
            self._end(event.request_id, MessageState.INTERRUPTED, problem=event.failure)

    @Slot(object, str, str, bool)
    def _on_tool_answered(self, message: Message, call_id: str, result: str, failed: bool) -> None:
        if self.library.has(message.conversation_id):
            self.answer_tool(message.conversation_id, message.id, call_id, result, failed=failed)

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        self._reloading = False
        if status.state is EngineState.READY:
            self._send_waiting()
        elif status.state in (EngineState.FAILED, EngineState.UNLOADED):
            self._end_waiting(status.failure or failure(FailureCode.ENGINE_NOT_READY))

    @Slot(object)
    def _on_load_refused(self, problem: Failure) -> None:
        self._reloading = False
        if self._host.is_ready:
            self._send_waiting()
        elif self._host.status.state in (EngineState.FAILED, EngineState.UNLOADED):
            self._end_waiting(problem)

    def _end_waiting(self, problem: Failure) -> None:
        for request_id in list(self._waiting):
            self._end(request_id, MessageState.INTERRUPTED, problem=problem)

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for request_id in waiting:
            self._host.generate(self._replies[request_id].request)
