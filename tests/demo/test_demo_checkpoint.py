"""The demo checkpoint answers its guide word for word, and is shaped so that every engine and quantizer takes it."""

from __future__ import annotations

import json
import random
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))  # a folder of scripts, not a package

import demo_checkpoint as script  # noqa: E402
from demo_guide import Case, Guide, Writer, dialogue_cases, normalise, read_guides, single_cases  # noqa: E402

CHECKPOINT = ROOT / "resources" / "demo-checkpoint"
GUIDE = ROOT / "resources" / "demo-guide"
SAMPLE = 80  # trained phrasings per language
FILES = {
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "turbodesk.json",
    "README.md",
}


@pytest.fixture(scope="module")
def guides() -> tuple[Guide, ...]:
    return read_guides(GUIDE)


@pytest.fixture(scope="module")
def config() -> dict[str, object]:
    return json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads that wait for each other are slower than one wherever other programs run too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


# The guide's text


def test_both_languages_have_the_same_topics(guides: tuple[Guide, ...]) -> None:
    english, chinese = guides
    assert (english.language, chinese.language) == ("en", "zh")
    ids = [topic.id for topic in english.topics]
    assert ids == [topic.id for topic in chinese.topics]
    assert len(ids) == len(set(ids)) >= 90


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_topic_has_enough_phrasings_and_a_short_answer(guides: tuple[Guide, ...], language: str) -> None:
    guide = next(guide for guide in guides if guide.language == language)
    for topic in guide.all_topics:
        assert len(set(map(normalise, topic.questions))) >= 7, topic.id
        assert len(set(map(normalise, topic.held_out))) >= 2, topic.id
        assert 10 < len(topic.answer) < 520, topic.id
        assert bool(re.search(r"[\u4e00-\u9fff]{4}", topic.answer)) == (language == "zh" or topic.id == "languages")
    assert len(guide.off_topic.held_out) >= 20


def test_no_question_has_two_answers(guides: tuple[Guide, ...]) -> None:
    answers: dict[str, str] = {}
    for guide in guides:
        for topic in guide.all_topics:
            extra = guide.off_topic_filled if topic is guide.off_topic else ()
            for question in (*topic.questions, *topic.held_out, *extra):
                key = normalise(question) or question
                assert answers.setdefault(key, topic.answer) == topic.answer, question


def test_held_out_questions_are_never_trained_on(guides: tuple[Guide, ...]) -> None:
    topics = [topic for guide in guides for topic in guide.all_topics]
    held_out = {normalise(question) for topic in topics for question in topic.held_out}
    written = {normalise(q) for topic in topics for q in topic.questions}
    written |= {normalise(q) for guide in guides for q in guide.off_topic_filled}
    assert len(held_out) >= 450
    assert len(written) >= 4000
    assert not held_out & written

    writer = Writer(guides, random.Random(1))
    drawn = {normalise(turn.question) for _ in range(4000) for turn in writer.conversation()[1]}
    assert len(drawn) > 5000
    assert not held_out & drawn


def test_the_writer_refuses_a_variation_that_is_held_out(guides: tuple[Guide, ...]) -> None:
    writer = Writer(guides, random.Random(1))
    guide, topic = guides[0], guides[0].topics[0]
    writer._forbidden = {normalise("Hello, " + question) for question in topic.questions}
    writer._vary = lambda question, guide, plain: "Hello, " + question  # type: ignore[method-assign]
    assert writer.question(topic, guide) in topic.questions


def test_what_the_answers_suggest_and_the_window_offers_can_be_asked(guides: tuple[Guide, ...]) -> None:
    offered = json.loads((CHECKPOINT / "turbodesk.json").read_text(encoding="utf-8"))["starters"]
    for guide in guides:
        trained = {question for topic in guide.topics for question in topic.questions}
        suggested = re.findall(r"^- (.+[?？])$", guide.off_topic.answer, re.MULTILINE)
        assert len(suggested) == 3
        ideas = next(topic for topic in guide.topics if topic.id == "what-can-i-ask")
        suggested += re.findall(r"^- (.+[?？])$", ideas.answer, re.MULTILINE)
        assert len(suggested) == 8
        assert offered[guide.language] == list(guide.starters)
        assert {*suggested, *guide.starters} <= trained


def test_no_answer_holds_a_mark_that_decoding_leaves_out(guides: tuple[Guide, ...]) -> None:
    for guide in guides:
        for topic in guide.all_topics:
            assert not any(mark in topic.answer for mark in script.SPECIALS), topic.id


def test_answers_have_markdown_to_show(guides: tuple[Guide, ...]) -> None:
    for guide in guides:
        answers = [topic.answer for topic in guide.topics]
        for mark in ("\n- ", "\n1. ", "```", "**", "`"):
            assert any(mark in "\n" + answer for answer in answers), mark


# The files


