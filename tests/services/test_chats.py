"""Conversations as they live: real store, real worker thread, scripted engine."""

import os
import signal
from collections.abc import Callable

import msgspec
import pytest

from desktop.domain.conversation import ChatSettings, Conversation, MessageState
from desktop.domain.errors import FailureCode
from desktop.domain.generation import FinishReason, GenerationFinished, SamplingParams
from desktop.services.engine_status import EngineState
from desktop.storage.conversations import ConversationStore
from tests.services.conftest import DEMO, Desk, words


def test_a_message_and_its_reply(desk: Desk) -> None:
    desk.load()
    conversation = desk.chats.send(None, "What is\nthe KV cache?")
    assert desk.chats.is_generating(conversation)
    desk.until(lambda: bool(desk.ends))
    question, reply = desk.chats.messages(conversation)
    assert (question.role, question.content) == ("user", "What is\nthe KV cache?")
    assert (reply.role, reply.content, reply.state) == ("assistant", words(20), MessageState.COMPLETE)
    assert reply.parent_id == question.id
    assert reply.model == "demo-checkpoint"
    assert reply.finish_reason is FinishReason.STOP
    assert reply.stats is not None
    assert reply.stats.completion_tokens == 20
    assert desk.shown[reply.id] == reply.content
    assert desk.library.conversation(conversation).title == "What is the KV cache?"
    assert desk.saved(conversation) == [question, reply]
    assert not desk.chats.is_generating(conversation)


def test_everything_is_there_again_after_a_restart(make_desk: Callable[..., Desk]) -> None:
    first = make_desk()
    first.load()
    conversation = first.chats.send(None, "one")
    first.until(lambda: bool(first.ends))
    first.library.rename(conversation, "  a   title ")
    before = first.chats.messages(conversation)
    first.close()
    second = make_desk()
    assert [c.title for c in second.library.conversations()] == ["a title"]
    assert second.chats.messages(conversation) == before
    second.load()
    second.chats.send(conversation, "two")
    second.until(lambda: bool(second.ends))
    assert [m.content for m in second.chats.messages(conversation) if m.role == "user"] == ["one", "two"]
    first.close = lambda: None  # type: ignore[method-assign]


