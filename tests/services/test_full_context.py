"""A conversation that the context cannot hold any more, whatever asks for its next reply."""

from __future__ import annotations

from desktop.domain.conversation import ChatSettings, MessageState, WhenFull
from desktop.domain.engine_config import EngineConfig
from desktop.domain.errors import FailureCode
from desktop.domain.generation import GenerationFinished, ToolCall, ToolSpec
from desktop.services.comparison import Comparison, Side
from tests.services.conftest import Desk

REPLY = "word " * 19 + "end"  # with a question of one word a turn has 21
ROOM = 75  # of a context of 100 for the prompt; three turns and a question are 64, four are 85
STOPS = ChatSettings(when_full=WhenFull.STOP)


class Prompts:
    """How long each prompt was that was answered."""

    def __init__(self, desk: Desk) -> None:
        self.lengths: list[int] = []
        desk.host.generation_finished.connect(self._on_finished)

    def _on_finished(self, event: GenerationFinished) -> None:
        self.lengths.append(event.stats.prompt_tokens)


def long_talk(desk: Desk, settings: ChatSettings | None = None, turns: int = 4) -> int:
    """A conversation of four turns of 21 words."""
    desk.load(reply=REPLY, context_length=1_000)
    conversation: int | None = None
    for _ in range(turns):
        before = len(desk.ends)
        conversation = desk.chats.send(conversation, "question", settings=settings)
        desk.until(lambda before=before: len(desk.ends) > before)
    assert conversation is not None
    return conversation


def shrink(desk: Desk, context_length: int, **script: object) -> None:
    """Load a model with another context."""
    desk.load(**{"reply": REPLY, **script, "context_length": context_length})
    desk.until(lambda: desk.host.status.info is not None and desk.host.status.info.context_length == context_length)


def ended(desk: Desk, count: int) -> None:
    desk.until(lambda: len(desk.ends) == count)


def test_the_oldest_turns_are_left_out_and_stay_stored(desk: Desk) -> None:
    conversation = long_talk(desk)
    prompts = Prompts(desk)
    before = desk.saved(conversation)
    shrink(desk, 100)
    desk.chats.send(conversation, "five")
    ended(desk, 5)
    assert prompts.lengths == [64]
    assert desk.saved(conversation)[:8] == before
    assert desk.ends[-1].state is MessageState.COMPLETE


def test_a_conversation_that_is_to_stop_says_so(desk: Desk) -> None:
    conversation = long_talk(desk, STOPS)
    shrink(desk, 80)
    desk.chats.send(conversation, "five")
    ended(desk, 5)
    problem = desk.ends[-1].failure
    assert problem is not None
    assert problem.code is FailureCode.PROMPT_TOO_LONG
    desk.library.set_settings(conversation, ChatSettings())
    desk.chats.regenerate(conversation, desk.ends[-1].id)
    ended(desk, 6)
    assert desk.ends[-1].failure is None


def test_a_message_that_is_too_long_by_itself_is_refused(desk: Desk) -> None:
    conversation = long_talk(desk, turns=1)
    shrink(desk, 100)
    desk.chats.send(conversation, "word " * 100)
    ended(desk, 2)
    problem = desk.ends[-1].failure
    assert problem is not None
    assert problem.code is FailureCode.PROMPT_TOO_LONG


def test_another_reply_an_edit_and_going_on_leave_out_too(desk: Desk) -> None:
    conversation = long_talk(desk)
    prompts = Prompts(desk)
    shrink(desk, 60)  # 45 for the prompt
    desk.chats.regenerate(conversation, desk.ends[-1].id)
    ended(desk, 5)
    question = desk.chats.messages(conversation)[-2]
    desk.chats.edit(conversation, question.id, "another question")
    ended(desk, 6)
    desk.chats.continue_reply(conversation, desk.ends[-1].id)
    ended(desk, 7)
    # A question with one turn before it; one of two words; and that with its reply.
    assert prompts.lengths == [43, 44, 43]


def test_the_results_of_tools_leave_out_too(desk: Desk) -> None:
    conversation = long_talk(desk, ChatSettings(tools=("calculator",)))
    prompts = Prompts(desk)
    desk.chats.tools.always_allowed = frozenset({"calculator"})
    call = ToolCall(id="c", name="calculator", arguments='{"expression": "6 * 7"}')
    shrink(desk, 100, reply="I compute.", tool_calls=(call,))
    desk.chats.send(conversation, "word " * 30)
    ended(desk, 6)
    # 72: the message with two turns before it. With "I compute." and a result it is 75.
    assert prompts.lengths == [72, 75]
    assert desk.ends[-1].content.startswith("The tool said: 42")


def test_an_enormous_result_is_refused_and_left_out_of_the_next_turn(desk: Desk) -> None:
    desk.chats.tools.custom = (ToolSpec(name="weather", description="", parameters={"type": "object"}),)
    call = ToolCall(id="c", name="weather", arguments="{}")
    desk.load(reply="I ask.", tool_calls=(call,), context_length=100)
    conversation = desk.chats.send(None, "question", settings=ChatSettings(tools=("weather",)))
    ended(desk, 1)
    assert conversation is not None
    desk.chats.answer_tool(conversation, desk.ends[0].id, "c", "rain " * 500, failed=False)
    ended(desk, 2)
    problem = desk.ends[-1].failure
    assert problem is not None
    assert problem.code is FailureCode.PROMPT_TOO_LONG
    prompts = Prompts(desk)
    desk.chats.send(conversation, "and now?")
    ended(desk, 3)
    assert prompts.lengths == [2]
    assert desk.ends[-1].failure is None


def test_a_comparison_leaves_out_as_its_sides_say(desk: Desk) -> None:
    desk.load(reply=REPLY, context_length=100)
    comparison = Comparison(desk.chats, desk.host)
    comparison.start("word " * 80, Side(ChatSettings()), Side(STOPS), EngineConfig())
    desk.until(lambda: not comparison.is_running)
    for side in (0, 1):
        conversation = comparison.conversation(side)
        assert conversation is not None
        desk.chats.send(conversation, "word " * 70)
    ended(desk, 4)
    failures = {message.conversation_id: message.failure for message in desk.ends[2:]}
    left, right = (failures[comparison.conversation(side) or 0] for side in (0, 1))
    assert left is None
    assert right is not None
    assert right.code is FailureCode.PROMPT_TOO_LONG


def test_a_message_that_waits_for_a_model_is_fitted_to_that_model(desk: Desk) -> None:
    conversation = long_talk(desk)
    prompts = Prompts(desk)
    desk.script = {"reply": REPLY, "context_length": 60, "load_seconds": 0.2}
    desk.host.reload()
    desk.until(lambda: not desk.host.is_ready)
    desk.chats.send(conversation, "five")
    ended(desk, 5)
    assert prompts.lengths == [43]
