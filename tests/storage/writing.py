"""Adds conversations and messages to a store as the window does: with ids counted on from the store's own."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from desktop.domain.conversation import (
    Attachment,
    ChatSettings,
    Conversation,
    Folder,
    Message,
    MessageState,
    WhenFull,
)
from desktop.domain.errors import FailureCode, failure
from desktop.domain.generation import FinishReason, GenerationStats, Role, SamplingParams, ToolCall
from desktop.storage.conversations import ConversationStore

DATA = b"\x00 data"
ATTACHMENT = Attachment(
    id=hashlib.sha256(DATA).hexdigest(), name="a`b\n.txt", kind="text", media_type="text/plain", size=6
)


def new_conversation(store: ConversationStore, title: str) -> Conversation:
    """Add a conversation, as of now."""
    now = time.time()
    conversation = Conversation(id=store.next_ids()[0], title=title, created_at=now, updated_at=now)
    store.add_conversation(conversation)
    return conversation


def new_message(
    store: ConversationStore,
    conversation_id: int,
    parent_id: int | None,
    role: Role,
    content: str,
    state: MessageState = MessageState.COMPLETE,
    model: str = "",
) -> Message:
    """Add a message, as of now."""
    message = Message(
        id=store.next_ids()[1],
        conversation_id=conversation_id,
        parent_id=parent_id,
        role=role,
        content=content,
        state=state,
        created_at=time.time(),
        model=model,
    )
    store.add_message(message)
    return message


def fill(store: ConversationStore) -> None:
    """Two folders, three conversations: one with everything there is, one empty, one in the trash."""
    store.add_folder(Folder(id=1, name="Empty"))
    store.add_folder(Folder(id=2, name="Work \udcff"))
    own = ChatSettings(
        preset="P", system_prompt="Be\nbrief.", params=SamplingParams(seed=2**60, stop=("x",)), when_full=WhenFull.STOP
    )
    store.add_conversation(
        Conversation(
            id=3, title="All\n# of it", created_at=1.5, updated_at=99.25, title_chosen=True, folder_id=2, settings=own
        )
    )
    store.add_attachment(ATTACHMENT.id, DATA)
    call = ToolCall(id="c", name="clock", arguments='{"zone": "你好"}')
    stats = GenerationStats(prompt_tokens=1, completion_tokens=2, duration=0.1, reasoning_seconds=0.05)
    common: dict[str, Any] = {"conversation_id": 3, "created_at": 7.0}
    for message in (
        Message(id=10, parent_id=None, role="user", content="One ```\x00\u2028", attachments=(ATTACHMENT,), **common),
        Message(
            id=11,
            parent_id=10,
            role="assistant",
            content="",
            reasoning="Think\nhard",
            tool_calls=(call,),
            model="tiny",
            finish_reason=FinishReason.TOOL_CALLS,
            stats=stats,
            **common,
        ),
        Message(id=12, parent_id=11, role="tool", content="```\nno\n", tool_call_id="c", tool_failed=True, **common),
        Message(id=13, parent_id=10, role="assistant", content="other branch \udcff", model="tiny", **common),
        Message(
            id=14,
            parent_id=12,
            role="assistant",
            content="cut",
            state=MessageState.INTERRUPTED,
            failure=failure(FailureCode.ENGINE_DIED, when="now", reason="signal", detail="\udcff"),
            **common,
        ),
        Message(id=15, parent_id=None, role="user", content="second root", attachments=(ATTACHMENT,), **common),
    ):
        store.add_message(message, touch=False)
    store.set_leaf(3, 14)
    store.add_conversation(Conversation(id=5, title="Nothing yet", created_at=2.0, updated_at=2.0, pinned=True))
    trashed = Conversation(id=6, title="Trashed", created_at=3.0, updated_at=3.0, deleted_at=4.0)
    store.add_conversation(trashed)
    new_message(store, 6, None, "user", "not exported")
    store.trash(6, 4.0)


def everything(store: ConversationStore) -> tuple[Any, ...]:
    """All that a store holds, to be compared."""
    talks = store.conversations()
    return store.folders(), talks, [store.messages(talk.id) for talk in talks]
