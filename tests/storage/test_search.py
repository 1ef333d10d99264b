"""The full-text search against real databases: words of all scripts, hostile queries, writing meanwhile, damage."""

from __future__ import annotations

import re
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.domain.conversation import Conversation, Message, MessageState
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.storage import search_index
from desktop.storage.cancelling import Cancelled
from desktop.storage.conversations import ConversationStore
from desktop.storage.search import SearchHit
from desktop.storage.search_text import excerpt, fold, parse_query
from tests.storage.writing import new_conversation, new_message


def found(text: str, query: str) -> bool:
    """Whether a database with only this text finds it."""
    with tempfile.TemporaryDirectory() as folder, closing(ConversationStore(Path(folder) / "c.db")) as store:
        new_message(store, new_conversation(store, "x").id, None, "user", text)
        return bool(store.search(query))


def marked(hit: SearchHit) -> list[str]:
    """The words that a hit shows marked."""
    return [hit.snippet[start:end] for start, end in hit.highlights]


@pytest.fixture
def talk(store: ConversationStore) -> Conversation:
    return new_conversation(store, "chat")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The Graphics card", "graphics"),
        ("The Graphics card", "GRAPH"),
        ("The Graphics card", "card the"),
        ("The Graphics card", '"graphics card"'),
        ("a GPU's max_new_tokens=512", "max_new_tok"),
        ("a GPU's max_new_tokens=512", "512"),
        ("Größe des Café", "grosse"),
        ("Größe des Café", "CAFE"),
        ("cafe\u0301", "café"),
        ("显存不足，无法生成", "显"),
        ("显存不足，无法生成", "足"),
        ("显存不足，无法生成", "成"),
        ("显存不足，无法生成", "存不"),
        ("显存不足，无法生成", "显存不足"),
        ("显存不足，无法生成", "生成 显存"),
        ("显存不足，无法生成", '"不足，无法"'),
        ("请把GPU显存加大", "gpu显存"),
        ("请把GPU显存加大", "GPU"),
        ("请把GPU显存加大", '"GPU 显"'),
        ("ＧＰＵ", "gpu"),
        ("𠮷野家", "𠮷野"),
        ("がんばって カタカナ", "んば"),
        ("한국어 텍스트", "국어"),
        ("ภาษาไทย", "ไทย"),
        ("Москва слезам", "москв"),
        ("nul\x00byte", "byte"),
        ("lone \udcff surrogate", "surr"),
        ("x" * 5000, "x" * 100),
        ("C++ and C#", "c++"),
    ],
)
def test_what_is_found(text: str, query: str) -> None:
    assert found(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The graphics card", "raphics"),
        ("The graphics card", "graphics memory"),
        ("The graphics card", '"graphic"'),
        ("The graphics card", '"card graphics"'),
        ("The graphics card", '"the card"'),
        ("显存不足", "不显"),
        ("显存 不足", "显存不足"),
        ("显存很大，不足", '"显存 不足"'),
        ("The graphics card", ""),
        ("The graphics card", '"" + ,'),
    ],
)
def test_what_is_not_found(text: str, query: str) -> None:
    assert not found(text, query)


@pytest.mark.parametrize(
    "query",
    [
        *(
            '"',
            'a"',
            '"a" "',
            "a*",
            "*",
            "^a",
            "a:b",
            "words:a",
            "-a",
            "NOT a",
            "a AND",
            "OR",
            "NEAR(a b)",
            "(a",
            "{a}:",
        ),
        *("a' --", "\x00", "\udcff", "a\\", "%", "a+b", "a" * 100_000, "a " * 50_000),
    ],
)
def test_no_character_of_a_query_is_special(store: ConversationStore, talk: Conversation, query: str) -> None:
    new_message(store, talk.id, None, "user", "nothing of that")
    store.search(query)
    store.search_titles(query)


