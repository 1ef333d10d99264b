"""Every failure has words that a person can act on."""

from __future__ import annotations

import string

import msgspec
import pytest

from desktop.domain.errors import _WORDS, Failure, FailureCode, TurbodeskError, error, failure


def facts_of(code: FailureCode) -> dict[str, object]:
    """Something for every brace of the code's sentences."""
    message, next_step, _ = _WORDS[code]
    names = {name for text in (message, next_step) for _, name, _, _ in string.Formatter().parse(text) if name}
    # What is nothing but one fact gets a whole sentence.
    whole = {text for text in (message, next_step) if text.startswith("{") and text.endswith("}")}
    return {name: "A sentence." if f"{{{name}}}" in whole else f"the {name}" for name in names}


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_has_two_whole_sentences(code: FailureCode) -> None:
    found = failure(code, detail="log", **facts_of(code))
    for sentence in (found.message, found.next_step):
        assert sentence[0].isupper() or sentence.startswith("the ")
        assert sentence.endswith(".")
        assert ".." not in sentence
        assert "{" not in sentence
    assert (found.code, found.detail, found.action) == (code, "log", _WORDS[code][2])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Failure) == found


def test_no_words_without_a_code() -> None:
    assert set(_WORDS) == set(FailureCode)


def test_a_missing_fact_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        failure(FailureCode.LOAD_FAILED)


def test_facts_with_braces_stay_as_they_are() -> None:
    assert "{reason} {0}" in failure(FailureCode.LOAD_FAILED, reason="{reason} {0}").message


def test_an_error_says_both_sentences_in_the_log() -> None:
    raised = error(FailureCode.ENGINE_NOT_READY)
    assert isinstance(raised, TurbodeskError)
    assert str(raised) == "No model is loaded. Load a model first."
    assert raised.failure == failure(FailureCode.ENGINE_NOT_READY)
