"""What is said of replies."""

from __future__ import annotations

import pytest

from desktop.domain.conversation import Message
from desktop.domain.generation import FinishReason, GenerationStats
from desktop.ui.words import reply_line


@pytest.mark.parametrize(
    ("reason", "tokens", "line"),
    [
        (FinishReason.STOP, 1, "1 token"),
        (FinishReason.STOP, 0, "the model wrote nothing"),
        (FinishReason.LENGTH, 2, "cut off at the token limit · 2 tokens"),
        (FinishReason.CUT_JSON, 2, "cut off at the token limit, not valid JSON · 2 tokens"),
    ],
)
def test_why_a_reply_ended(reason: FinishReason, tokens: int, line: str) -> None:
    message = Message(
        id=1,
        conversation_id=1,
        parent_id=None,
        role="assistant",
        content="",
        created_at=0.0,
        finish_reason=reason,
        stats=GenerationStats(prompt_tokens=1, completion_tokens=tokens),
    )
    assert reply_line(message) == line
