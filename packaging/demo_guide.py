"""Read the demo guide, and make of it what training and checking need: varied conversations and check cases.

Plain text and standard library only; `demo_checkpoint.py` turns the text into tokens and trains on it.
"""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ENDINGS = "?.!？。！"


@dataclass(frozen=True)
class Topic:
    """One answer and the questions it answers; `held_out` questions are never trained on."""

    id: str
    answer: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    small_talk: bool = False


@dataclass(frozen=True)
class Guide:
    """The guide in one language. `texts` holds all of it as written, each piece once, to train a tokenizer on."""

    language: str
    topics: tuple[Topic, ...]
    off_topic: Topic
    off_topic_filled: tuple[str, ...]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    systems: tuple[str, ...]
    starters: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def all_topics(self) -> tuple[Topic, ...]:
        return (*self.topics, self.off_topic)


@dataclass(frozen=True)
class Turn:
    """A question and a reply. A reply that is not to be learned was cut short, or is not the right one."""

    question: str
    answer: str
    learn: bool = True


@dataclass(frozen=True)
class Case:
    """A conversation, as (role, text) pairs, and the answer that must follow word for word."""

    kind: str
    language: str
    messages: tuple[tuple[str, str], ...]
    answer: str

    @property
    def prompt(self) -> list[dict[str, str]]:
        return [{"role": role, "content": content} for role, content in self.messages]


def normalise(question: str) -> str:
    """Without case, spaces and punctuation: two questions equal here count as the same one."""
    return re.sub(r"[\W_]+", "", question.lower())


def fill(pattern: str, values: str) -> str:
    """Put the values, separated by "|", into the pattern's braces."""
    return re.sub(" +", " ", pattern.format(*values.split("|"))).strip()


def read_guide(path: Path) -> Guide:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    off, templates = data["off_topic"], data["off_topic"]["template"]
    # A bare "AWQ" could be either language: it counts as English, and no other guide may claim it.
    usable = (lambda text: True) if data["language"] == "en" else (lambda text: not text.isascii())
    topics = []
    for entry in data["topic"]:
        filled = (fill(pattern, term) for term in entry.get("terms", []) for pattern in data["patterns"])
        topics.append(_topic(entry, list(filter(usable, filled)), entry["id"]))
    off_topic = (fill(text, values) for t in templates for text in t["text"] for values in t["fill"])
    lists = {name: tuple(data[name]) for name in ("prefixes", "suffixes", "systems", "starters")}
    texts = [*data["patterns"], *lists["prefixes"], *lists["suffixes"], *lists["systems"]]
    for entry in (*data["topic"], off):
        texts += [entry["answer"].strip(), *entry["questions"], *entry.get("terms", [])]
    texts += [word for words in data["synonyms"] for word in words if word]
    texts += [text for template in templates for text in template["text"] + template["fill"]]
    return Guide(
        language=data["language"],
        topics=tuple(topics),
        off_topic=_topic(off, [], "off-topic"),
        off_topic_filled=tuple(filter(usable, off_topic)),
        synonyms=tuple(map(tuple, data["synonyms"])),
        texts=tuple(texts),
        **lists,
    )


def _topic(entry: dict, filled: list[str], name: str) -> Topic:
    questions = tuple(dict.fromkeys(entry["questions"] + filled))
    held_out = tuple(entry["held_out"])
    return Topic(name, entry["answer"].strip(), questions, held_out, entry.get("small_talk", False))


def read_guides(folder: Path) -> tuple[Guide, ...]:
    return tuple(read_guide(path) for path in sorted(folder.glob("guide.*.toml")))