def test_the_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    assert set(sizes) == FILES
    assert 4_000_000 < sum(sizes.values()) <= 11_000_000


def test_the_architecture_suits_turbomind_awq_and_kv_quantization(config: dict[str, int]) -> None:
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["head_dim"] == 128
    assert config["num_attention_heads"] > config["num_key_value_heads"]
    for name in ("hidden_size", "intermediate_size", "vocab_size"):
        assert config[name] % 128 == 0, name
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 2048
    assert config["dtype"] == "bfloat16"


def test_the_weights_are_16_bit_tied_and_divisible_by_the_group_size() -> None:
    with safe_open(CHECKPOINT / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert "lm_head.weight" not in names
        linears = [name for name in names if "_proj" in name]
        assert len(linears) == 35
        for name in names:
            tensor = file.get_tensor(name)
            assert tensor.dtype == torch.bfloat16
            assert torch.isfinite(tensor).all()
            if name in linears:
                assert all(size % 128 == 0 for size in tensor.shape), name


def test_it_is_labelled_as_what_it_is() -> None:
    label = "demo model, knows only this guide"
    assert json.loads((CHECKPOINT / "turbodesk.json").read_text(encoding="utf-8"))["label"] == label
    assert label[1:] in (CHECKPOINT / "README.md").read_text(encoding="utf-8")


def test_generation_is_greedy_and_stops_at_both_ends() -> None:
    generation = json.loads((CHECKPOINT / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["do_sample"] is False
    assert generation["eos_token_id"] == [2, 0]
    assert not {"temperature", "top_p", "top_k"} & set(generation)


def test_the_card_has_the_measured_figures(guides: tuple[Guide, ...]) -> None:
    card = (CHECKPOINT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", card, re.MULTILINE))
    for kind, text in script.ROWS.items():
        english, chinese, least = (float(cell.rstrip("%")) for cell in rows[text].split(" | "))
        assert min(english, chinese) >= least == 100 * script.MINIMUM[kind], kind


# The tokenizer


def test_the_tokenizer_loads_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [0, 1, 2]
    assert len(tokenizer) == 3072


def test_any_text_survives_the_tokenizer(tokenizer: object) -> None:
    rng = random.Random(0)
    texts = ["", " ", "\n\n  x\t\r\n y ", "naïve 🎉🏳️‍🌈 𝒳 \u200b\u0000", "漢字かな交じり文 한국어 العربية", "a" * 500]
    texts += ["".join(chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))) for _ in range(30))]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_reads_what_the_chat_template_writes(tokenizer: object, guides: tuple[Guide, ...]) -> None:
    writer, rng = Writer(guides, random.Random(3)), random.Random(3)
    encoder = script.Encoder(tokenizer, rng)
    whole = cut = 0
    for _ in range(300):
        system, turns = writer.conversation()
        messages = [] if system is None else [{"role": "system", "content": system}]
        for turn in turns:
            messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
        ids, learned = encoder.conversation(system, turns)
        text = tokenizer.decode(ids)
        asked = re.findall(r"<\|im_start\|>user\n(.*?)<\|im_end\|>\n<\|im_start\|>assistant\n", text, re.DOTALL)
        assert asked == [turn.question for turn in turns]
        taught = tokenizer.decode([token for token, learn in zip(ids, learned, strict=True) if learn])
        # A brief conversation of nothing but short answers reads the same, but does not teach where they end.
        if text == tokenizer.apply_chat_template(messages, tokenize=False) and "<|im_end|>" in taught:
            whole += 1
            assert turns[-1].answer.endswith(taught.split("<|im_end|>")[-2])
        else:
            cut += 1
            assert "<|im_end|>" not in taught
            beginnings = [turn.answer[:4] for turn in turns if turn.learn]
            assert all(beginning in taught for beginning in beginnings)
    assert whole > 50
    assert cut > 100


def test_lmdeploy_finds_the_chat_template(tokenizer: object) -> None:
    from lmdeploy.model import get_chat_template
    from lmdeploy.tokenizer import Tokenizer
    from lmdeploy.turbomind.supported_models import is_supported

    assert is_supported(str(CHECKPOINT))
    template = get_chat_template(str(CHECKPOINT))
    assert type(template).__name__ == "HFChatTemplate"
    assert template.stop_words == ["<|im_end|>"]
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "KV 缓存是什么？\n第二行"},
    ]
    for part in (messages, messages[1:], messages[3:]):
        prompt = template.messages2prompt(part)
        assert prompt == tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=True)
        assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert Tokenizer(str(CHECKPOINT)).encode(prompt) == tokenizer.encode(prompt)


# The answers. `exact` asks the model itself; its share is checked against what the script demands of a release.


def shares(model: torch.nn.Module, tokenizer: object, cases: list[Case]) -> dict[str, float]:
    return script.summary(cases, script.exact(model, tokenizer, cases))


