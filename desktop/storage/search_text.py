"""What counts as a word in the full-text search, in texts and in queries, and where a query is found in a text.

A text becomes lower-case words without accents. Chinese, Japanese, Korean and Thai text, which has no spaces to go by,
becomes overlapping pairs of characters, the last one of a run standing alone: 显存不足 gives 显存, 存不, 不足, 足.
So a run of any length is found as a phrase, and a single character as the beginning of a pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

LONGEST_WORD = 40
"""Characters by which words are told apart; encoded data has longer ones, which would swell the index."""

MOST_QUERY_WORDS = 32
_LONGEST_QUERY = 1000  # characters
SNIPPET = 160  # characters
_LEAD = 40  # characters of a snippet before what was found
_BLOCK = 4096  # characters

_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUN = rf"([{_PAIRED}]+)|[^\W_{_PAIRED}]+"
_WORD = rf"[^\W_{_PAIRED}]"
_BETWEEN = rf"(?:(?![{_PAIRED}])[\W_])*+"  # some of the paired are no letters to Python
_QUOTED = r'"([^"]*)"|([^"\s]+)'
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")


class _Fold(dict[int, str]):
    """Character -> the characters that stand for it in the index; each is worked out once."""

    def __missing__(self, code: int) -> str:
        import unicodedata  # only where there is more than ASCII

        char = chr(code)
        bare = [c for c in unicodedata.normalize("NFKD", char) if not "\u0300" <= c <= "\u036f"]
        folded = unicodedata.normalize("NFKC", "".join(bare)).casefold()
        self[code] = folded
        return folded


_FOLD = _Fold()


def fold(text: str) -> str:
    """The text without case and accents. Works character by character, so that a part folds as it does in the whole."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def words(text: str) -> Iterator[str]:
    """The words of a text as they are indexed, in order."""
    for match in re.finditer(_RUN, fold(text)):
        word = match[0]
        if match[1] is None:
            yield word[:LONGEST_WORD]
        else:
            for i in range(len(word)):
                yield word[i : i + 2]


class Phrase(NamedTuple):
    """Words that must follow each other. open_end: the last may be the beginning of a longer one."""

    words: tuple[str, ...]
    open_end: bool


class Query(NamedTuple):
    """What is searched for: every phrase must be there. pattern finds them in a folded text."""

    phrases: tuple[Phrase, ...]
    pattern: re.Pattern[str]


def parse_query(text: str) -> Query | None:
    """What a user means: several words mean all of them, each may go on; "in quotes" means exactly this phrase.

    No character is special beyond the quotation mark. None when there is nothing to search for.
    """
    phrases: list[Phrase] = []
    patterns: list[str] = []
    for match in re.finditer(_QUOTED, text[:_LONGEST_QUERY].translate(str.maketrans("“”", '""'))):
        piece, exact = (match[1], True) if match[1] is not None else (match[2], False)
        runs = list(re.finditer(_RUN, fold(piece)))
        found = list(words(piece))
        if not found or len(phrases) >= MOST_QUERY_WORDS:
            continue
        paired = runs[-1][1] is not None
        if paired and len(runs[-1][0]) > 1:
            found.pop()  # the run may go on in the text, and then its last character does not stand alone
        alone = paired and len(runs[-1][0]) == 1
        phrases.append(Phrase(tuple(found), open_end=alone or not (exact or paired)))
        patterns.append(_pattern(runs, exact))
    return Query(tuple(phrases), re.compile("|".join(patterns))) if phrases else None


def _pattern(runs: Sequence[re.Match[str]], exact: bool) -> str:
    parts: list[str] = []
    for number, run in enumerate(runs):
        last = number == len(runs) - 1
        word = re.escape(run[0][:LONGEST_WORD] if run[1] is None else run[0])
        if run[1] is None:
            long = len(run[0]) > LONGEST_WORD
            rest = f"{_WORD}*+" if long else ("" if last and not exact else f"(?!{_WORD})")
            word = f"(?<!{_WORD}){word}{rest}"
        elif not last:
            word += f"(?![{_PAIRED}])"
        parts.append(word)
    return _BETWEEN.join(parts)


class Excerpt(NamedTuple):
    """A piece of a text on one line, and the (start, end) of what was found in it, in characters."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def excerpt(text: str, query: Query, length: int = SNIPPET, lead: int = _LEAD) -> Excerpt:
    """About `length` characters around the first place where any phrase of the query is, `lead` of them before it."""
    match = query.pattern.search(fold(text))
    at = _original_offset(text, match.start()) if match else 0
    start = max(0, at - lead)
    if start:
        # at a word's beginning, where one is near
        space = re.search(r"\s", text[start : max(start, at - 5)])
        start += space.end() if space else 0
    piece = text[start : start + length]
    line = piece.translate(_CONTROLS)
    before = "…" if start else ""
    after = "…" if start + length < len(text) else ""
    shift = len(before)
    highlights = tuple(
        (shift + _original_offset(piece, found.start()), shift + _original_offset(piece, found.end() - 1) + 1)
        for found in query.pattern.finditer(fold(piece))
    )
    return Excerpt(before + line + after, highlights)


def _original_offset(text: str, offset: int) -> int:
    """The offset of the character of text that the character at this offset of the folded text comes from."""
    if text.isascii():
        return offset
    done = 0
    for start in range(0, len(text), _BLOCK):
        block = len(fold(text[start : start + _BLOCK]))
        if done + block > offset:
            for i, char in enumerate(text[start : start + _BLOCK], start):
                done += len(fold(char))
                if done > offset:
                    return i
        done += block
    return len(text)
