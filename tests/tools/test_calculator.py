"""The calculator against Python's own arithmetic, and against expressions that must be refused."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from desktop.tools import BUILTIN, ToolContext
from desktop.tools.calculator import calculate, show
from desktop.tools.tool import ToolError


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("2 ** -1", "0.5"),
        ("2^8", "256"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("-7.5 % 2", "0.5"),
        ("-7.5 // 2", "-4"),
        ("10 / 4", "2.5"),
        ("6 / 3", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1_000 * 3", "3000"),
        ("sqrt(16)", "4"),
        ("round(sqrt(2), 4)", "1.4142"),
        ("sin(pi / 2)", "1"),
        ("cos(0)", "1"),
        ("round(tan(pi / 4), 9)", "1"),
        ("log(1000)", "3"),
        ("log(8, 2)", "3"),
        ("ln(e)", "1"),
        ("exp(0)", "1"),
        ("abs(-3.5)", "3.5"),
        ("min(3, 1, 2) + max(3, 1, 2)", "4"),
        ("floor(-2.5) + ceil(2.1)", "0"),
        ("round(2.675, 2)", "2.68"),
        ("round(12345, -2)", "12300"),
        ("1e400 / 1e399", "10"),
        ("12345678901234567890 * 98765432109876543210", str(12345678901234567890 * 98765432109876543210)),
    ],
)
def test_values(expression: str, expected: str) -> None:
    assert show(calculate(expression)) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("9 ** 9 ** 9", "digits"),
        ("10 ** 2001", "digits"),
        ("floor(1e99999)", "too large"),
        ("9e99999999999", "too large"),
        ("exp(100000)", "too large"),
        ("1.5 ** 10000000", "too large"),
        ("1 / 0", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("5 % 0", "Division by zero"),
        ("sqrt(-1)", "out of its function's range"),
        ("log(0)", "out of its function's range"),
        ("", "not complete"),
        ("1 +", "not complete"),
        ("(1", "needs ')'"),
        ("1 2", "cannot be read"),
        ("1, 2", "cannot be read"),
        ("cube(2)", "no function or constant"),
        ("sqrt(1, 2)", "cannot take 2 arguments"),
        ("__import__('os').system('true')", "cannot be read"),
        ("(" * 200 + "1" + ")" * 200, "nested too deeply"),
        ("2 ** " * 100 + "1", "nested too deeply"),
        ("1" * 1001, "longer than"),
    ],
)
def test_what_is_refused_says_why(expression: str, words: str) -> None:
    with pytest.raises(ToolError) as caught:
        calculate(expression)
    assert words in str(caught.value)


_NUMBERS = some.integers(-(10**6), 10**6).map(str)
_EXPRESSIONS = some.recursive(
    _NUMBERS.map(lambda text: f"({text})"),
    lambda inner: some.tuples(inner, some.sampled_from(["+", "-", "*", "//", "%"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(_EXPRESSIONS)
def test_whole_numbers_are_exact(expression: str) -> None:
    try:
        expected = eval(expression)  # made by this test from digits and signs
    except ZeroDivisionError:
        with pytest.raises(ToolError):
            calculate(expression)
        return
    assert calculate(expression) == expected


@settings(deadline=None)
@given(some.decimals(-1000, 1000, places=3), some.decimals(-1000, 1000, places=3).filter(bool))
def test_the_remainder_has_the_sign_of_the_divisor(left, right) -> None:
    quotient, remainder = calculate(f"({left}) // ({right})"), calculate(f"({left}) % ({right})")
    assert quotient == math.floor(Fraction(left) / Fraction(right))
    assert Fraction(remainder) == Fraction(left) - quotient * Fraction(right)


@settings(deadline=None)
@given(some.text(max_size=60))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    result = BUILTIN["calculator"].run(json.dumps({"expression": text}), ToolContext())
    assert "The tool failed" not in result.content


@settings(deadline=None)
@given(some.text(alphabet="0123456789.e+-*/%^(), sqrtpilogmaxfnd", max_size=40))
def test_nor_does_any_near_expression(text: str) -> None:
    result = BUILTIN["calculator"].run(json.dumps({"expression": text}), ToolContext())
    assert "The tool failed" not in result.content
    assert result.content