@settings(deadline=None, max_examples=150)
@given(st.text(st.characters(exclude_categories=()), max_size=60), st.data())
def test_any_piece_of_a_text_finds_it_and_shows_where(text: str, data: st.DataObject) -> None:
    """A query that begins where a word begins is found as a phrase; so is any run of Chinese."""
    starts = [m.start() for m in re.finditer(r"\b\w", text)] or [0]
    start = data.draw(st.sampled_from(starts))
    piece = text[start : data.draw(st.integers(start, len(text)))].replace('"', " ").replace("“", " ").replace("”", " ")
    query = parse_query(" ".join(piece.split()))
    if query is None:
        return
    whole = " ".join(text.split())
    with tempfile.TemporaryDirectory() as folder, closing(ConversationStore(Path(folder) / "c.db")) as store:
        new_message(store, new_conversation(store, "x").id, None, "user", whole)
        hits = store.search(" ".join(piece.split()))
    if hits:
        assert hits[0].highlights
        for word in marked(hits[0]):
            assert query.pattern.search(fold(word))
    else:  # Python's idea of a word's beginning is not ours everywhere, but what the pattern finds the index finds
        assert not all(re.search(part, fold(whole)) for part in query.pattern.pattern.split("|"))


def test_newest_first_a_page_at_a_time(store: ConversationStore, talk: Conversation) -> None:
    ids = [new_message(store, talk.id, None, "user", f"same {i}").id for i in range(25)]
    first = store.search("same", limit=10)
    assert [hit.message_id for hit in first] == ids[:14:-1]
    second = store.search("same", limit=20, before=first[-1].message_id)
    assert [hit.message_id for hit in second] == ids[14::-1]
    assert store.search("same", before=second[-1].message_id) == []
    assert {hit.conversation_id for hit in first} == {talk.id}


def test_all_sections_are_searched(
    store: ConversationStore, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "SECTION", 4)
    ids = [new_message(store, talk.id, None, "user", f"same thing{i} 显存").id for i in range(23)]
    for query in ("same", "sa", "显", "显存", "thing same", '"显存"'):
        assert [hit.message_id for hit in store.search(query)] == ids[::-1]
        assert [hit.message_id for hit in store.search(query, limit=6, before=ids[12])] == ids[11:5:-1]
    assert [hit.message_id for hit in store.search("thing7 same")] == [ids[7]]
    assert [hit.message_id for hit in store.search("same thing7")] == [ids[7]]


def test_a_snippet_shows_the_place_and_marks_it(store: ConversationStore, talk: Conversation) -> None:
    new_message(store, talk.id, None, "user", "filler " * 500 + "İstanbul straße\nGRÖSSE here" + " filler" * 500)
    (hit,) = store.search("grösse strasse")
    assert marked(hit) == ["straße", "GRÖSSE"]
    assert hit.snippet.startswith("…")
    assert hit.snippet.endswith("…")
    assert "\n" not in hit.snippet
    assert len(hit.snippet) < 200
    new_message(store, talk.id, None, "user", "短い 显存不足 end")
    (hit,) = store.search("存不")
    assert (hit.snippet, marked(hit)) == ("短い 显存不足 end", ["存不"])


def test_an_excerpt_of_a_huge_text_is_cheap_enough_to_make() -> None:
    text = "é" * 3_000_000 + " needle"
    query = parse_query("needle")
    assert query is not None
    piece = excerpt(text, query)
    assert [piece.text[start:end] for start, end in piece.highlights] == ["needle"]


def test_the_index_follows_the_text(store: ConversationStore, talk: Conversation) -> None:
    reply = new_message(store, talk.id, None, "assistant", "", MessageState.STREAMING)
    store.append_text(reply.id, "partial words")
    assert store.search("partial") == [], "not at every chunk"
    done = msgspec.structs.replace(reply, content="partial words, done", state=MessageState.COMPLETE)
    store.finish_message(done)
    assert [hit.message_id for hit in store.search("partial done")] == [reply.id]
    store.reopen_message(reply.id)
    store.finish_message(msgspec.structs.replace(done, content="other words"))
    assert store.search("partial") == []
    assert len(store.search("other words")) == 1
    store.rename(talk.id, "Another title")
    assert store.search_titles("chat") == []
    (hit,) = store.search_titles("another")
    assert (hit.conversation_id, hit.title, hit.highlights) == (talk.id, "Another title", ((0, 7),))
    store.delete(talk.id)
    assert store.search("other") == []
    assert store.search_titles("another") == []


def test_what_is_deleted_leaves_nothing_in_the_index(store: ConversationStore) -> None:
    for text in ("the first, 显存 \udcff\x00", "the second, é" * 50):
        talk = new_conversation(store, text)
        message = new_message(store, talk.id, None, "user", text)
        store.finish_message(msgspec.structs.replace(message, content=text + " more"))
        store.delete(talk.id)
    store._connection.execute("INSERT INTO search (search) VALUES ('optimize')")
    terms = store._connection
    terms.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, search, row)")
    assert terms.execute("SELECT * FROM temp.terms").fetchall() == []


