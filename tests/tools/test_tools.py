"""The clock, the file reader, and how every tool meets bad arguments."""

import json
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from desktop.tools import BUILTIN, ToolContext, ToolResult, check_tool_spec
from desktop.tools.file_reader import MAX_CHARACTERS


def run(tool: str, files: dict[str, Path] | None = None, /, **arguments: object) -> ToolResult:
    return BUILTIN[tool].run(json.dumps(arguments), ToolContext(files or {}))


def test_each_tool_is_known_by_its_own_name_and_could_be_declared() -> None:
    assert set(BUILTIN) == {"calculator", "current_time", "read_file"}
    for name, tool in BUILTIN.items():
        text = json.dumps({"name": name, "description": tool.spec.description, "parameters": tool.spec.parameters})
        assert check_tool_spec(text) == tool.spec


@pytest.mark.parametrize("name", list(BUILTIN))
@pytest.mark.parametrize(
    "arguments", ["{", "[]", "7", '{"no such": 1}', '{"name": [], "expression": 5, "time_zone": 1}']
)
def test_bad_arguments_are_a_sentence(name: str, arguments: str) -> None:
    result = BUILTIN[name].run(arguments, ToolContext())
    assert result.failed
    assert "argument" in result.content
    assert result.content.endswith(".")


@settings(deadline=None)
@given(
    some.text()
    | some.recursive(some.none() | some.booleans() | some.integers() | some.text(), some.lists).map(json.dumps)
)
def test_no_arguments_make_a_tool_raise(arguments: str) -> None:
    for tool in BUILTIN.values():
        assert isinstance(tool.run(arguments, ToolContext()), ToolResult)


def test_nested_without_end() -> None:
    assert BUILTIN["calculator"].run("[" * 100_000, ToolContext()).failed


def test_the_time_here() -> None:
    before = datetime.now().astimezone()
    told = json.loads(run("current_time").content)
    assert date.fromisoformat(told["date"]) - before.date() < (date(2000, 1, 3) - date(2000, 1, 1))
    assert told["weekday"] in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    assert told["utc_offset"][0] in "+-"


def test_the_time_elsewhere() -> None:
    told = json.loads(run("current_time", time_zone="Asia/Shanghai").content)
    assert told["utc_offset"] == "+08:00"
    assert told["time_zone"] == "Asia/Shanghai"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 10_000])
def test_a_time_zone_that_is_none(zone: str) -> None:
    result = run("current_time", time_zone=zone)
    assert result.failed
    assert "no time zone" in result.content


def test_a_file_is_read_in_parts(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + i % 500) for i in range(250_000))
    path = tmp_path / "long.txt"
    path.write_text(text, encoding="utf-8")
    found, offset = "", 0
    while True:
        part = run("read_file", {"long.txt": path}, name="long.txt", offset=offset)
        body, _, note = part.content.partition("\n\n[")
        assert len(body) <= MAX_CHARACTERS
        found += body
        offset += len(body)
        if not note:
            break
        assert note == f"{len(text) - offset} characters are left; read on with offset {offset}.]"
    assert found == text
    few = run("read_file", {"long.txt": path}, name="long.txt", offset=3, limit=2).content
    assert few.startswith(text[3:5] + "\n\n[")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("grüße 你好", encoding=encoding)
    assert run("read_file", {"a.txt": path}, name="a.txt") == ToolResult("grüße 你好")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other.txt", "not attached"),
        ("../good.txt", "not attached"),
        ("/etc/passwd", "not attached"),
        ("picture.png", "not a text file"),
        ("zeros.bin", "not a text file"),
        ("folder", "no file"),
        ("gone.txt", "not there any more"),
    ],
)
def test_only_attached_text_files_are_read(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (tmp_path / "zeros.bin").write_bytes(bytes(100))
    (tmp_path / "folder").mkdir()
    names = ("good.txt", "picture.png", "zeros.bin", "folder", "gone.txt")
    result = run("read_file", {name: tmp_path / name for name in names}, name=name)
    assert result.failed
    assert words in result.content


def test_bounds_of_a_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc")
    assert run("read_file", {"a.txt": path}, name="a.txt", offset=3) == ToolResult("")
    assert "only 3 characters" in run("read_file", {"a.txt": path}, name="a.txt", offset=4).content
    assert "at most" in run("read_file", {"a.txt": path}, name="a.txt", limit=MAX_CHARACTERS + 1).content
    assert "at least" in run("read_file", {"a.txt": path}, name="a.txt", offset=-1).content
