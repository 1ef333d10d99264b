"""Out and in again: nothing is lost, broken files change nothing and say which line is wrong."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from desktop.domain.conversation import ChatSettings, Conversation, Message, MessageState
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.generation import ToolCall
from desktop.storage.cancelling import Cancelled
from desktop.storage.conversations import ConversationStore
from desktop.storage.transfer import (
    Counts,
    FirstIds,
    export_json_lines,
    export_markdown,
    import_file,
    inspect_import,
)
from tests.storage.writing import ATTACHMENT, DATA, everything, fill, new_conversation, new_message

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@pytest.fixture
def full(store: ConversationStore) -> ConversationStore:
    fill(store)
    return store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ConversationStore]:
    """A second, empty store."""
    with closing(ConversationStore(tmp_path / "other.db")) as store:
        yield store


def test_an_export_comes_back_identical(full: ConversationStore, other: ConversationStore, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    counts = export_json_lines(full, first)
    assert counts == Counts(folders=2, conversations=2, messages=6)
    assert inspect_import(first) == counts
    assert import_file(other, first) == counts
    assert export_json_lines(other, second) == counts
    assert first.read_bytes() == second.read_bytes()

    talk = next(c for c in other.conversations() if c.title.startswith("All"))
    messages = list(other.messages(talk.id).values())
    assert [m.parent_id for m in messages] == [None, 1, 2, 1, 3, None]
    assert talk.leaf_id == 5
    assert messages[3].content == "other branch \udcff"
    assert other.attachment(ATTACHMENT.id) == DATA
    assert [hit.message_id for hit in other.search("second root")] == [6]
    assert first.read_text().count('"type": "attachment"') == 1
    header = json.loads(first.read_text().split("\n", 1)[0])
    assert header == {"type": "header", "format": "turbodesk-conversations", "version": 1}


def test_an_import_beside_what_is_there_gets_new_ids(full: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    export_json_lines(full, path)
    before = everything(full)
    assert import_file(full, path) == Counts(folders=0, conversations=2, messages=6)
    folders, talks, messages = everything(full)
    assert folders == before[0], "a folder of that name was there"
    for talk, tree in zip(before[1], before[2], strict=True):
        assert tree == messages[talks.index(talk)]
    copy = next(c for c in talks if c.title.startswith("All") and c.id != 3)
    assert copy.folder_id == 2
    assert [m.content for m in full.messages(copy.id).values()] == [m.content for m in full.messages(3).values()]


def test_the_caller_gives_out_the_ids(full: ConversationStore, other: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    room = export_json_lines(full, path)
    import_file(other, path, FirstIds(folder=70, conversation=50, message=900), room)
    assert [folder.id for folder in other.folders()] == [70, 71]
    assert sorted(talk.id for talk in other.conversations()) == [50, 51]
    assert list(other.messages(50)) == list(range(900, 906))
    with pytest.raises(TurbodeskError, match="changed since"):
        import_file(other, path, FirstIds(170, 150, 1900), Counts(0, 2, 5))
    assert len(other.conversations()) == 2


def test_one_conversation(full: ConversationStore, other: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    assert export_json_lines(full, path, [3]) == Counts(folders=1, conversations=1, messages=6)
    import_file(other, path)
    assert [folder.name for folder in other.folders()] == ["Work \udcff"]
    assert export_json_lines(full, path, [5]) == Counts(folders=0, conversations=1, messages=0)


def test_a_running_reply_is_exported_as_interrupted(store: ConversationStore, tmp_path: Path) -> None:
    talk = new_conversation(store, "x")
    reply = new_message(store, talk.id, None, "assistant", "", MessageState.STREAMING)
    store.append_text(reply.id, "so far")
    path = tmp_path / "x.jsonl"
    export_json_lines(store, path)
    import_file(store, path)
    copy = store.messages(talk.id + 1)[reply.id + 1]
    assert (copy.content, copy.state) == ("so far", MessageState.INTERRUPTED)


@settings(deadline=None, max_examples=40)
@given(
    title=ANY_TEXT,
    times=st.floats(0, 1e10),
    tree=st.lists(st.tuples(st.integers(0), ANY_TEXT, ANY_TEXT), max_size=12),
    leaf=st.integers(0),
)
def test_any_tree_comes_back_identical(title: str, times: float, tree: list[tuple[int, str, str]], leaf: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(ConversationStore(folder / "a.db")) as a, closing(ConversationStore(folder / "b.db")) as b:
            a.add_conversation(Conversation(id=4, title=title, created_at=times, updated_at=times))
            ids: list[int | None] = [None]
            for number, (parent, content, reasoning) in enumerate(tree, 8):
                message = Message(
                    id=number,
                    conversation_id=4,
                    parent_id=ids[parent % len(ids)],
                    role="assistant",
                    content=content,
                    reasoning=reasoning,
                    created_at=times,
                )
                a.add_message(message, touch=False)
                ids.append(number)
            a.set_leaf(4, ids[leaf % len(ids)])
            export_json_lines(a, folder / "a.jsonl")
            import_file(b, folder / "a.jsonl")
            export_json_lines(b, folder / "b.jsonl")
        assert (folder / "a.jsonl").read_bytes() == (folder / "b.jsonl").read_bytes()


def test_lists_in_openai_style(store: ConversationStore, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": 1}'}}
    path = tmp_path / "x.json"
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
        {"role": "assistant", "content": "It is \ud83d red."},
    ]
    path.write_text(json.dumps(messages, indent=1))
    assert import_file(store, path) == Counts(0, 1, 4)
    (talk,) = store.conversations()
    assert talk.title.startswith("What is this?")
    assert talk.settings == ChatSettings(system_prompt="Be brief.\n\nBe kind.")
    user, calls, result, last = store.messages(talk.id).values()
    assert talk.leaf_id == last.id
    assert [m.parent_id for m in (user, calls, result, last)] == [None, user.id, calls.id, result.id]
    assert user.content == "What is this?\n[image: https://example.org/x.png]"
    (image,) = user.attachments
    assert (image.kind, image.width, image.height) == ("image", 4, 3)
    assert store.attachment(image.id) is not None
    assert (calls.tool_calls, calls.reasoning) == ((ToolCall(id="c1", name="clock", arguments='{"zone": 1}'),), "Hm.")
    assert (result.role, result.tool_call_id, result.content) == ("tool", "c1", "noon")
    assert last.content == "It is \ud83d red."


@pytest.mark.parametrize(
    "content",
    [
        '{"messages": [M], "title": "T"}\n{"messages": [M]}\n',
        '\ufeff[{"messages": [M]},\n [M]]',
        "[M]\n\n[M]",
    ],
)
def test_several_conversations_in_openai_style(store: ConversationStore, tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content.replace("M", '{"role": "user", "content": "Hi"}'), encoding="utf-8")
    assert import_file(store, path) == Counts(0, 2, 2)
    titles = {talk.title for talk in store.conversations()}
    assert titles == ({"T", "Hi"} if "title" in content else {"Hi"})


def test_markdown(full: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    export_markdown(full, path)
    text = path.read_text()
    assert text.startswith("# All # of it\n\n1970-01-01 ")
    for part in (
        "> **System prompt**\n>\n> Be\n> brief.\n",
        "## You\n",
        "Attached: `a'b .txt` (text, 6 bytes)",
        "## tiny\n",
        "> **Reasoning**\n>\n> Think\n> hard\n",
        '**Calls** `clock`\n\n```json\n{\n  "zone": "你好"\n}\n```\n',
        "**Error**\n\n````\n```\nno\n````\n",
        "interrupted*\n\ncut\n",
        "> **Failed**\n",
        "\n# Nothing yet\n",
    ):
        assert part in text
    assert "other branch" not in text, "only the branch on screen"
    assert "Trashed" not in text
    export_markdown(full, path, [5])
    assert path.read_text().startswith("# Nothing yet\n")


@pytest.mark.parametrize("export", [export_json_lines, export_markdown])
def test_an_export_that_fails_leaves_the_old_file(full: ConversationStore, tmp_path: Path, export: Any) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(Cancelled):
        export(full, path, cancelled=lambda: True)
    full._connection.execute("UPDATE messages SET role = 'wizard'")
    with pytest.raises(TurbodeskError) as caught:
        export(full, path)
    assert caught.value.failure.code is FailureCode.DATABASE_BROKEN
    with pytest.raises(TurbodeskError) as caught:
        export(full, tmp_path / "no folder" / "x")
    assert caught.value.failure.code is FailureCode.EXPORT_FAILED
    assert "no folder" in caught.value.failure.message
    assert "--data-dir" not in caught.value.failure.next_step
    assert path.read_text() == "old"
    assert not path.with_name("x.part").exists()
    assert len(full.conversations()) == 2, "the store can go on"


def test_an_export_to_a_full_disk(store: ConversationStore, small_disk: Path) -> None:
    new_message(store, new_conversation(store, "x").id, None, "user", "word " * 100_000)
    with pytest.raises(TurbodeskError) as caught:
        export_json_lines(store, small_disk / "x.jsonl")
    assert caught.value.failure.code is FailureCode.EXPORT_FAILED
    assert "No space left" in caught.value.failure.message
    assert list(small_disk.iterdir()) == []


def test_an_import_is_given_up_as_a_whole(full: ConversationStore, other: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    export_json_lines(full, path)
    answers = iter([False] * 6 + [True])
    with pytest.raises(Cancelled):
        import_file(other, path, cancelled=lambda: next(answers))
    assert everything(other) == ([], [], [])
    assert other.attachment(ATTACHMENT.id) is None
    assert import_file(other, path).messages == 6


def test_an_import_onto_a_full_disk(full: ConversationStore, other: ConversationStore, tmp_path: Path) -> None:
    talk = new_conversation(full, "big")
    new_message(full, talk.id, None, "user", "word " * 50_000)
    path = tmp_path / "x.jsonl"
    export_json_lines(full, path)
    (pages,) = other._connection.execute("PRAGMA page_count").fetchone()
    other._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(TurbodeskError) as caught:
        import_file(other, path)
    assert caught.value.failure.code is FailureCode.DISK_FULL
    assert everything(other) == ([], [], [])
