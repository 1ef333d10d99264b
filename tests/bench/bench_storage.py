"""Search, opening and starting with a database of a million messages, made once and kept as build/bench/big.db."""

from __future__ import annotations

import bisect
import gc
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from unittest import mock

from desktop.domain.conversation import Conversation, Message
from desktop.domain.generation import FinishReason, GenerationStats
from desktop.storage.conversations import ConversationStore
from desktop.storage.rows import CONVERSATION_COLUMNS, INSERT_MESSAGE, conversation_row, message_row
from desktop.storage.schema import MIGRATIONS
from desktop.storage.search_index import SECTION, index_everything

ROOT = Path(__file__).parents[2]
BIG = ROOT / "build" / "bench" / "big.db"
VERSION = f"{len(MIGRATIONS)}.1"  # raise the second number when what is built here changes

MESSAGES = 1_000_000
CONVERSATIONS = 10_000
LONG = 10_000  # messages of the conversation that is opened
TRASHED = 100  # conversations
ROUNDS = 7

_COMMON = (
    *(
        "the",
        "be",
        "to",
        "of",
        "and",
        "a",
        "in",
        "that",
        "have",
        "I",
        "it",
        "for",
        "not",
        "on",
        "with",
        "he",
        "as",
        "you",
    ),
    *(
        "do",
        "at",
        "this",
        "but",
        "his",
        "by",
        "from",
        "they",
        "we",
        "say",
        "her",
        "she",
        "or",
        "an",
        "will",
        "my",
        "one",
    ),
    *("all", "would", "there", "their", "what", "so", "up", "out", "if", "about", "who", "get", "which", "go", "me"),
    *("model", "memory", "graphics", "card", "token", "cache", "prompt", "reply", "layer", "weight"),
)
_COMMON_ZH = (
    *(
        "的",
        "是",
        "在",
        "模型",
        "我们",
        "这个",
        "可以",
        "一个",
        "显存",
        "不足",
        "生成",
        "回答",
        "问题",
        "缓存",
        "人工智能",
    ),
    *("参数", "量化", "什么", "怎么", "没有", "因为", "所以"),
)

QUERIES = (
    *("the", "model", "graphics card", "t", "a", "th", "mod", "memor", "zyzzyva", "qwxyzk", '"graphics card"'),
    *(
        '"of the and"',
        "the of and a in that",
        "zyzzyva the",
        "的",
        "显",
        "显存",
        "显存不足",
        "人工智能",
        "饕餮",
        "龘龘",
    ),
    *('"显存 不足"', "模型 model", "graphics -card (the) AND*", '"graphics memory of the card"'),
)


class _Words:
    """Draws words as a language does: the n-th most common about 1/n as often as the first."""

    def __init__(self, chance: random.Random, words: list[str]) -> None:
        self._chance = chance
        self._words = words
        self._weights = list(itertools.accumulate(1 / (n + 3) for n in range(len(words))))

    def draw(self, count: int) -> list[str]:
        """That many words."""
        total, random_number = self._weights[-1], self._chance.random
        return [self._words[bisect.bisect(self._weights, random_number() * total)] for _ in range(count)]


