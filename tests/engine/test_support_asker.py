"""One child for many folders; a child that hangs, dies, or never starts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from desktop.domain.engine_config import Backend
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.engine.support_asker import SupportAsker
from desktop.storage.paths import demo_checkpoint
from tests.storage.model_folders import write_model

# A child that does as the folder's name says.
PROGRAM = """
import base64, json, os, sys, time
def say(**answer):
    print(json.dumps({"lmdeploy": "1", **answer}), flush=True)
say()
for line in sys.stdin.buffer:
    folder = os.fsdecode(base64.b64decode(json.loads(line)["folder"]))
    name = os.path.basename(folder)
    if name == "hang": time.sleep(1000)
    if name == "die": os._exit(7)
    if name == "garbage": print("not an answer", flush=True)
    elif name == "flood": sys.stdout.write("x" * (2 << 20)); sys.stdout.flush()
    else: say(failure=f"{os.getpid()} {name!a}")
"""


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) == before


def asker(program: str = PROGRAM, folder_seconds: float = 5.0) -> SupportAsker:
    return SupportAsker("1", [sys.executable, "-c", program], start_seconds=30, folder_seconds=folder_seconds)


def test_the_real_child(tmp_path: Path) -> None:
    odd = write_model(Path(os.fsdecode(os.fsencode(tmp_path) + b"/line\nand \xff")))
    broken = write_model(tmp_path / "broken", architectures=None)
    answers = dict(SupportAsker("").ask([str(demo_checkpoint()), str(broken), str(odd), "/nowhere"]))
    assert list(answers) == [str(demo_checkpoint()), str(broken), str(odd), "/nowhere"]
    demo, failed, named_oddly, nowhere = answers.values()
    for whole in (demo, named_oddly):
        assert [(verdict.backend, verdict.runs) for verdict in whole.verdicts] == [
            (Backend.TURBOMIND, True),
            (Backend.PYTORCH, True),
            (Backend.CPU, True),
        ]
    for bad in (failed, nowhere):
        assert bad.verdicts == ()
        assert bad.failure.startswith("LMDeploy cannot read this model: ")
        assert bad.failure.endswith(".")
        assert "\n" not in bad.failure


def test_one_child_answers_for_all() -> None:
    answers = list(asker().ask([f"/models/{number}" for number in range(50)]))
    assert [folder for folder, _ in answers] == [f"/models/{number}" for number in range(50)]
    assert len({support.failure.split()[0] for _, support in answers}) == 1


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("hang", "did not answer within 1 s"),
        ("die", "exit code 7"),
        ("garbage", "its answer was not one"),
        ("flood", "stopped answering"),
    ],
)
def test_a_bad_folder_gets_a_sentence_and_the_next_a_new_child(name: str, word: str) -> None:
    answers = dict(asker(folder_seconds=1.0).ask(["/a", f"/{name}", "/b"]))
    assert word in answers[f"/{name}"].failure
    assert answers[f"/{name}"].lmdeploy == "1"
    first, second = answers["/a"].failure.split(), answers["/b"].failure.split()
    assert (first[1], second[1]) == ("'a'", "'b'")
    assert first[0] != second[0]


@pytest.mark.parametrize(
    "program", ["import sys; print('no module', file=sys.stderr); sys.exit(3)", "print('not an answer')"]
)
def test_a_child_that_does_not_start(program: str) -> None:
    with pytest.raises(TurbodeskError) as caught:
        list(asker(program).ask(["/a"]))
    assert caught.value.failure.code is FailureCode.ENGINE_DIED
    if "exit(3)" in program:
        assert "exit code 3" in caught.value.failure.message
        assert "no module" in caught.value.failure.detail


def test_cancelling_does_not_wait_for_the_child() -> None:
    begun = time.monotonic()
    cancelled = (time.monotonic() - begun > 0.5 for _ in iter(int, 1))
    assert list(asker(folder_seconds=1000).ask(["/hang"], lambda: next(cancelled))) == []


def test_nothing_to_ask_starts_nothing() -> None:
    assert list(SupportAsker("1", ["/not/a/program"]).ask([])) == []
