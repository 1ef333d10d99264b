"""Tool calls wait for consent, run, and their results go back to the model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from desktop.domain.conversation import ChatSettings, Message, MessageState
from desktop.domain.generation import FinishReason, ToolCall, ToolSpec
from desktop.services.tool_desk import DECLINED, ToolState
from desktop.tools import BUILTIN, Tool, ToolContext
from tests.services.conftest import Desk

SUM = ToolCall(id="a", name="calculator", arguments='{"expression": "6 * 7"}')
WITH_CALCULATOR = ChatSettings(tools=("calculator",))


def asked(desk: Desk, *calls: ToolCall, settings: ChatSettings = WITH_CALCULATOR) -> Message:
    """A reply that asks for these calls."""
    desk.load(tool_calls=calls, reply="")
    conversation = desk.chats.send(None, "What is six times seven?", settings=settings)
    assert conversation is not None
    desk.until(lambda: bool(desk.ends))
    return desk.chats.messages(conversation)[1]


def contents(desk: Desk, message: Message) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in desk.chats.messages(message.conversation_id)[2:]]


def test_a_call_waits_for_consent_and_its_result_goes_back(desk: Desk) -> None:
    reply = asked(desk, SUM)
    assert reply.tool_calls == (SUM,)
    assert reply.finish_reason is FinishReason.TOOL_CALLS
    assert desk.chats.tools.state(reply, SUM) is ToolState.CONSENT
    assert contents(desk, reply) == []
    desk.chats.tools.allow(reply, SUM, WITH_CALCULATOR)
    desk.until(lambda: len(desk.ends) == 2)
    assert contents(desk, reply) == [("tool", "42"), ("assistant", "The tool said: 42")]
    saved = desk.saved(reply.conversation_id)
    assert saved[1].tool_calls == (SUM,)
    assert (saved[2].role, saved[2].tool_call_id, saved[2].tool_failed) == ("tool", "a", False)


def test_it_asks_once_per_conversation(desk: Desk) -> None:
    reply = asked(desk, SUM)
    desk.chats.tools.allow(reply, SUM, WITH_CALCULATOR)
    desk.until(lambda: len(desk.ends) == 2)
    desk.chats.send(reply.conversation_id, "And again?")
    desk.until(lambda: len(desk.ends) == 4)
    assert contents(desk, reply)[-1] == ("assistant", "The tool said: 42")
    other = desk.chats.send(None, "In another conversation?", settings=WITH_CALCULATOR)
    assert other is not None
    desk.until(lambda: len(desk.ends) == 5)
    waiting = desk.chats.messages(other)[-1]
    assert desk.chats.tools.state(waiting, SUM) is ToolState.CONSENT


def test_what_is_allowed_always_does_not_ask(desk: Desk) -> None:
    desk.chats.tools.always_allowed = frozenset({"calculator"})
    reply = asked(desk, SUM)
    desk.until(lambda: len(desk.ends) == 2)
    assert contents(desk, reply)[-1] == ("assistant", "The tool said: 42")


def test_a_declined_call_tells_the_model(desk: Desk) -> None:
    reply = asked(desk, SUM)
    desk.chats.tools.decline(reply, SUM)
    desk.until(lambda: len(desk.ends) == 2)
    assert contents(desk, reply) == [("tool", DECLINED), ("assistant", f"The tool said: {DECLINED}")]
    assert desk.chats.messages(reply.conversation_id)[2].tool_failed


def test_several_calls_are_all_answered_before_the_model_goes_on(desk: Desk) -> None:
    clock = ToolCall(id="b", name="current_time", arguments="{}")
    settings = ChatSettings(tools=("calculator", "current_time"))
    reply = asked(desk, SUM, clock, settings=settings)
    desk.chats.tools.allow(reply, clock, settings)
    desk.until(lambda: len(desk.chats.messages(reply.conversation_id)) == 3)
    desk.qtbot.wait(50)
    assert desk.chats.generating_count == 0
    desk.chats.tools.allow(reply, SUM, settings)
    desk.until(lambda: len(desk.ends) == 2)
    assert [role for role, _ in contents(desk, reply)] == ["tool", "tool", "assistant"]


def test_results_go_to_the_model_in_the_order_of_the_calls(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    generate = desk.host.generate
    monkeypatch.setattr(desk.host, "generate", lambda request: (sent.append(request), generate(request)))
    clock = ToolCall(id="b", name="current_time", arguments="{}")
    settings = ChatSettings(tools=("calculator", "current_time"))
    reply = asked(desk, SUM, clock, settings=settings)
    desk.chats.allow_tool(reply, clock)
    desk.until(lambda: len(desk.chats.messages(reply.conversation_id)) == 3)
    desk.chats.allow_tool(reply, SUM)
    desk.until(lambda: len(desk.ends) == 2)
    assert [message.tool_call_id for message in sent[-1].messages if message.role == "tool"] == ["a", "b"]


def test_calls_that_need_no_consent_run_one_after_the_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    calculator = BUILTIN["calculator"]

    def slow_at_first(arguments: dict[str, Any], context: ToolContext) -> str:
        time.sleep(0.2 if arguments["expression"] == "1" else 0)
        return calculator.function(arguments, context)

    monkeypatch.setitem(BUILTIN, "calculator", Tool(calculator.spec, slow_at_first))
    desk.chats.tools.always_allowed = frozenset({"calculator"})
    calls = [ToolCall(id=n, name="calculator", arguments=f'{{"expression": "{n}"}}') for n in "123"]
    reply = asked(desk, *calls)
    desk.until(lambda: len(desk.ends) == 2)
    results = [m.content for m in desk.chats.messages(reply.conversation_id) if m.role == "tool"]
    assert results == ["1", "2", "3"]


def test_the_result_of_a_tool_of_the_users_own_is_given_by_hand(desk: Desk) -> None:
    desk.chats.tools.custom = (ToolSpec(name="weather", description="", parameters={"type": "object"}),)
    call = ToolCall(id="w", name="weather", arguments='{"city": "Bern"}')
    reply = asked(desk, call, settings=ChatSettings(tools=("weather",)))
    assert desk.chats.tools.state(reply, call) is ToolState.ANSWER
    desk.chats.answer_tool(reply.conversation_id, reply.id, "w", "sunny", failed=False)
    desk.until(lambda: len(desk.ends) == 2)
    assert contents(desk, reply)[-1] == ("assistant", "The tool said: sunny")
    before = contents(desk, reply)
    desk.chats.answer_tool(reply.conversation_id, reply.id, "w", "rainy", failed=False)
    assert contents(desk, reply) == before


def test_an_unknown_tool_and_broken_arguments_are_errors_the_model_hears_of(desk: Desk) -> None:
    unknown = ToolCall(id="u", name="launch_rocket", arguments="{}")
    broken = ToolCall(id="x", name="calculator", arguments='{"expression": ')
    desk.chats.tools.always_allowed = frozenset({"calculator"})
    reply = asked(desk, unknown, broken)
    desk.until(lambda: len(desk.ends) == 2)
    results = [m for m in desk.chats.messages(reply.conversation_id) if m.role == "tool"]
    assert [m.tool_failed for m in results] == [True, True]
    assert "launch_rocket" in results[0].content


def test_a_tool_that_the_conversation_does_not_have_is_an_error_the_model_hears_of(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the secret is 7")
    call = ToolCall(id="r", name="read_file", arguments='{"name": "notes.txt"}')
    desk.chats.tools.always_allowed = frozenset({"read_file"})
    settings = ChatSettings(tools=("calculator",), files=(str(tmp_path / "notes.txt"),))
    reply = asked(desk, call, settings=settings)
    desk.until(lambda: len(desk.ends) == 2)
    result = desk.chats.messages(reply.conversation_id)[2]
    assert (result.content, result.tool_failed) == ("The tool read_file is not available in this conversation.", True)


def test_consent_to_a_tool_that_was_taken_away_meanwhile_does_not_run_it(desk: Desk) -> None:
    reply = asked(desk, SUM)
    desk.library.set_settings(reply.conversation_id, ChatSettings())
    desk.chats.allow_tool(reply, SUM)
    desk.until(lambda: len(desk.ends) == 2)
    assert desk.chats.messages(reply.conversation_id)[2].tool_failed
    desk.library.set_settings(reply.conversation_id, WITH_CALCULATOR)
    desk.chats.send(reply.conversation_id, "And again?")
    desk.until(lambda: len(desk.ends) == 3)
    again = desk.chats.messages(reply.conversation_id)[-1]
    assert desk.chats.tool_states(again) == {"a": ToolState.CONSENT}


def test_only_picked_files_are_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the secret is 7")
    call = ToolCall(id="r", name="read_file", arguments='{"name": "notes.txt"}')
    desk.chats.tools.always_allowed = frozenset({"read_file"})
    reply = asked(desk, call, settings=ChatSettings(tools=("read_file",)))
    desk.until(lambda: len(desk.ends) == 2)
    assert desk.chats.messages(reply.conversation_id)[2].tool_failed
    settings = ChatSettings(tools=("read_file",), files=(str(tmp_path / "notes.txt"),))
    conversation = desk.chats.send(None, "Read it", settings=settings)
    assert conversation is not None
    desk.until(lambda: len(desk.ends) == 4)
    assert "the secret is 7" in desk.chats.messages(conversation)[2].content


def test_a_message_sent_past_a_waiting_call_is_answered_and_the_call_is_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    generate = desk.host.generate
    monkeypatch.setattr(desk.host, "generate", lambda request: (sent.append(request), generate(request)))
    reply = asked(desk, SUM)
    desk.chats.send(reply.conversation_id, "Never mind.")
    desk.until(lambda: len(desk.ends) == 2)
    assert [message.role for message in sent[-1].messages] == ["user", "assistant", "tool", "user"]
    desk.chats.answer_tool(reply.conversation_id, reply.id, "a", "42", failed=False)
    assert [m.role for m in desk.chats.messages(reply.conversation_id)] == ["user", "assistant", "user", "assistant"]


def test_a_call_that_the_conversation_went_past_is_not_run_any_more(desk: Desk) -> None:
    reply = asked(desk, SUM)
    assert desk.chats.tool_states(reply) == {"a": ToolState.CONSENT}
    desk.chats.send(reply.conversation_id, "Never mind.")
    desk.until(lambda: len(desk.ends) == 2)
    assert desk.chats.tool_states(reply) == {"a": ToolState.PASSED}
    ran: list[object] = []
    desk.chats.tools.answered.connect(lambda *answer: ran.append(answer))
    desk.chats.allow_tool(reply, SUM)
    desk.chats.send(reply.conversation_id, "And again?")
    desk.until(lambda: len(desk.ends) == 3)
    assert ran == []
    again = desk.chats.messages(reply.conversation_id)[-1]
    assert desk.chats.tool_states(again) == {"a": ToolState.CONSENT}, "no permission was given either"


def test_reasoning_is_kept_apart_and_saved(desk: Desk) -> None:
    desk.load(reasoning="let me think", reply="done")
    thought: list[str] = []
    desk.chats.reasoning_appended.connect(lambda _id, text, _tokens: thought.append(text))
    conversation = desk.chats.send(None, "one")
    assert conversation is not None
    desk.until(lambda: bool(desk.ends))
    reply = desk.chats.messages(conversation)[-1]
    assert (reply.reasoning.strip(), reply.content, reply.state) == ("let me think", "done", MessageState.COMPLETE)
    assert "".join(thought) == reply.reasoning
    assert desk.saved(conversation)[-1] == reply