def test_titles_newest_first(store: ConversationStore) -> None:
    ids = [new_conversation(store, f"Plan {i} 计划").id for i in range(5)]
    assert [hit.conversation_id for hit in store.search_titles("plan")] == ids[::-1]
    assert [hit.conversation_id for hit in store.search_titles("划", limit=2)] == ids[:2:-1]
    assert store.search("plan") == [], "a title is no message"


def test_a_search_during_writing_sees_what_was_committed(store: ConversationStore, talk: Conversation) -> None:
    new_message(store, talk.id, None, "user", "committed words")
    found: list[int] = []

    def read() -> None:
        with closing(ConversationStore(store.path)) as reader:
            is_writing.wait(5)
            found.extend(len(reader.search(word)) for word in ("committed", "uncommitted"))

    is_writing = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    with store.batch():
        new_message(store, talk.id, None, "user", "uncommitted words")
        is_writing.set()
        thread.join(5)
    assert found == [1, 0]
    assert len(store.search("uncommitted")) == 1


def test_searching_goes_on_while_another_thread_writes(store: ConversationStore, talk: Conversation) -> None:
    counts: list[int] = []
    stop = threading.Event()

    def read() -> None:
        with closing(ConversationStore(store.path)) as reader:
            while not stop.is_set():
                counts.append(len(reader.search("same word", limit=1000)))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        new_message(store, talk.id, None, "user", "the same word")
    stop.set()
    thread.join(10)
    assert counts == sorted(counts)
    assert len(store.search("same word", limit=1000)) == 100


def test_a_search_is_interrupted_from_another_thread(
    store: ConversationStore, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both while SQLite works and while Python does."""
    words = " ".join(f"w{i}" for i in range(300))
    store.copy_branch(
        Conversation(id=talk.id + 1, title="long", created_at=0, updated_at=0),
        (
            Message(id=i, conversation_id=talk.id + 1, parent_id=None, role="user", content=words, created_at=0.0)
            for i in range(1, 1001)
        ),
    )
    steps = 0

    def on_progress() -> int:
        nonlocal steps
        steps += 1
        if steps == 2:
            thread = threading.Thread(target=store.interrupt)
            thread.start()
            thread.join()
        return 0

    store._connection.set_progress_handler(on_progress, 10)
    with pytest.raises(Cancelled):
        store.search("w", limit=1000)
    store._connection.set_progress_handler(None, 0)
    assert len(store.search("w", limit=1000)) == 1000, "the next search is not touched"

    original = search_index.find_messages

    def interrupted(*args: object) -> object:
        store.interrupt()
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(search_index, "find_messages", interrupted)
    with pytest.raises(Cancelled):
        store.search("w")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM search_data",
        "DELETE FROM search_data WHERE id > 10",
        "UPDATE search_data SET block = x'ffffffffffffffffffffffffffffffff' WHERE id = 10",
        "UPDATE search_data SET block = x'ffffffffffffffffffffffffffffffff'",
    ],
)
@pytest.mark.parametrize("act", ["search", "add", "rename"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: str, act: str) -> None:
    path = tmp_path / "conversations.db"
    with closing(ConversationStore(path)) as store:
        talk = new_conversation(store, "chat")
        first = new_message(store, talk.id, None, "user", "before the damage")
    with closing(ConversationStore(path)) as store:
        store._connection.execute(damage)
        if act == "add":
            new_message(store, talk.id, None, "user", "after the damage")
        elif act == "rename":
            store.rename(talk.id, "renamed")
        assert store.search("damage")[-1].message_id == first.id
        assert len(store.search("damage")) == len(store.messages(talk.id))
        assert len(store.search_titles("renamed" if act == "rename" else "chat")) == 1
        assert store._connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        store.delete(talk.id)
        assert store.search("damage") == []


def test_a_damaged_text_hides_only_itself(store: ConversationStore, talk: Conversation) -> None:
    new_message(store, talk.id, None, "user", "good words")
    bad = new_message(store, talk.id, None, "user", "bad words")
    store._connection.execute(f"UPDATE messages SET content = CAST(x'62ff' AS TEXT) WHERE id = {bad.id}")
    assert len(store.search("good words")) == 1
    store.delete(talk.id)
    with pytest.raises(TurbodeskError) as caught:
        new_message(store, talk.id, None, "user", "no conversation")
    assert caught.value.failure.code is FailureCode.INTERNAL
