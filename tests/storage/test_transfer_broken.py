"""Files that cannot be imported: the sentence names line and reason, and the database is as it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.domain.errors import TurbodeskError
from desktop.storage import transfer_lines, transfer_reading
from desktop.storage.conversations import ConversationStore
from desktop.storage.transfer import export_json_lines, import_file, inspect_import
from tests.storage.writing import everything, fill


@pytest.fixture
def full(store: ConversationStore) -> ConversationStore:
    """A store with everything in it that there can be."""
    fill(store)
    return store


def refused(path: Path, store: ConversationStore | None = None) -> str:
    """The sentence with which a file is refused, both when looked through and when imported."""
    with pytest.raises(TurbodeskError) as looked:
        inspect_import(path)
    if store is not None:
        before = everything(store)
        with pytest.raises(TurbodeskError) as caught:
            import_file(store, path)
        assert everything(store) == before
        assert caught.value.failure.message == looked.value.failure.message
    return looked.value.failure.message


def lines_of(full: ConversationStore, path: Path) -> list[Any]:
    export_json_lines(full, path)
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def put(path: Path, lines: list[Any]) -> None:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("line", "change", "reason"),
    [
        (5, {"role": "wizard"}, "line 6:"),
        (5, {"content": 7}, "line 6:"),
        (5, {"created_at": 1e300}, "line 6:"),
        (5, {"created_at": "now"}, "line 6:"),
        (6, {"parent": 2}, "line 7: there is no message 2"),
        (6, {"parent": 0}, "line 7:"),
        (3, {"folder": 3}, "line 4: there is no folder 3"),
        (3, {"leaf": 7}, "no message 7"),
        (4, {"data": "AAAA"}, "line 5: the attachment's bytes"),
        (4, {"data": "é"}, "line 5:"),
        (4, {"type": "dragon"}, "line 5:"),
        (-1, {"messages": 5}, "a part of it is missing"),
        (0, {"version": 2}, "a newer Turbodesk"),
        (0, {"version": "one"}, "line 1:"),
    ],
)
def test_a_broken_line_is_named(
    full: ConversationStore, tmp_path: Path, line: int, change: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "x.jsonl"
    lines = lines_of(full, path)
    lines[line].update(change)
    put(path, lines)
    message = refused(path, full)
    assert message.startswith("x.jsonl cannot be imported: ")
    assert reason in message


def test_a_file_that_was_cut_is_refused(full: ConversationStore, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = lines_of(full, path)
    whole = path.read_bytes()
    for end in (len(lines) - 1, 6, 1):
        put(path, lines[:end])
        assert f"line {end}: the file ends too early" in refused(path, full)
    path.write_bytes(whole[: len(whole) // 2])
    assert "is not JSON" in refused(path, full)
    put(path, [*lines, lines[1]])
    assert "there is more after" in refused(path, full)
    put(path, [lines[0], lines[5], lines[-1]])
    assert "no conversation above" in refused(path, full)
    put(path, [lines[0], lines[0]])
    assert "second header" in refused(path, full)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n ", "empty"),
        (b"hello", "line 1: it is not JSON"),
        (b'{\n"a": 1,\n oops}', "line 3: it is not JSON"),
        (b"\xff\xfe\x00", "line 1: it is not UTF-8"),
        (b"7", "no list of messages"),
        (b'"text"', "no list of messages"),
        (b"{}", "no list of messages"),
        (b"[1]", "a message is not an object"),
        (b'{"messages": 1}', "no list of messages"),
        (b'[{"role": "wizard", "content": "x"}]', "message 1: its role is 'wizard'"),
        (b'[{"role": "user", "content": 1}]', "message 1: its content"),
        (b'[{"role": "user", "content": [{"type": "input_audio"}]}]', "'input_audio'"),
        (b'[{"role": "user", "content": [{"type": "text"}]}]', "has no text"),
        (b'[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]', "no address"),
        (b'[{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png,x"}]}]', "base64"),
        (b'[{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,AAAA"}]}]', "no picture"),
        (b'[{"role": "assistant", "tool_calls": [{}]}]', "names no function"),
        (b'[{"role": "assistant", "tool_calls": 3}]', "not a list"),
        (b'{"messages": []}\n{"messages": 3}', "line 2: it holds no list"),
        (b'{"messages": []}\n{"messages": ', "line 2: it is not JSON"),
        (b'{"messages": []}\n[NaN]', "NaN"),
        (b"[" + b"9" * 5000 + b"]", "line 1"),
        (b"[" * 1001 + b"]" * 1001, "nested too deeply"),
        (b"\n" + b'{"a":' * 200_000, "line 2: it is nested too deeply"),
        (b'{"format": "turbodesk-conversations"}', "line 1"),
        (b'{"format": "turbodesk-conversations", "version": 1, "type": "end"}', "line 1"),
    ],
)
def test_a_file_that_makes_no_sense(store: ConversationStore, tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert reason in refused(path, store)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}":, 1abcmesagrol\n', max_size=200).map(str.encode))
def test_any_bytes_are_taken_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        path.write_bytes(content)
        message = ""
        try:
            inspect_import(path)
        except TurbodeskError as problem:
            message = problem.failure.message
        assert not message or "x.json cannot be imported" in message


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    assert "larger than 2 GB" in refused(path)
    for module in (transfer_lines, transfer_reading):
        monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    put(path, [{"messages": []}, {"messages": ["x" * 1000]}])
    assert "line 2: it is longer than" in refused(path)
    path.write_text("[\n" + '{"role": "user"},\n' * 100)
    assert "it is longer than" in refused(path)


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    assert "not a file" in refused(tmp_path / "gone.jsonl")
    assert "not a file" in refused(tmp_path)