def test_the_prompt_is_the_whole_branch_with_the_system_prompt(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    generate = desk.host.generate
    monkeypatch.setattr(desk.host, "generate", lambda request: (sent.append(request), generate(request)))
    desk.load(tokens=2)
    desk.chats.defaults = ChatSettings(system_prompt="Be brief.")
    conversation = desk.chats.send(None, "one")
    desk.until(lambda: len(desk.ends) == 1)
    desk.chats.send(conversation, "two")
    desk.until(lambda: len(desk.ends) == 2)
    told = [(message.role, message.content) for message in sent[1].messages]
    assert told == [("system", "Be brief."), ("user", "one"), ("assistant", words(2)), ("user", "two")]


def test_stop_keeps_what_was_written(desk: Desk) -> None:
    desk.load(tokens=100_000, tokens_per_second=1000)
    conversation = desk.chats.send(None, "go")
    desk.until(lambda: bool(desk.shown))
    desk.chats.stop(conversation)
    desk.until(lambda: bool(desk.ends))
    reply = desk.chats.messages(conversation)[-1]
    assert reply.state is MessageState.STOPPED
    assert reply.content
    assert reply.content == desk.shown[reply.id] == words(len(reply.content.split()))


def test_going_on_counts_the_whole_reply(desk: Desk) -> None:
    desk.load(tokens=100_000, tokens_per_second=1000)
    conversation = desk.chats.send(None, "go")
    desk.until(lambda: bool(desk.shown))
    desk.chats.stop(conversation)
    desk.until(lambda: bool(desk.ends))
    desk.load(reply="and so it ends")
    measured: list[GenerationFinished] = []
    desk.host.generation_finished.connect(measured.append)
    desk.chats.continue_reply(conversation, desk.ends[0].id)
    desk.until(lambda: len(desk.ends) == 2)
    first, whole = desk.ends[0].stats, desk.ends[1].stats
    assert first is not None
    assert whole == first.then(measured[0].stats)
    assert desk.saved(conversation)[-1].stats == whole


@pytest.mark.parametrize(
    ("schema", "most", "reason"),
    [
        ('{"type": "object"}', 2, FinishReason.CUT_JSON),
        ('{"type": "object"}', None, FinishReason.STOP),
        ("", 2, FinishReason.LENGTH),
    ],
)
def test_json_that_was_cut_off_is_known_as_such(
    desk: Desk, schema: str, most: int | None, reason: FinishReason
) -> None:
    desk.load(reply='{"a": 1, "b": 2}')
    settings = ChatSettings(json_schema=schema, params=SamplingParams(max_new_tokens=most))
    conversation = desk.chats.send(None, "go", settings=settings)
    desk.until(lambda: bool(desk.ends))
    reply = desk.chats.messages(conversation)[-1]
    assert (reply.finish_reason, reply.state) == (reason, MessageState.COMPLETE)
    assert desk.saved(conversation)[-1] == reply


@pytest.mark.parametrize("continues", [True, False])
def test_json_that_was_cut_off_goes_on_where_the_engine_can(desk: Desk, continues: bool) -> None:
    desk.load(reply='{"a": 1, "b": 2}', continues_json=continues)
    settings = ChatSettings(json_schema='{"type": "object"}', params=SamplingParams(max_new_tokens=2))
    conversation = desk.chats.send(None, "go", settings=settings)
    desk.until(lambda: bool(desk.ends))
    cut = desk.ends[0]
    desk.chats.continue_reply(conversation, cut.id)
    desk.until(lambda: len(desk.ends) == 2)
    reply = desk.ends[1]
    assert desk.saved(conversation)[-1] == reply
    if continues:
        assert reply.failure is None
        assert reply.content.startswith(cut.content)
        assert len(reply.content) > len(cut.content)
        return
    assert reply.failure is not None
    assert reply.failure.code is FailureCode.JSON_NOT_CONTINUED
    assert msgspec.structs.replace(reply, failure=None) == cut
    desk.library.set_settings(conversation, ChatSettings())  # without a schema it is text like any other
    desk.chats.continue_reply(conversation, cut.id)
    desk.until(lambda: len(desk.ends) == 3)
    assert desk.ends[2].failure is None
    assert desk.ends[2].content.startswith(cut.content)


def test_json_that_waits_for_a_model_that_cannot_go_on_is_not_broken(desk: Desk) -> None:
    desk.load(reply='{"a": 1, "b": 2}')
    settings = ChatSettings(json_schema='{"type": "object"}', params=SamplingParams(max_new_tokens=2))
    conversation = desk.chats.send(None, "go", settings=settings)
    desk.until(lambda: bool(desk.ends))
    desk.script = {"reply": "{}", "continues_json": False, "load_seconds": 0.2}
    desk.host.reload()
    desk.until(lambda: not desk.host.is_ready)
    desk.chats.continue_reply(conversation, desk.ends[0].id)
    desk.until(lambda: len(desk.ends) == 2)
    assert desk.ends[1].failure is not None
    assert desk.ends[1].failure.code is FailureCode.JSON_NOT_CONTINUED
    assert desk.ends[1].content == desk.ends[0].content


def test_json_that_is_whole_at_the_limit_is_whole(desk: Desk) -> None:
    desk.load(reply="7 8 9")
    settings = ChatSettings(json_schema='{"type": "integer"}', params=SamplingParams(max_new_tokens=1))
    conversation = desk.chats.send(None, "go", settings=settings)
    desk.until(lambda: bool(desk.ends))
    assert desk.chats.messages(conversation)[-1].finish_reason is FinishReason.LENGTH


def test_text_is_on_disk_while_it_streams(desk: Desk) -> None:
    desk.load(tokens=100_000, tokens_per_second=500)
    conversation = desk.chats.send(None, "go")
    assert desk.saved(conversation)[-1].state is MessageState.STREAMING
    desk.until(lambda: len(next(iter(desk.shown.values()), "")) > 2000)

    missing = []
    for _ in range(15):
        length = len(next(iter(desk.shown.values())))
        desk.until(lambda: len(next(iter(desk.shown.values()))) > length + 400)  # noqa: B023 (awaited here)
        saved = desk.saved(conversation)[-1]
        assert saved.state is MessageState.STREAMING
        assert desk.shown[saved.id].startswith(saved.content)
        missing.append(len(desk.shown[saved.id]) - len(saved.content))
    # Half a second's text; the median, because a machine that is busy may hold the writer up once.
    assert sorted(missing)[7] < 2000


def test_several_conversations_generate_at_once(desk: Desk) -> None:
    desk.load(tokens=300, tokens_per_second=1000)
    conversations = [desk.chats.send(None, f"chat {i}") for i in range(8)]
    assert desk.chats.generating_count == 8
    desk.until(lambda: len(desk.ends) == 8)
    for conversation in conversations:
        assert desk.chats.messages(conversation)[-1].content == words(300)
        assert desk.saved(conversation)[-1].content == words(300)


def test_sending_into_a_conversation_that_generates_is_ignored(desk: Desk) -> None:
    desk.load(tokens=100_000, tokens_per_second=100)
    conversation = desk.chats.send(None, "one")
    assert desk.chats.send(conversation, "two") == conversation
    assert desk.chats.send(conversation, "  ") == conversation
    assert len(desk.chats.messages(conversation)) == 2


def test_a_message_sent_while_loading_waits_for_the_model(desk: Desk) -> None:
    desk.script = {"tokens": 5, "load_seconds": 0.3}
    desk.host.load(DEMO)
    desk.until(lambda: desk.host.status.state is EngineState.LOADING)
    conversation = desk.chats.send(None, "early")
    assert desk.chats.is_generating(conversation)
    assert desk.chats.is_waiting(conversation)
    desk.until(lambda: bool(desk.ends))
    assert not desk.chats.is_waiting(conversation)
    reply = desk.chats.messages(conversation)[-1]
    assert (reply.content, reply.model) == (words(5), "demo-checkpoint")


def test_a_message_loads_the_last_model_by_itself(desk: Desk) -> None:
    desk.host.set_default(DEMO)
    conversation = desk.chats.send(None, "hello")
    desk.until(lambda: bool(desk.ends))
    assert desk.chats.messages(conversation)[-1].content == words(20)


def test_without_any_model_the_message_is_kept_and_the_reply_says_why(desk: Desk) -> None:
    conversation = desk.chats.send(None, "hello")
    question, reply = desk.chats.messages(conversation)
    assert question.content == "hello"
    assert reply.state is MessageState.INTERRUPTED
    assert reply.failure is not None
    assert reply.failure.code is FailureCode.ENGINE_NOT_READY


def test_a_load_that_fails_answers_the_messages_that_waited(desk: Desk) -> None:
    desk.script = {"load_error": "the script says so", "load_seconds": 0.2}
    desk.host.load(DEMO)
    desk.until(lambda: desk.host.status.state is EngineState.LOADING)
    conversation = desk.chats.send(None, "early")
    desk.until(lambda: bool(desk.ends))
    reply = desk.chats.messages(conversation)[-1]
    assert reply.failure is not None
    assert "the script says so" in reply.failure.message


def test_stop_takes_back_a_message_that_waits(desk: Desk) -> None:
    desk.script = {"load_seconds": 60}
    desk.host.load(DEMO)
    desk.until(lambda: desk.host.status.state is EngineState.LOADING)
    conversation = desk.chats.send(None, "early")
    desk.chats.stop(conversation)
    assert desk.chats.messages(conversation)[-1].state is MessageState.STOPPED


def test_a_killed_engine_interrupts_and_one_click_goes_on(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(in_child=True)
    desk.load(tokens=100_000, tokens_per_second=1000)
    conversation = desk.chats.send(None, "go")
    desk.until(lambda: bool(desk.shown))
    assert desk.host.status.info is not None
    os.kill(desk.host.status.info.pid, signal.SIGKILL)
    desk.until(lambda: bool(desk.ends))
    cut = desk.chats.messages(conversation)[-1]
    assert cut.state is MessageState.INTERRUPTED
    assert cut.failure is not None
    assert cut.failure.code is FailureCode.ENGINE_DIED
    assert cut.content == desk.shown[cut.id] != ""
    assert desk.saved(conversation)[-1] == cut

    desk.script = {"reply": "the end"}
    desk.until(lambda: desk.host.status.state is EngineState.FAILED)
    desk.chats.continue_reply(conversation, cut.id)
    desk.until(lambda: len(desk.ends) == 2)
    whole = desk.chats.messages(conversation)[-1]
    assert whole.id == cut.id
    assert whole.content == cut.content + "the end"
    assert (whole.state, whole.failure) == (MessageState.COMPLETE, None)
    assert whole.stats is None, "what the killed engine wrote was not measured"
    assert desk.saved(conversation)[-1] == whole


def test_closing_marks_running_replies_as_interrupted(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    desk.load(tokens=100_000, tokens_per_second=500)
    conversation = desk.chats.send(None, "go")
    desk.until(lambda: bool(desk.shown))
    desk.close()
    reader = ConversationStore(desk.path)
    reply = list(reader.messages(conversation).values())[-1]
    reader.close()
    assert reply.state is MessageState.INTERRUPTED
    assert reply.content == desk.shown[reply.id]
    desk.close = lambda: None  # type: ignore[method-assign]


def test_delete_stops_and_no_late_event_finds_anything(desk: Desk) -> None:
    desk.load(tokens=2000, tokens_per_second=1000)
    gone, kept = desk.chats.send(None, "gone"), desk.chats.send(None, "kept")
    desk.until(lambda: len(desk.shown) == 2)
    removed: list[int] = []
    desk.library.conversation_removed.connect(removed.append)
    desk.chats.trash(gone)
    desk.until(lambda: bool(desk.ends))
    assert removed == [gone]
    assert [c.id for c in desk.library.conversations()] == [kept]
    assert desk.chats.messages(kept)[-1].content == words(2000)
    assert desk.saved(gone)[-1].state is MessageState.STOPPED


def test_the_list_is_ordered_by_last_use_and_tells_its_changes(desk: Desk) -> None:
    desk.load(tokens=1)
    added: list[Conversation] = []
    desk.library.conversation_added.connect(added.append)
    first, second = desk.chats.send(None, "first"), desk.chats.send(None, "second")
    desk.until(lambda: len(desk.ends) == 2)
    assert [c.id for c in desk.library.conversations()] == [second, first]
    desk.chats.send(first, "again")
    assert [c.id for c in desk.library.conversations()] == [first, second]
    assert [c.id for c in added] == [first, second]
    desk.until(lambda: len(desk.ends) == 3)


def test_hostile_text_survives_the_way_to_the_engine_and_to_disk(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(in_child=True)
    desk.load(tokens=3)
    text = "NUL \0 · lone surrogate \ud800 · العربية · z̸̡͝alg̵o · " + "x" * 20_000
    conversation = desk.chats.send(None, text)
    desk.until(lambda: bool(desk.ends))
    assert desk.saved(conversation)[0].content == text
    assert desk.ends[0].state is MessageState.COMPLETE


def test_a_message_sent_in_the_moment_of_another_load_waits_for_it(desk: Desk) -> None:
    desk.load(tokens=3)
    for _ in range(20):
        desk.host.reload()
        conversation = desk.chats.send(None, "now")  # the host still believes that the model is there
        desk.until(lambda: desk.chats.generating_count == 0)
        assert desk.chats.messages(conversation)[-1].failure is None
        desk.until(lambda: desk.host.is_ready)