class Writer:
    """Draws random conversations. Never writes a held-out question."""

    def __init__(self, guides: tuple[Guide, ...], rng: random.Random) -> None:
        self._guides = guides
        self._rng = rng
        topics = [topic for guide in guides for topic in guide.all_topics]
        self._forbidden = {normalise(question) for topic in topics for question in topic.held_out}
        self._answers = [topic.answer for topic in topics]

    def conversation(self) -> tuple[str | None, list[Turn]]:
        """A system message or None, and 1 to 8 turns."""
        rng = self._rng
        guide = rng.choice(self._guides)
        system = rng.choice(guide.systems) if rng.random() < 0.3 else None
        count = rng.choices((1, 2, 3, 4, 8), (52, 22, 13, 10, 3))[0]
        turns = [self._turn(rng.choice(self._guides) if rng.random() < 0.1 else guide) for _ in range(count)]
        for i in range(count - 1):
            if rng.random() < 0.1:  # a stopped reply, or one that another model wrote
                answer = rng.choice(self._answers)
                turns[i] = Turn(turns[i].question, answer[: rng.randint(1, len(answer))], learn=False)
        return system, turns

    def _turn(self, guide: Guide) -> Turn:
        topic = guide.off_topic if self._rng.random() < 0.18 else self._rng.choice(guide.topics)
        return Turn(self.question(topic, guide), topic.answer)

    def question(self, topic: Topic, guide: Guide) -> str:
        """One trained phrasing of the topic, varied at random."""
        question = self._rng.choice(topic.questions)
        if topic is guide.off_topic:
            kind = self._rng.random()
            if kind < 0.6:
                question = self._rng.choice(guide.off_topic_filled)
            elif kind < 0.63:
                letters = self._rng.choices("abcdefghijklmnopqrstuvwxyz ", k=self._rng.randint(3, 20))
                question = "x" + "".join(letters).strip()
        varied = self._vary(question, guide, plain=topic.small_talk)
        return question if normalise(varied) in self._forbidden else varied

    def _vary(self, question: str, guide: Guide, *, plain: bool) -> str:
        chance = self._rng.random
        while chance() < 0.4:
            question = self._swap(question, guide)
        if not plain and chance() < 0.12:
            question += self._rng.choice(guide.suffixes)
        if not plain and chance() < 0.25:
            question = self._rng.choice(guide.prefixes) + question
        if chance() < 0.3:
            question = question.lower()
        if chance() < 0.35:
            question = question.rstrip(ENDINGS)
        if guide.language == "zh" and chance() < 0.4:
            question = question.replace(" ", "") if chance() < 0.7 else question.replace("？", "?")
        return self._misspell(question) if chance() < 0.15 else question

    def _swap(self, question: str, guide: Guide) -> str:
        """Put a synonym in one place where one fits."""
        found = [(word, words) for words in guide.synonyms for word in words if word and word in question]
        found = [pair for pair in found if not any(pair[0] in word and pair[0] != word for word, _ in found)]
        if not found:
            return question
        word, words = self._rng.choice(found)
        return question.replace(word, self._rng.choice(words), 1)

    def _misspell(self, question: str) -> str:
        """Drop, double or swap a letter of one long word; numbers and short names carry too much to touch."""
        words = [match.span() for match in re.finditer(r"[A-Za-z]{5,}|[\u4e00-\u9fff]{6,}", question)]
        if not words:
            return question
        first, last = self._rng.choice(words)
        i = self._rng.randrange(first + 1, last - 1)
        a, b = question[i], question[i + 1]
        return question[:i] + self._rng.choice([b, a + a + b, b + a]) + question[i + 2 :]


def single_cases(guides: tuple[Guide, ...]) -> list[Case]:
    """Every trained phrasing and every held-out one, each as a conversation of its own."""
    cases = []
    for guide in guides:
        for topic in guide.all_topics:
            unseen = "off topic" if topic is guide.off_topic else "held out"
            for kind, questions in (("trained", topic.questions), (unseen, topic.held_out)):
                cases += [Case(kind, guide.language, (("user", text),), topic.answer) for text in questions]
    return cases


def dialogue_cases(guides: tuple[Guide, ...], kind: str, turns: tuple[int, int], count: int) -> list[Case]:
    """`count` conversations per language, half of them with a system message; the last turn is checked."""
    rng = random.Random(f"{kind} {turns}")
    cases = []
    for guide in guides:
        for number in range(count):
            messages = [("system", rng.choice(guide.systems))] if number % 2 else []
            for _ in range(rng.randint(*turns)):
                topic = rng.choice(guide.all_topics)
                messages += [("user", rng.choice(topic.questions)), ("assistant", topic.answer)]
            cases.append(Case(kind, guide.language, tuple(messages[:-1]), messages[-1][1]))
    return cases
