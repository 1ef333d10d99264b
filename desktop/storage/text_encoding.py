"""Reads the text of a file that does not say its encoding."""

from __future__ import annotations

import codecs
from itertools import islice

_JUDGED = 10_000  # characters outside ASCII


def decode_text(data: bytes) -> str:
    """UTF-16 with its mark, UTF-8, GB18030 (GBK, GB2312) where that gives Chinese, else Windows-1252 or Latin-1.

    Raises UnicodeDecodeError for what has UTF-16's mark and is none. Everything else is some text.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    for encoding in ("utf-8-sig", "gb18030", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "gb18030" or _is_chinese(text):
            return text
    return data.decode("latin-1")


def _is_chinese(text: str) -> bool:
    """Whether text, read as GB18030, is meant so: two of its characters and a third of them all are common ones.

    In GB2312, the common characters (all but a few of any text in simplified ones) stand apart from the rare ones.
    Accented Western letters read as GB18030 fall among the rare ones, or the later additions. A general guesser was
    tried and is worse on a few words: charset-normalizer takes short Chinese texts for Korean, "café" for UTF-16.
    """
    common = other = 0
    for character in islice((each for each in text if each > "\x7f"), _JUDGED):
        lead, trail, *_ = character.encode("gb18030")
        if 0xB0 <= lead <= 0xD7 and trail >= 0xA1:
            common += 1
        elif not (0xA1 <= lead <= 0xA9 and trail >= 0xA1):  # marks, lines of tables: they say nothing
            other += 1
    return common >= 2 and 2 * common >= other
