"""Kills a process that writes streaming replies, at random moments, and checks what is left of the database.

python -m tests.storage.chaos_kill_writer --rounds 200
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from desktop.domain.conversation import MessageState
from desktop.storage.conversations import ConversationStore
from tests.storage.writing import new_conversation, new_message

ROOT = Path(__file__).parents[2]
SAVE_EVERY = 0.05  # seconds
TOKENS_PER_REPLY = 150  # about 0.3 s, so that kills also meet the end of a reply and the start of the next
MOST_MISSING = 0.5  # seconds of text


class Report(NamedTuple):
    """What the rounds showed. most_missing_s: seconds of written text that were not saved, the worst round's."""

    rounds: int
    interrupted: int
    finished: int
    most_missing_s: float


def reply_text(message_id: int, start: int, end: int) -> str:
    """The text of a reply from one token to another; every reply has its own."""
    return "".join(f"<{message_id}:{i} 你\udcff>" for i in range(start, end))


def write(path: Path) -> None:
    """The child: replies for ever; says on stdout what it has written, and what the store has acknowledged."""

    def say(event: str, message_id: int, tokens: int) -> None:
        print(json.dumps([event, message_id, tokens, time.monotonic()]), flush=True)

    store = ConversationStore(path)
    conversation = new_conversation(store, "chaos")
    while True:
        question = new_message(store, conversation.id, None, "user", "go on")
        reply = new_message(store, conversation.id, question.id, "assistant", "", MessageState.STREAMING)
        saved, saved_at = 0, time.monotonic()
        for tokens in range(1, TOKENS_PER_REPLY + 1):
            time.sleep(0.001)
            say("token", reply.id, tokens)
            if time.monotonic() - saved_at >= SAVE_EVERY:
                store.append_text(reply.id, reply_text(reply.id, saved, tokens))
                saved, saved_at = tokens, time.monotonic()
        whole = reply_text(reply.id, 0, TOKENS_PER_REPLY)
        store.finish_message(msgspec.structs.replace(reply, content=whole, state=MessageState.COMPLETE))
        say("finished", reply.id, TOKENS_PER_REPLY)


def kill_writer(rounds: int, folder: Path, seed: int | None = None) -> Report:
    """Let a child write, kill -9 it, check; all rounds on one database. Raises AssertionError when text was lost."""
    chance = random.Random(seed)
    path = folder / "conversations.db"
    interrupted = finished = 0
    worst = 0.0
    for number in range(rounds):
        events = _one_kill(path, folder / f"events-{number}.jsonl", chance, at_start=number % 10 == 9)
        with closing(ConversationStore(path)) as store:
            running = [message_id for (message_id,) in _rows(path, "SELECT id FROM messages WHERE state = 'streaming'")]
            assert len(running) <= 1, running
            assert store.recover() == len(running)
            assert store.recover() == 0
            messages = {
                id_: message for talk in store.conversations() for id_, message in store.messages(talk.id).items()
            }
        assert _rows(path, "PRAGMA integrity_check") == [("ok",)]
        assert _rows(path, "PRAGMA foreign_key_check") == []

        for event, message_id, tokens, _ in events:
            if event == "finished":
                assert messages[message_id].state is MessageState.COMPLETE
                assert messages[message_id].content == reply_text(message_id, 0, tokens)
                finished += 1
        for message_id in running:
            interrupted += 1
            assert messages[message_id].state is MessageState.INTERRUPTED
            content = messages[message_id].content
            saved = content.count("<")
            assert content == reply_text(message_id, 0, saved)
            missing = [at for event, id_, tokens, at in events if id_ == message_id and tokens > saved]
            worst = max(worst, missing[-1] - missing[0] if missing else 0.0)
            assert worst <= MOST_MISSING, f"{worst:.3f} s of text are missing"
    return Report(rounds, interrupted, finished, worst)


def _one_kill(path: Path, log: Path, chance: random.Random, at_start: bool) -> list[tuple[str, int, int, float]]:
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.chaos_kill_writer", "--write", path], cwd=ROOT, stdout=output
        )
    try:
        deadline = time.monotonic() + 30
        while not at_start and not log.stat().st_size:
            assert child.poll() is None, "the writer ended by itself"
            assert time.monotonic() < deadline, "the writer wrote nothing"
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.6))
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()
    complete_lines = log.read_bytes().rpartition(b"\n")[0].splitlines()
    return [tuple(json.loads(line)) for line in complete_lines]


def _rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = kill_writer(arguments.rounds, Path(folder), arguments.seed)
    print(
        f"{report.rounds} kills: database whole each time, {report.finished} finished replies intact, "
        f"{report.interrupted} interrupted, at most {report.most_missing_s * 1000:.0f} ms of text missing"
    )


if __name__ == "__main__":
    main()
