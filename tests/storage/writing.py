"""Adds conversations and messages to a store as the window does: with ids counted on from the store's own."""

from __future__ import annotations

import time

from desktop.domain.conversation import Conversation, Message, MessageState
from desktop.domain.generation import Role
from desktop.storage.conversations import ConversationStore


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