def _texts(chance: random.Random) -> Iterator[str]:
    """English and Chinese texts without end, most of them short, some long."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = {"".join(chance.choices(letters, k=chance.randint(3, 11))) for _ in range(40_000)}
    english = _Words(chance, [*_COMMON, *sorted(made)])
    characters = [chr(0x4E00 + n) for n in range(3500)]
    chance.shuffle(characters)
    skewed = _Words(chance, characters)
    made = {"".join(skewed.draw(chance.choice((1, 2, 2, 2, 3)))) for _ in range(30_000)}
    chinese = _Words(chance, [*_COMMON_ZH, *sorted(made)])
    while True:
        length = min(600, 3 + int(chance.expovariate(1 / 30)))
        if chance.random() < 0.6:
            yield " ".join(english.draw(length)) + "."
        else:
            words = chinese.draw(length)
            words[5::9] = [word + "，" for word in words[5::9]]
            yield "".join(words) + "。"


def build(path: Path) -> None:
    """Make the big database. Takes minutes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in path.parent.glob(path.name + "*"):
        name.unlink()
    chance = random.Random(1)
    texts = _texts(chance)
    rare = {MESSAGES // 3: "zyzzyva the", MESSAGES // 2: "饕餮", 7: "zyzzyva 龘"}
    with closing(ConversationStore(path)) as store:
        database = store._connection
        database.execute("PRAGMA synchronous = OFF")
        lengths = [LONG, *[(MESSAGES - LONG) // (CONVERSATIONS - 1)] * (CONVERSATIONS - 1)]
        lengths[-1] += MESSAGES - sum(lengths)
        ids = itertools.count(1)
        for number, length in enumerate(lengths, 1):
            with store.batch():
                conversation = Conversation(
                    id=number,
                    title=next(texts)[:60],
                    created_at=float(number),
                    updated_at=float(number),
                    deleted_at=1.0 if number % (CONVERSATIONS // TRASHED) == 50 else None,
                )
                row = conversation_row(conversation)
                database.execute(f"INSERT INTO conversations ({CONVERSATION_COLUMNS}) VALUES (?{', ?' * 9})", row)
                messages = _messages(number, length, ids, texts, rare)
                database.executemany(INSERT_MESSAGE, map(message_row, messages))
                database.execute(
                    "UPDATE conversations SET leaf_id = (SELECT max(id) FROM messages WHERE conversation_id = ?)"
                    " WHERE id = ?",
                    (number, number),
                )
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        with store.batch():
            index_everything(database)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        index_pages = database.execute("PRAGMA page_count").fetchone()[0] - pages
        text = database.execute("SELECT sum(length(CAST(content AS BLOB))) FROM messages").fetchone()[0]
    facts = {"version": VERSION, "text_bytes": text, "index_bytes": index_pages * 4096}
    path.with_suffix(".json").write_text(json.dumps(facts))


def _messages(
    conversation_id: int, count: int, ids: Iterator[int], texts: Iterator[str], rare: dict[int, str]
) -> Iterator[Message]:
    parent: int | None = None
    stats = GenerationStats(prompt_tokens=100, completion_tokens=50, time_to_first_token=0.1, duration=1.0)
    for number in range(count):
        id_ = next(ids)
        reply = number % 2 == 1
        yield Message(
            id=id_,
            conversation_id=conversation_id,
            parent_id=parent,
            role="assistant" if reply else "user",
            content=next(texts) + rare.get(id_, ""),
            created_at=float(id_),
            model="tiny-model" if reply else "",
            finish_reason=FinishReason.STOP if reply else None,
            stats=stats if reply else None,
        )
        parent = id_


def big_database() -> dict[str, float]:
    """Make the database unless it is there; what is known about it."""
    facts = BIG.with_suffix(".json")
    if not BIG.exists() or not facts.exists() or json.loads(facts.read_text())["version"] != VERSION:
        print(f"building {BIG}, which takes minutes …", file=sys.stderr, flush=True)
        build(BIG)
    found: dict[str, float] = json.loads(facts.read_text())
    return found


def _milliseconds(act: Callable[[], object], rounds: int = 5) -> float:
    """The median time of an action, after one that warms the disk cache."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        act()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times[1:])


def measure_search(store: ConversationStore) -> dict[str, float]:
    """Milliseconds to the first 50 results, query by query.

    From the end of a full section of the index on: the newest may hold a few messages only, and be faster.
    """
    before = MESSAGES // SECTION * SECTION
    return {query: _milliseconds(lambda q=query: store.search(q, before=before)) for query in QUERIES}  # type: ignore[misc]


def measure_opening(store: ConversationStore) -> dict[str, float]:
    """A conversation of 10,000 messages, and the list of all conversations."""
    sql = "SELECT * FROM messages WHERE conversation_id = 1 ORDER BY id"
    found = {
        "messages_ms": _milliseconds(lambda: store.messages(1)),
        "bare_select_ms": _milliseconds(lambda: store._connection.execute(sql).fetchall()),
        "conversations_ms": _milliseconds(store.conversations),
    }
    gc.collect()
    tracemalloc.start()
    messages = store.messages(1)
    assert len(messages) == LONG
    found["messages_memory_mb"] = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return found


def _start_seconds(data: Path) -> float:
    """One start of the program on this data folder, measured as window_probe does it."""
    command = [sys.executable, "-m", "tests.bench.bench_storage", "turbodesk", repr(time.time()), data]
    out = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    ).stdout
    return float(json.loads(out.strip().splitlines()[-1])["seconds"])


def measure_start() -> dict[str, float]:
    """Starts on the big database and on none, in turn."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "big"
        (data / "turbodesk").mkdir(parents=True)
        (data / "turbodesk" / "conversations.db").symlink_to(BIG)
        for number in range(ROUNDS + 1):
            empty = Path(folder) / f"empty-{number}"
            empty.mkdir()
            pairs.append((_start_seconds(empty), _start_seconds(data)))
    return {
        "start_ratio": statistics.median(big / empty for empty, big in pairs[1:]),
        "start_s": statistics.median(big for _, big in pairs[1:]),
        "empty_start_s": statistics.median(empty for empty, _ in pairs[1:]),
    }


def measure() -> dict[str, float]:
    """Everything; see the names of the figures."""
    facts = big_database()
    with closing(ConversationStore(BIG)) as store:
        queries = measure_search(store)
        opening = measure_opening(store)
    slowest = max(queries, key=lambda query: queries[query])
    print(f"slowest query: {slowest}", file=sys.stderr)
    return {
        "search_worst_ms": queries[slowest],
        "search_median_ms": statistics.median(queries.values()),
        **opening,
        **measure_start(),
        "index_to_text_ratio": facts["index_bytes"] / facts["text_bytes"],
        **{f"search {query}": milliseconds for query, milliseconds in queries.items()},
    }


def probe(data: str) -> None:
    """One start, in a process of its own: window_probe with this data folder instead of an empty one."""
    from tests.bench import window_probe

    with mock.patch("tempfile.TemporaryDirectory", return_value=nullcontext(data)):
        window_probe.turbodesk()


if __name__ == "__main__":
    if sys.argv[1:2] == ["turbodesk"]:
        probe(sys.argv[3])
    else:
        print(json.dumps(measure(), indent=2, ensure_ascii=False))