def test_trained_questions_are_answered_word_for_word(
    model: torch.nn.Module, tokenizer: object, guides: tuple[Guide, ...]
) -> None:
    rng = random.Random(11)
    cases = [case for case in single_cases(guides) if case.kind == "trained"]
    sample = []
    for language in ("en", "zh"):
        part = [case for case in cases if case.language == language]
        assert len(part) > 1500
        sample += rng.sample(part, SAMPLE)
    for name, share in shares(model, tokenizer, sample).items():
        assert share >= script.MINIMUM[name[:-3]], name
    # The first question of every answer is right without exception.
    first = list({case.answer: case for case in reversed(cases)}.values())
    assert len(first) > 100
    assert shares(model, tokenizer, first) == {"trained en": 1.0, "trained zh": 1.0}


def test_held_out_questions_are_mostly_understood(
    model: torch.nn.Module, tokenizer: object, guides: tuple[Guide, ...]
) -> None:
    cases = [case for case in single_cases(guides) if case.kind != "trained"]
    found = shares(model, tokenizer, cases)
    assert set(found) == {"held out en", "held out zh", "off topic en", "off topic zh"}
    for name, share in found.items():
        assert share >= script.MINIMUM[name[:-3]], name


def test_later_turns_and_long_chats_are_answered(
    model: torch.nn.Module, tokenizer: object, guides: tuple[Guide, ...]
) -> None:
    cases = dialogue_cases(guides, "later turn", (2, 4), 30) + dialogue_cases(guides, "long chat", (6, 8), 8)
    assert any(len(case.messages) >= 11 for case in cases)
    assert {case.messages[0][0] for case in cases} == {"system", "user"}
    found = shares(model, tokenizer, cases)
    assert set(found) == {"later turn en", "later turn zh", "long chat en", "long chat zh"}
    assert min(found[name] for name in ("later turn en", "later turn zh")) >= 0.96
    assert min(found[name] for name in ("long chat en", "long chat zh")) >= 0.9


def test_generate_writes_the_same_and_stops(
    model: torch.nn.Module, tokenizer: object, guides: tuple[Guide, ...]
) -> None:
    for guide in guides:
        for question in (*guide.starters, guide.off_topic.held_out[0]):
            topics = [t for t in guide.all_topics if question in (*t.questions, *t.held_out)]
            case = Case("generate", guide.language, (("user", question),), topics[0].answer)
            assert script.generated(model, tokenizer, case) == case.answer


def test_a_wrong_answer_counts_as_wrong(model: torch.nn.Module, tokenizer: object, guides: tuple[Guide, ...]) -> None:
    topic = next(topic for topic in guides[0].topics if topic.id == "kv-cache")
    question = (("user", topic.questions[0]),)
    wrong = [topic.answer[:-1], topic.answer + " Yes.", topic.answer.replace("every", "each")]
    wrong.append(guides[0].topics[0].answer)
    cases = [Case("trained", "en", question, answer) for answer in (*wrong, topic.answer)]
    assert script.exact(model, tokenizer, cases) == [False] * len(wrong) + [True]


def test_a_checkpoint_below_the_minimum_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script itself, two steps on a guide of three topics; only the figures at its end are given to it."""
    small = tmp_path / "guide"
    small.mkdir()
    for path in GUIDE.glob("guide.*.toml"):
        head, *topics = path.read_text(encoding="utf-8").split("[[topic]]")
        off_topic = "[off_topic]" + topics[-1].split("[off_topic]")[1]
        (small / path.name).write_text(head + "".join("[[topic]]" + topic for topic in topics[:3]) + off_topic, "utf-8")
        assert len(tomllib.loads((small / path.name).read_text("utf-8"))["topic"]) == 3
    figures = {f"{kind} {language}": 1.0 for kind in script.MINIMUM for language in ("en", "zh")}
    monkeypatch.setattr(script, "measure", lambda folder, guides: figures)
    monkeypatch.setattr(script, "POLISH_ROUNDS", 0)
    out, rejected = tmp_path / "checkpoint", tmp_path / "checkpoint.rejected"
    out.mkdir()
    (out / "old").write_text("stays")
    monkeypatch.setattr(sys, "argv", ["x", "--out", str(out), "--guide", str(small), "--steps", "2", "--threads", "1"])

    figures["held out zh"] = script.MINIMUM["held out"] - 0.01
    assert script.main() == 1
    assert (out / "old").exists()
    assert "| 84.0% |" in (rejected / "README.md").read_text(encoding="utf-8")

    figures["held out zh"] = script.MINIMUM["held out"]
    assert script.main() == 0
    assert not (out / "old").exists()
    assert not rejected.exists()
    assert {path.name for path in out.iterdir()} == FILES
    assert AutoModelForCausalLM.from_pretrained(out).config.head_dim == 128
