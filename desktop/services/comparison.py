"""One prompt to two settings: two conversations, and the first point where their replies part."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from PySide6.QtCore import QObject, Signal, Slot

from desktop.domain.conversation import ChatSettings, Message, MessageState
from desktop.domain.engine_config import EngineConfig
from desktop.domain.generation import FinishReason
from desktop.domain.server_address import server_model
from desktop.services.chats import Chats
from desktop.services.engine_host import EngineHost
from desktop.services.engine_status import EngineStatus

_TITLES = ("A", "B")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. config: the model is loaded anew with it; None: it stays as it is loaded."""

    settings: ChatSettings
    config: EngineConfig | None = None


class Comparison(QObject):
    """Both sides at once when neither needs another load; else the second begins when the first has ended.

    Signals:
        begun: which side (0 or 1) has got its conversation.
        changed: a reply has grown or ended; read `parting`.
        ended: both replies have ended, or the comparison was stopped.
    """

    begun = Signal(int)
    changed = Signal()
    ended = Signal()

    def __init__(self, chats: Chats, host: EngineHost, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chats = chats
        self._host = host
        self._prompt = ""
        self._sides: tuple[Side, ...] = ()
        self._conversations: list[int] = []
        self._replies: list[int] = []  # message ids
        self._usual: EngineConfig | None = None
        self._running = False
        self._loading: int | None = None  # the side whose load has not begun yet
        chats.text_appended.connect(self._on_text_appended)
        chats.library.message_changed.connect(self._on_message_changed)
        chats.library.conversation_removed.connect(self._on_conversation_removed)
        host.status_changed.connect(self._on_status_changed)
        host.load_refused.connect(self._on_load_refused)

    @property
    def is_running(self) -> bool:
        """Whether a reply is still to come or to end."""
        return self._running

    def conversation(self, side: int) -> int | None:
        """The conversation of a side, once it has begun."""
        return self._conversations[side] if side < len(self._conversations) else None

    def refusal(self, left: Side, right: Side) -> str:
        """Why these cannot be compared now, in a sentence; "" when they can."""
        if self._running:
            return "The comparison before is still running."
        if (left.config or right.config) and server_model(self._host.status.path) is not None:
            return "The model runs on a server, which has its own precision. Compare two settings of a conversation."
        if (left.config or right.config) and self._chats.generating_count:
            return "Other replies are being written, and would be cut off when the model is loaded anew. Wait for them."
        return ""

    def start(self, prompt: str, left: Side, right: Side, usual: EngineConfig) -> None:
        """Ask both. usual: the configuration of loads that come afterwards."""
        self._prompt = prompt
        self._sides = left, right
        self._conversations, self._replies = [], []
        self._usual = usual
        self._running = True
        self._ask(0)
        if left.config is None and right.config is None:
            self._ask(1)

    def stop(self) -> None:
        """Stop what is being written; what there is stays."""
        self._running = False
        self._loading = None
        for conversation in self._conversations:
            if self._chats.library.has(conversation):
                self._chats.stop(conversation)
        self._finish()

    @property
    def parting(self) -> int | None:
        """After how many characters the replies part; None while one may still be the beginning of the other."""
        if len(self._replies) < 2:
            return None
        left, right = (self._reply(side) for side in (0, 1))
        if left is None or right is None:
            return None
        length = common_length(left.content, right.content)
        both_go_on = length < len(left.content) and length < len(right.content)
        ended = MessageState.STREAMING not in (left.state, right.state)
        return length if both_go_on or (ended and left.content != right.content) else None

    @property
    def are_same(self) -> bool:
        """Whether both replies are whole and word for word the same."""
        left, right = self._reply(0), self._reply(1)
        if left is None or right is None:
            return False
        return left.state is right.state is MessageState.COMPLETE and left.content == right.content

    def text(self, side: int) -> str:
        """What a side has written so far."""
        reply = self._reply(side)
        return reply.content if reply is not None else ""

    def is_whole(self, side: int) -> bool:
        """Whether a side's reply ended by itself, and was not cut off."""
        reply = self._reply(side)
        return (
            reply is not None
            and reply.state is MessageState.COMPLETE
            and reply.finish_reason not in (FinishReason.LENGTH, FinishReason.CUT_JSON)
        )

    def reply_id(self, side: int) -> int | None:
        """The message that a side writes."""
        return self._replies[side] if side < len(self._replies) else None

    def _reply(self, side: int) -> Message | None:
        if side >= len(self._replies) or not self._chats.library.has(self._conversations[side]):
            return None
        return self._chats.message(self._conversations[side], self._replies[side])

    def _ask(self, side: int) -> None:
        config = self._sides[side].config
        if config is None or (self._host.is_ready and _same(self._host.status.config, config)):
            self._send(side)
        else:
            self._loading = side
            self._host.set_config(config)
            self._host.reload()

    @Slot(object)
    def _on_status_changed(self, status: EngineStatus) -> None:
        # Not before the load has begun: a message sent sooner would still go to the model that is about to end.
        if self._loading is not None and _same(status.config, self._sides[self._loading].config):
            side, self._loading = self._loading, None
            self._send(side)

    @Slot()
    def _on_load_refused(self) -> None:
        if self._loading is not None:
            self.stop()

    def _send(self, side: int) -> None:
        conversation = self._chats.send(None, self._prompt, settings=self._sides[side].settings)
        if conversation is None:
            return
        title = self._chats.library.conversation(conversation).title
        self._chats.library.rename(conversation, f"{_TITLES[side]}: {title}")
        self._conversations.append(conversation)
        self._replies.append(self._chats.messages(conversation)[-1].id)
        self.begun.emit(side)

    @Slot(int, str, int)
    def _on_text_appended(self, message_id: int, _text: str, _tokens: int) -> None:
        if message_id in self._replies:
            self.changed.emit()

    @Slot(object)
    def _on_message_changed(self, message: Message) -> None:
        if not self._running or message.id not in self._replies or message.state is MessageState.STREAMING:
            return
        if len(self._replies) == 1 and len(self._sides) == 2:
            self._ask(1)
        elif all(self._state(side) is not MessageState.STREAMING for side in (0, 1)):
            self._running = False
            self._finish()
        self.changed.emit()

    @Slot(int)
    def _on_conversation_removed(self, conversation_id: int) -> None:
        if conversation_id in self._conversations and self._running:
            self.stop()

    def _state(self, side: int) -> MessageState | None:
        reply = self._reply(side)
        return reply.state if reply is not None else None

    def _finish(self) -> None:
        if self._usual is not None:
            self._host.set_config(self._usual)
        self.ended.emit()


def common_length(left: str, right: str) -> int:
    """How many characters two texts begin with in common."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    low, high = 0, most  # they are equal up to low, and not up to high
    while high - low > 1:
        middle = (low + high) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle
    return low


def _same(config: EngineConfig, wanted: EngineConfig | None) -> bool:
    """Whether a load has the wanted configuration. Trust is the model's, and the names of cards are the machine's."""
    return wanted is not None and config == msgspec.structs.replace(
        wanted, trust_remote_code=config.trust_remote_code, card_uuids=config.card_uuids
    )


def with_kv_precision(config: EngineConfig, bits: int) -> EngineConfig:
    """The configuration with a KV cache of 16, 8 or 4 bits."""
    return msgspec.structs.replace(config, quant_policy=0 if bits == 16 else bits)
