"""Text in pieces, a tenth of it set apart, and sequences of tokens that can be made again."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from desktop.domain.calibration import CalibrationMessage, Conversations, JsonLinesFile, ShippedText, TextFile
from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.jobs import pieces as pieces_module
from desktop.jobs.calibration import make_calibration_set, tokens_digest
from desktop.jobs.pieces import LINE_LIMIT, Pieces, read_pieces
from desktop.storage.paths import demo_checkpoint
from tests.jobs.running import guide_text


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo_checkpoint())


def texts(pieces: Pieces) -> list[str]:
    found = [*pieces.calibration, *pieces.held_out]
    assert all(isinstance(piece, str) for piece in found)
    return [piece for piece in found if isinstance(piece, str)]


def refusal(source: Any) -> str:
    with pytest.raises(TurbodeskError) as caught:
        read_pieces([source])
    assert caught.value.failure.code is FailureCode.CALIBRATION_UNUSABLE
    return caught.value.failure.message


def json_lines(folder: Path, *records: object) -> JsonLinesFile:
    path = folder / "set.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records), encoding="utf-8")
    return JsonLinesFile(str(path))


def test_paragraphs_become_pieces_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    paragraphs = [f"Paragraph {number}. " + "Some words. " * (number % 40) for number in range(300)]
    path.write_text("\n\n\n".join(paragraphs) + "\n", encoding="utf-8-sig")
    pieces = read_pieces([TextFile(str(path))])
    assert sorted("\n\n".join(texts(pieces)).split("\n\n")) == sorted(one.rstrip() for one in paragraphs)
    assert 0 < len(pieces.held_out) < len(pieces.calibration)
    assert pieces.duplicates == 0


def test_what_is_held_out_depends_on_the_piece_alone(tmp_path: Path) -> None:
    records = [{"text": f"Text number {number} of many, all of them different."} for number in range(500)]
    whole = read_pieces([json_lines(tmp_path, *records)])
    half = read_pieces([json_lines(tmp_path, *reversed(records[:250]))])
    assert set(half.held_out) <= set(whole.held_out)
    assert set(half.calibration) <= set(whole.calibration)
    assert not set(whole.held_out) & set(whole.calibration)
    assert 20 <= len(whole.held_out) <= 80


def test_duplicates_are_dropped_whatever_their_white_space(tmp_path: Path) -> None:
    one = {"text": "Twice the same thing, said in other places."}
    two = {"text": "Twice  the same\nthing, said in other places. "}
    assert read_pieces([json_lines(tmp_path, one, two, one)]).duplicates == 2
    path = tmp_path / "text.txt"
    path.write_text("A paragraph that stands here more than once, alas.\n\n" * 5)
    assert texts(read_pieces([TextFile(str(path))])) == ["A paragraph that stands here more than once, alas."]


def test_chats_in_each_style(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "x"}}]
    source = json_lines(
        tmp_path,
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "tool_calls": []}]},
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Good day"}]},
        "",
    )
    found = read_pieces([source])
    conversations = [*found.calibration, *found.held_out]
    assert sorted(conversations, key=str) == sorted(
        [
            (CalibrationMessage("user", "Hi"), CalibrationMessage("assistant", "Hello")),
            (CalibrationMessage("user", "Look"),),
            (CalibrationMessage("user", "Hi"), CalibrationMessage("assistant", "Good day")),
        ],
        key=str,
    )


@pytest.mark.parametrize("kind", [TextFile, JsonLinesFile])
def test_files_that_are_no_text(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "calibration.txt"
    for content, words in (
        (b"", "calibration.txt cannot be used as calibration text: it is empty"),
        (b"\n \n\n", "it is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "it is not text but binary data"),
        (b"\xff\xfe\xfa\n", "line 1 is not UTF-8 text"),
    ):
        path.write_bytes(content)
        assert words in refusal(kind(str(path)))
    assert "it cannot be read (no such file or directory)" in refusal(kind(str(tmp_path / "nothing")))
    assert "it cannot be read (is a directory)" in refusal(kind(str(tmp_path)))


def test_lines_that_are_no_records(tmp_path: Path) -> None:
    good = {"text": "Good."}
    assert "line 2 is not JSON" in refusal(json_lines(tmp_path, good, '{"text": '))
    assert "line 2 has neither a text nor messages" in refusal(json_lines(tmp_path, good, {"prompt": 1}))
    assert "line 1 has neither" in refusal(json_lines(tmp_path, {"messages": [{"role": "user"}, "x"]}))
    assert "line 1 has neither" in refusal(json_lines(tmp_path, [1]))
    assert "line 1 is not JSON" in refusal(json_lines(tmp_path, "[" * 100_000))


@pytest.mark.parametrize("kind", [TextFile, JsonLinesFile])
def test_one_line_of_a_gigabyte_takes_no_memory(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "line"
    with path.open("wb") as file:
        file.write(b"x" * 100)
        file.seek(1 << 30)  # a hole: the disk holds a few bytes
        file.write(b"x")
    with path.open("r+b") as file:  # letters, as far as is read
        file.write(b"x" * (LINE_LIMIT + 2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "line 1 is longer than 8 MB" in refusal(kind(str(path)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_only_the_beginning_of_a_large_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "READ_LIMIT", 10_000)
    path = tmp_path / "large.txt"
    path.write_text("".join(f"Line {number} of a text without empty lines.\n" for number in range(5000)))
    found = read_pieces([TextFile(str(path))])
    assert found.cut == ("large.txt",)
    assert 9_000 < sum(map(len, texts(found))) < 11_000


def test_the_same_sequences_again(tokenizer: Any, guide: Path) -> None:
    sources = [TextFile(str(guide))]
    first = make_calibration_set(sources, tokenizer, 6, 100, seed=1)
    again = make_calibration_set(sources, tokenizer, 6, 100, seed=1, count_all=True)
    other = make_calibration_set(sources, tokenizer, 6, 100, seed=2)
    assert [tuple(sample.shape) for sample in first.samples] == [(1, 100)] * 6
    assert first.statistics.sha256 == again.statistics.sha256 == tokens_digest(first.samples)
    assert other.statistics.sha256 != first.statistics.sha256
    assert not first.statistics.warnings
    assert sum(length.count for length in again.statistics.lengths) == again.statistics.pieces
    assert (again.statistics.counted_all, again.statistics.tokens >= first.statistics.tokens) == (True, True)
    text = tokenizer.decode(first.samples[0][0])
    assert all(line.strip() in guide.read_text() for line in text.split("\n")[1:-1] if line.strip())


def test_too_little_text_is_told_in_numbers(tokenizer: Any, guide: Path) -> None:
    found = make_calibration_set([TextFile(str(guide))], tokenizer, 128, 1024).statistics
    assert found.samples == found.tokens // 1024 < 128
    assert f"enough for {found.samples} of 128 samples of 1,024 tokens" in found.warnings[0]
    with pytest.raises(TurbodeskError, match="one sequence alone takes 32,768") as caught:
        make_calibration_set([TextFile(str(guide))], tokenizer, 128, 32768)
    assert caught.value.failure.code is FailureCode.CALIBRATION_UNUSABLE


def test_a_chat_gets_the_models_template(tokenizer: Any) -> None:
    conversation = (CalibrationMessage("user", "What is AWQ?"), CalibrationMessage("assistant", "A method. " * 30))
    chats = Conversations(((*conversation,), (CalibrationMessage("user", "Another one " * 30),)))
    found = make_calibration_set([chats], tokenizer, 1, 16, count_all=True)
    text = tokenizer.apply_chat_template(
        [{"role": one.role, "content": one.content} for one in conversation], tokenize=False
    )
    assert tokenizer.decode(found.samples[0][0]) in text


def test_a_chat_without_a_template_is_refused(guide: Path) -> None:
    plain = AutoTokenizer.from_pretrained(demo_checkpoint())
    plain.chat_template = None
    chats = Conversations(tuple((CalibrationMessage("user", f"Number {number}"),) for number in range(20)))
    with pytest.raises(TurbodeskError, match="no chat template"):
        make_calibration_set([chats], plain, 1, 16)
    plain.chat_template = "{{ raise_exception('only users') }}"
    with pytest.raises(TurbodeskError, match="refuses it"):
        make_calibration_set([chats], plain, 1, 16)


def test_the_shipped_text_is_enough_for_a_start(tokenizer: Any, tmp_path: Path) -> None:
    for part in ("english", "chinese", "code"):
        found = read_pieces([ShippedText((part,))])
        assert len(found.calibration) >= 10
    all_of_it = read_pieces([ShippedText()])
    assert all_of_it.held_out
    assert all_of_it.duplicates == 0
    assert sum(len(text.encode()) for text in texts(all_of_it)) > 40_000
    guide = TextFile(str(guide_text(tmp_path)))
    assert not set(texts(read_pieces([guide]))) & set(texts(all_of_it))
    assert "no such text" in refusal(ShippedText(("latin",)))
